"""The commit of trained heads as runs."""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.actor import versions
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind
from guidestore.embeddings.runs import REFERENCE_FACTS, LabelBudget, Run, median_grade
from guidestore.embeddings.transaction import Transaction
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.guiding.identity import IMPLEMENTATION, encoder_digest, pairs_digest
from guidestore.flows.guiding.recipes import HeadRecipe, RowsRecipe
from guidestore.heads.conformal import Conformal, conformal_of
from guidestore.heads.input_rows import INPUT_ROWS, Arm
from guidestore.heads.metrics.survival import times_up_to

if TYPE_CHECKING:  # torch loads with them
    from guidestore.flows.guiding.jobs import HeadJob
    from guidestore.heads.trained import TrainedHead


def commit_heads(
    transaction: Transaction,
    job: HeadJob,
    heads: Sequence[TrainedHead],
    *,
    labelled: LabelBudget = "all",
    device: str = "",
) -> int:
    """Writes the heads of a job as runs, with weights, metrics and predictions; says how many are new.

    labelled: how many labels of the train part they were shown. device: where they were trained.
    """
    paired = job.paired
    common = {**_common(paired), "mode": job.recipe.mode, "labelled": labelled, "device": device}
    encoders = [encoder_digest(paired.inferior_key), encoder_digest(paired.superior_key)]
    runs, metrics, predictions, inputs = [], [], [], {}
    for head in heads:
        run = job.ids[Arm(head.row, head.control, head.permutation)]
        weights = _write_weights(transaction, paired, run, head)
        inputs[run] = [*weights.values(), *encoders]
        runs.append(Run(**common, **_of_head(head, job.recipe), id=run, weights=weights))
        metrics += metric_rows(run, head.metrics)
        reference = head.facts.get(REFERENCE_FACTS.get(paired.kind, ""), math.nan)
        predictions += prediction_rows(
            run, paired, head.case_ids, head.parts, head.labels, head.probabilities, reference=reference,
            conformal=conformal_of(head.facts),
        )  # fmt: skip
    return len(transaction.write_runs(runs, metrics, predictions, inputs=inputs))


def _common(paired: PairedCodes) -> dict[str, Any]:
    """What all runs of a training set share."""
    keys = [key for key in (paired.inferior_key, paired.superior_key) if key]
    return {
        **_scope(paired),
        "target": paired.target,
        "classes": paired.classes,
        "kind": paired.kind,
        "target_unit": paired.unit,
        "snapshot": paired.snapshot,
        "inferior": paired.inferior_key and paired.inferior_key.name,
        "superior": paired.superior_key and paired.superior_key.name,
        "trained_on": tuple(sorted({key.trained_on for key in keys}, key=str)),
        "versions": versions(),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _scope(paired: PairedCodes) -> dict[str, Any]:
    return {"cohort": paired.cohort, "split": paired.split, "fold": paired.fold}


def _write_weights(transaction: Transaction, paired: PairedCodes, run: str, head: TrainedHead) -> dict[str, str]:
    """Role -> artifact of the weights that the head is made of."""
    weights = {}
    for role, (config, tensors) in head.components.items():
        recipe = {"of": run, "role": role}
        if role == "guidance":  # one G serves both guided rows, every mode, and each target where it is the same
            recipe = {
                "pairs": pairs_digest(paired),
                "tensors": _digest(tensors),
                "config": config,
                "seed": head.seed,
                "control": head.control,
                "permutation": head.permutation,
                "implementation": IMPLEMENTATION,
            }
        weights[role], _ = transaction.write_weights(
            role, _name_of(config), config=config, tensors=tensors, recipe=recipe, **_scope(paired)
        )
    return weights


def _name_of(config: Mapping[str, Any]) -> str:
    """What the store calls weights of a model: ``newcomer-Shrunk`` of ``newcomer:Shrunk``."""
    name = str(config["name"])
    return re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-")[-120:].strip("-") or "own" if ":" in name else name


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Of the numbers: a G that learns from labels, or a control by class, is another for each target."""
    content = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        content.update(f"{name} {array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array))
    return content.hexdigest()


def _of_head(head: TrainedHead, recipe: HeadRecipe) -> dict[str, Any]:
    """What a run tells of its head."""
    crossed = recipe.cross_fit if isinstance(recipe, RowsRecipe) and INPUT_ROWS[head.row].cross_fits else 0
    return {
        "row": head.row,
        "guidance": head.guidance + (f", cross_fit={crossed}" if crossed else ""),
        "decoder": head.decoder,
        "control": head.control,
        "permutation": head.permutation,
        "seed": head.seed,
        "status": head.status,
        "n_train": head.n_train,
        "best_epoch": int(head.facts.get("decoder_best_epoch", -1)),
        "training": {name: float(value) for name, value in _facts(head).items() if math.isfinite(value)},
        "message": head.message,
    }


def _facts(head: TrainedHead) -> dict[str, float]:
    """What its fits found, and what tells whether it learned anything: micro F1 and the largest class's share."""
    facts = dict(head.facts)
    for part, metrics in head.metrics.items() if head.labels.dtype == np.int64 else ():
        labels = head.labels[(head.parts == part) & (head.labels >= 0)]
        facts[f"{part}_majority"] = np.bincount(labels).max() / len(labels)
        if "f1_micro" in metrics:
            facts[f"{part}_f1_micro"] = metrics["f1_micro"]
    return facts


def metric_rows(run: str, metrics: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Rows of schema ``metrics``, of part -> metric -> value."""
    return [
        {"run": run, "part": part, "metric": name, "value": float(value)}
        for part, values in metrics.items()
        for name, value in values.items()
    ]


def prediction_rows(
    run: str,
    paired: PairedCodes,
    case_ids: Sequence[str],
    parts: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    reference: float = math.nan,
    conformal: Conformal | None = None,
) -> list[dict[str, Any]]:
    """Rows of schema ``predictions`` of m cases: their (m,) parts, their y, and what is said of them (m, k).

    reference: of the run. conformal: of a value, what makes an interval of it; None: there is none.
    """
    if not len(case_ids):  # of a head that diverged
        return []
    if paired.kind not in ONE_CLASS_KINDS:
        said = zip(case_ids, parts, outcome_rows(paired.kind, probabilities, reference, conformal), strict=True)
        common = {"run": run, "cohort": paired.cohort, "label": None}
        return [{**common, "case_id": case_id, "part": str(part), **row} for case_id, part, row in said]
    predicted = median_grade(probabilities) if paired.kind == "ordinal" else np.argmax(probabilities, axis=1)
    return [
        {
            "run": run,
            "cohort": paired.cohort,
            "case_id": case_id,
            "part": str(part),
            "label": paired.classes[label] if label >= 0 else None,
            "predicted": paired.classes[int(said)],
            "probabilities": [float(value) for value in row],
        }
        for case_id, part, label, said, row in zip(case_ids, parts, labels, predicted, probabilities, strict=True)
    ]


def outcome_rows(
    kind: TargetKind, outputs_nk: np.ndarray, reference: float, conformal: Conformal | None
) -> list[dict[str, Any]]:
    """Columns of schema ``predictions`` that an outcome which is no class has, of each row of what is said."""
    if kind == "multilabel":
        return [{"probabilities": [float(value) for value in row]} for row in outputs_nk]
    if kind == "value":
        ends = {} if conformal is None else {"level": conformal.level}
        half = 0.0 if conformal is None else conformal.half_width
        return [
            {
                "value": float(value),
                **({"low": float(value) - half, "high": float(value) + half} if ends else {}),
                **ends,
            }
            for (value,) in outputs_nk
        ]
    times = [float(time) for time in times_up_to(reference)] if outputs_nk.shape[1] > 1 else None
    return [
        {"risk": float(risk), "times": times, "survival": [float(share) for share in lives] if times else None}
        for risk, *lives in outputs_nk
    ]
