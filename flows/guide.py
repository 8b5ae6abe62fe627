"""Codes -> heads -> runs: the five input rows and their controls, on stored codes alone."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
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
from flows.ahead import read_ahead
from flows.cohort_facts import only_split, only_target, split_folds
from flows.reporting import Progress, counted, no_progress
from flows.settings import GuideSettings
from flows.threads import one_thread
from warehouse.indexer import build_index

if TYPE_CHECKING:  # torch loads with it
    from heads.input_rows import RowsJob, TrainedHead

IMPLEMENTATION = "2"
"""Part of every run's recipe; bump it when a change of `heads` changes results, so that stored runs are not reused."""


@dataclass
class GuideReport:
    """What a guide run did: ids of all runs that the settings mean, and how many of them are new."""

    runs: list[str] = field(default_factory=list)
    trained: int = 0
    existing: int = 0
    notes: list[str] = field(default_factory=list)
    snapshot: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """One target, fold, mode and seed that the store lacks."""

    asked: RowsJob
    ids: dict[tuple[str, str, int], str]
    """(row, control, permutation) -> run."""


def guide(settings: GuideSettings, progress: Progress = no_progress) -> GuideReport:
    """Trains and evaluates what the store does not have yet, one commit per fold, seed, mode and target.

    The targets and modes of a fold and seed are trained together, because they share every G, and two such batches at a
    time, each on one core. Raises GuidestoreError: unknown names, leakage between folds, too few
    cases.
    """
    store = EmbeddingStore.open(settings.store)
    snapshot = store.snapshot()
    targets = settings.targets or (only_target(snapshot, settings.cohort),)
    split = settings.split or only_split(snapshot, settings.cohort)
    folds = settings.folds or split_folds(snapshot, settings.cohort, split)
    report = GuideReport()

    def batches() -> Iterator[list[_Job]]:
        for fold in folds:
            paired = [_pair(snapshot, settings, target, split, fold) for target in targets]
            for of_target in paired:
                _note_issues(report, snapshot, of_target)
            for seed in settings.seeds:
                yield _planned(snapshot, settings, paired, seed, report)

    def train(jobs: list[_Job]) -> list[tuple[_Job, list[TrainedHead]]]:
        from heads.input_rows import train_rows

        heads = {"guidance": settings.guidance, "decoder": settings.decoder, "permutations": settings.permutations}
        return list(zip(jobs, train_rows([job.asked for job in jobs], **heads), strict=True))

    what = f"guide {settings.inferior} by {settings.superior}"
    with one_thread():
        for _, trained in counted(read_ahead(train, batches()), len(folds) * len(settings.seeds), what, progress):
            if isinstance(trained, InvalidInputError):
                raise trained
            for job, heads in trained:
                asked = job.asked
                place = f"{settings.cohort}/{split}/{asked.paired.fold}"
                message = f"heads of {asked.paired.target} on {place}, {asked.mode}, seed {asked.seed}"
                with store.begin(message) as transaction:
                    report.trained += _commit_heads(transaction, settings, job, heads)
    report.snapshot = store.snapshot().version
    build_index(store)
    return report


def _pair(snapshot: Snapshot, settings: GuideSettings, target: str, split: str, fold: int) -> PairedCodes:
    return pair(
        snapshot,
        cohort=settings.cohort,
        target=target,
        inferior=f"{settings.cohort}/{settings.inferior}",
        superior=f"{settings.cohort}/{settings.superior}",
        split=split,
        fold=fold,
    )


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


def _planned(
    snapshot: Snapshot, settings: GuideSettings, of_targets: Sequence[PairedCodes], seed: int, report: GuideReport
) -> list[_Job]:
    """What the store lacks of one fold and seed."""
    from heads.input_rows import ALL_ROWS, GUIDED_ROWS, RowsJob

    plan = [(row, "", -1) for row in ALL_ROWS]
    plan += [(row, "shuffled", permutation) for permutation in range(settings.permutations) for row in GUIDED_ROWS]
    jobs: list[_Job] = []
    for paired in of_targets:
        data = paired_digest(paired)
        for mode in settings.modes:
            ids = {place: _run_id(settings, data, mode, seed, *place) for place in plan}
            report.runs += ids.values()
            have = sum(run in snapshot.artifacts for run in ids.values())
            report.existing += have
            if have == len(ids):
                continue
            stored = {}
            if mode == "as-published":
                stored["d_i"] = _classifier(snapshot, paired.inferior_key, paired.target)
                stored["d_s"] = _classifier(snapshot, paired.superior_key, paired.target)
            jobs.append(_Job(RowsJob(paired, mode, seed, **stored), ids))
    return jobs


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


def pairs_digest(paired: PairedCodes) -> str:
    """Identity of what G is fitted on: the codes of the train pairs, whatever their labels."""
    rows = paired.rows("train", paired.is_pair)
    arrays = hashlib.sha256()
    for array in (paired.inferior_nd, paired.superior_nd):
        arrays.update(np.ascontiguousarray(array[rows]))
    return sha256_of(
        {
            "cases": [paired.case_ids[row] for row in rows],
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


def _commit_heads(transaction: Transaction, settings: GuideSettings, job: _Job, heads: Sequence[TrainedHead]) -> int:
    runs, metrics, predictions, inputs = [], [], [], {}
    paired = job.asked.paired
    pairs = pairs_digest(paired)
    scope = {"cohort": paired.cohort, "split": paired.split, "fold": paired.fold}
    for head in heads:
        run = job.ids[head.row, head.control, head.permutation]
        facts = {name: float(value) for name, value in head.facts.items() if math.isfinite(value)}
        weights = {}
        for role, (config, tensors) in head.components.items():
            recipe = {"of": run, "role": role}
            if role == "guidance":  # one G serves both guided rows, in every mode and for every target
                recipe = {
                    "pairs": pairs,
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
                "mode": job.asked.mode,
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
