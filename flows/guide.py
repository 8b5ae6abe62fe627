"""Codes -> heads -> runs: the five input rows and their controls, on stored codes alone."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from embeddings.canonical import canonical_json, sha256_of
from embeddings.errors import InvalidInputError
from embeddings.pairing import pair
from embeddings.recipe import rows_artifact, weights_artifact
from embeddings.snapshot import Snapshot
from embeddings.store import EmbeddingStore, Transaction, versions
from embeddings.types import CodeSetKey, PairedCodes
from flows.cohort_facts import only_split, only_target, split_folds
from flows.reporting import Progress, no_progress
from flows.settings import GuideSettings
from flows.threads import one_thread
from warehouse.indexer import build_index

if TYPE_CHECKING:  # torch loads with it
    from heads.input_rows import Mode, TrainedHead

IMPLEMENTATION = "1"
"""Part of every run's recipe; bump it when a change of `heads` changes results, so that stored runs are not reused."""


@dataclass
class GuideReport:
    """What a guide run did: ids of all runs that the settings mean, and how many of them are new."""

    runs: list[str] = field(default_factory=list)
    trained: int = 0
    existing: int = 0
    notes: list[str] = field(default_factory=list)
    snapshot: int = 0


def guide(settings: GuideSettings, progress: Progress = no_progress) -> GuideReport:
    """Trains and evaluates what the store does not have yet, one commit per fold, seed and mode.

    Raises GuidestoreError: unknown names, leakage between folds, too few cases.
    """
    store = EmbeddingStore.open(settings.store)
    snapshot = store.snapshot()
    target = settings.target or only_target(snapshot, settings.cohort)
    split = settings.split or only_split(snapshot, settings.cohort)
    folds = settings.folds or split_folds(snapshot, settings.cohort, split)
    report = GuideReport()
    jobs: list[tuple[int, Mode, int]] = [
        (fold, mode, seed) for fold in folds for mode in settings.modes for seed in settings.seeds
    ]
    for done, (fold, mode, seed) in enumerate(jobs):
        progress(f"guide {settings.inferior} by {settings.superior}", done, len(jobs))
        paired = pair(
            snapshot,
            cohort=settings.cohort,
            target=target,
            inferior=f"{settings.cohort}/{settings.inferior}",
            superior=f"{settings.cohort}/{settings.superior}",
            split=split,
            fold=fold,
        )
        _note_issues(report, snapshot, paired)
        _guide_fold(store, snapshot, settings, paired, mode, seed, report)
    progress(f"guide {settings.inferior} by {settings.superior}", len(jobs), len(jobs))
    report.snapshot = store.snapshot().version
    build_index(store)
    return report


def _note_issues(report: GuideReport, snapshot: Snapshot, paired: PairedCodes) -> None:
    sentences = [issue.sentence for issue in paired.issues]
    for key in (paired.inferior_key, paired.superior_key):
        for made_by in _encoders_behind(snapshot, key):
            if made_by.trained_on.kind == "unknown":
                sentences.append(f"what the encoder of {made_by.modality}/{made_by.encoder} was trained on is unknown")
    report.notes += [sentence for sentence in dict.fromkeys(sentences) if sentence not in report.notes]


def _encoders_behind(snapshot: Snapshot, key: CodeSetKey | None) -> list[CodeSetKey]:
    """The code set, and that of the patch codes which its encoder pooled."""
    if key is None:
        return []
    rows = snapshot.rows("encoders").to_pylist()
    facts = next((row for row in rows if row["encoder_digest"] == key.encoder_digest), {"preprocessing": "{}"})
    pooled = json.loads(facts["preprocessing"]).get("patch_encoder_digest", "")
    return [key, *(other for other in snapshot.code_sets if pooled and other.encoder_digest == pooled)]


def _guide_fold(
    store: EmbeddingStore,
    snapshot: Snapshot,
    settings: GuideSettings,
    paired: PairedCodes,
    mode: Mode,
    seed: int,
    report: GuideReport,
) -> None:
    from heads.input_rows import ALL_ROWS, GUIDED_ROWS, train_rows

    plan = [(row, "", -1) for row in ALL_ROWS]
    plan += [(row, "shuffled", permutation) for permutation in range(settings.permutations) for row in GUIDED_ROWS]
    data = paired_digest(paired)
    ids = {
        (row, control, permutation): _run_id(settings, data, mode, seed, row, control, permutation)
        for row, control, permutation in plan
    }
    report.runs += ids.values()
    have = sum(run in snapshot.artifacts for run in ids.values())
    report.existing += have
    if have == len(ids):
        return
    d_i, d_s = (None, None)
    if mode == "as-published":
        d_i = _classifier(snapshot, paired.inferior_key, paired.target)
        d_s = _classifier(snapshot, paired.superior_key, paired.target)
    heads = train_rows(
        paired,
        guidance=settings.guidance,
        decoder=settings.decoder,
        mode=mode,
        seed=seed,
        d_i=d_i,
        d_s=d_s,
        permutations=settings.permutations,
    )
    message = f"heads on {paired.cohort}/{paired.split}/{paired.fold}, {mode}, seed {seed}"
    with one_thread(), store.begin(message) as transaction:
        report.trained += _commit_heads(transaction, settings, paired, data, mode, heads, ids)


def _run_id(settings: GuideSettings, data: str, mode: str, seed: int, row: str, control: str, permutation: int) -> str:
    guided = "G(" in row
    return rows_artifact(
        "run",
        {
            "implementation": IMPLEMENTATION,
            "data": data,
            "row": row,
            "mode": mode,
            "guidance": settings.guidance if guided else "",
            "decoder": settings.decoder,
            "control": control,
            "permutation": permutation,
            "seed": seed,
        },
    )


def paired_digest(paired: PairedCodes) -> str:
    """Identity of a training set: codes, cases, labels, parts and classes."""
    arrays = hashlib.sha256()
    for array in (paired.inferior_nd, paired.superior_nd, paired.labels):
        arrays.update(np.ascontiguousarray(array))
    return sha256_of(
        {
            "scope": [paired.cohort, paired.split, paired.fold, paired.target, paired.classes],
            "cases": paired.case_ids,
            "parts": paired.parts.tolist(),
            "keys": [_digest_of(paired.inferior_key), _digest_of(paired.superior_key)],
            "arrays": arrays.hexdigest(),
        }
    )


def _digest_of(key: CodeSetKey | None) -> str:
    return key.encoder_digest if key else ""


def _classifier(snapshot: Snapshot, key: CodeSetKey | None, target: str) -> Any:
    """D_I or D_S of the encoder that made a code set. Raises InvalidInputError where it was not trained here."""
    from flows.training import classifier_recipe
    from heads.registry import load_decoder

    if key is not None:
        encoders = snapshot.rows("encoders").to_pylist()
        digest = next((row["weights_sha256"] for row in encoders if row["encoder_digest"] == key.encoder_digest), "")
        artifact = weights_artifact("decoder", classifier_recipe(digest, target))
        if digest and artifact in snapshot.artifacts:
            tensors, entry = snapshot.weights(artifact)
            return load_decoder(entry.meta["config"], tensors)
    raise InvalidInputError(
        f"code set {key} has no trained classifier for target {target}, so mode as-published has no rows I and S; use "
        "--mode matched"
    )


def _commit_heads(
    transaction: Transaction,
    settings: GuideSettings,
    paired: PairedCodes,
    data: str,
    mode: str,
    heads: Iterable[TrainedHead],
    ids: dict[tuple[str, str, int], str],
) -> int:
    runs, metrics, predictions, inputs = [], [], [], {}
    scope = {"cohort": paired.cohort, "split": paired.split, "fold": paired.fold}
    for head in heads:
        run = ids[head.row, head.control, head.permutation]
        facts = {name: float(value) for name, value in head.facts.items() if math.isfinite(value)}
        weights = {}
        for role, (config, tensors) in head.components.items():
            recipe = {"of": run, "role": role}
            if role == "guidance":  # one G serves both guided rows, in every mode
                recipe = {
                    "data": data,
                    "config": config,
                    "seed": head.seed,
                    "control": head.control,
                    "permutation": head.permutation,
                    "implementation": IMPLEMENTATION,
                }
            weights[role], _ = transaction.write_weights(
                role, config["name"], config=config, tensors=tensors, recipe=recipe, **scope
            )
        inputs[run] = [*weights.values(), _digest_of(paired.inferior_key), _digest_of(paired.superior_key)]
        keys = [key for key in (paired.inferior_key, paired.superior_key) if key]
        runs.append(
            {
                **scope,
                "run": run,
                "target": paired.target,
                "snapshot": paired.snapshot,
                "inferior": str(paired.inferior_key or ""),
                "superior": str(paired.superior_key or ""),
                "trained_on": ", ".join(sorted({str(key.trained_on) for key in keys})),
                "row": head.row,
                "mode": mode,
                "guidance": head.guidance,
                "decoder": head.decoder,
                "control": head.control,
                "permutation": head.permutation,
                "seed": head.seed,
                "status": head.status,
                "n_train": head.n_train,
                "best_epoch": int(head.facts.get("decoder_best_epoch", -1)),
                "settings": canonical_json({"classes": paired.classes, "facts": facts, "message": head.message}),
                "weights": canonical_json(weights),
                "versions": canonical_json(versions()),
                "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
        )
        metrics += [
            {"run": run, "part": part, "metric": name, "value": float(value)}
            for part, values in head.metrics.items()
            for name, value in values.items()
        ]
        predictions += [
            {
                "run": run,
                "cohort": paired.cohort,
                "case_id": case_id,
                "part": str(part),
                "label": paired.classes[label] if label >= 0 else None,
                "predicted": paired.classes[int(np.argmax(row))],
                "probabilities": [float(value) for value in row],
            }
            for case_id, part, label, row in zip(
                head.case_ids, head.parts, head.labels, head.probabilities, strict=True
            )
        ]
    return len(transaction.write_runs(runs, metrics, predictions, inputs=inputs))
