"""Heads in the store: which run ids a training set asks for, what of them is missing, and their commit."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embeddings.canonical import canonical_json, sha256_of
from embeddings.errors import InvalidInputError
from embeddings.recipe import rows_artifact, weights_artifact
from embeddings.snapshot import Snapshot
from embeddings.store import Transaction, versions
from embeddings.types import CodeSetKey, PairedCodes
from heads.choice import Choice

if TYPE_CHECKING:  # torch loads with it
    from heads.input_rows import Mode, TrainedHead
    from heads.row_training import RowsJob
    from heads.transfer.train import TransferJob

IMPLEMENTATION = "2"
"""Part of every run's recipe; bump it when a change of `heads` changes results, so that stored runs are not reused."""

Place = tuple[str, str, int]
"""(row, control, permutation)."""


@dataclass(frozen=True, slots=True)
class HeadJob:
    """One target, fold, mode, seed and choice of models, of which the store lacks runs."""

    asked: RowsJob | TransferJob
    ids: dict[Place, str]
    """Of the runs to train."""
    transfer: Transfer | None = None
    """Of a `TransferJob`."""

    @property
    def mode(self) -> Mode:
        return "matched" if self.transfer else self.asked.mode  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True, slots=True)
class Transfer:
    """How labels are transferred: the student of row T(I), and whether labels may be wrong."""

    student: Choice
    noisy_labels: bool
    permutations: int


def train_jobs(jobs: Sequence[HeadJob]) -> list[list[TrainedHead]]:
    """The heads of each job. Jobs of input rows are trained together. Raises InvalidInputError."""
    from heads.row_training import train_rows
    from heads.transfer.train import train_transfer

    of_rows = [job.asked for job in jobs if job.transfer is None]
    trained = iter(train_rows(of_rows))  # pyright: ignore[reportArgumentType]
    found = []
    for job in jobs:
        if job.transfer is None:
            found.append(next(trained))
            continue
        how = job.transfer
        student = {"student": how.student.name, "student_params": how.student.params}
        asked: Any = job.asked
        found += train_transfer([asked], **student, permutations=how.permutations, noisy_labels=how.noisy_labels)
    return found


def plan_transfer(
    have: Container[str], paired: PairedCodes, *, seed: int, transfer: Transfer, taken: set[str]
) -> tuple[list[str], HeadJob | None]:
    """As `plan_heads`, for label transfer: its references, row T(I) and its controls, which are trained together."""
    from heads.input_rows import SELF_TRAINING, TAUGHT
    from heads.transfer.train import TRANSFER_ROWS, TransferJob

    places: list[Place] = [(row, "", -1) for row in TRANSFER_ROWS]
    places += [(TAUGHT, "shuffled", permutation) for permutation in range(transfer.permutations)]
    places.append((TAUGHT, SELF_TRAINING, -1))
    recipe = {"implementation": IMPLEMENTATION, "data": paired_digest(paired), "seed": seed}
    recipe |= {"student": _named(transfer.student), "noisy_labels": transfer.noisy_labels}
    ids = {
        place: rows_artifact("run", {**recipe, **dict(zip(("row", "control", "permutation"), place, strict=True))})
        for place in places
    }
    missing = [run for run in ids.values() if run not in have and run not in taken]
    if not missing:
        return list(ids.values()), None
    taken.update(missing)
    return list(ids.values()), HeadJob(TransferJob(paired, seed), ids, transfer)


def plan_heads(
    snapshot: Snapshot,
    paired: PairedCodes,
    *,
    mode: Mode,
    seed: int,
    guidance: Choice,
    decoder: Choice,
    permutations: int,
    taken: set[str],
    controls: Sequence[str] = ("shuffled",),
    cross_fit: int = 0,
    have: Container[str] | None = None,
) -> tuple[list[str], HeadJob | None]:
    """All run ids that are asked for, and the job of those that are neither in the store nor `taken`; None for none.

    taken: ids that other jobs train already (rows without G are the same for every G); those of the job are added.
    have: what the store has; None: what the snapshot has.
    """
    from heads.input_rows import ALL_ROWS, places_of
    from heads.row_training import RowsJob

    places = places_of(ALL_ROWS, permutations, controls)
    data = paired_digest(paired)
    ids = {place: _run_id(data, place, mode, seed, guidance, decoder, cross_fit) for place in places}
    there: Container[str] = snapshot.artifacts if have is None else have
    missing = {place: run for place, run in ids.items() if run not in there and run not in taken}
    if not missing:
        return list(ids.values()), None
    taken.update(missing.values())
    stored = {}
    if mode == "as-published":
        stored["d_i"] = _classifier(snapshot, paired.inferior_key, paired.target)
        stored["d_s"] = _classifier(snapshot, paired.superior_key, paired.target)
    job = RowsJob(paired, mode, seed, guidance, decoder, tuple(missing), cross_fit=cross_fit, **stored)
    return list(ids.values()), HeadJob(job, missing)


def _run_id(data: str, place: Place, mode: str, seed: int, guidance: Choice, decoder: Choice, cross_fit: int) -> str:
    row, control, permutation = place
    crossed = {"cross_fit": cross_fit} if cross_fit and row == "G(I)+I" else {}
    return rows_artifact(
        "run",
        {
            "implementation": IMPLEMENTATION,
            "data": data,
            "row": row,
            "mode": mode,
            "guidance": _named(guidance) if "G(" in row else "",
            "decoder": _named(decoder),
            "control": control,
            "permutation": permutation,
            "seed": seed,
            **crossed,
        },
    )


def _named(choice: Choice) -> Any:
    """A bare name where nothing differs from the defaults."""
    return {"name": choice.name, "params": json.loads(choice.key)} if choice.params else choice.name


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


def commit_heads(transaction: Transaction, job: HeadJob, heads: Sequence[TrainedHead], **extra: Any) -> int:
    """Writes the heads of a job as runs, with weights, metrics and predictions; says how many are new.

    extra: further facts for the runs' settings.
    """
    runs, metrics, predictions, inputs = [], [], [], {}
    paired, crossed = job.asked.paired, getattr(job.asked, "cross_fit", 0)
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
                "mode": job.mode,
                "guidance": head.guidance + (f", cross_fit={crossed}" if crossed and head.row == "G(I)+I" else ""),
                "decoder": head.decoder,
                "control": head.control,
                "permutation": head.permutation,
                "seed": head.seed,
                "status": head.status,
                "n_train": head.n_train,
                "best_epoch": int(head.facts.get("decoder_best_epoch", -1)),
                "settings": canonical_json(
                    {"classes": paired.classes, "facts": facts, "message": head.message, **extra}
                ),
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
