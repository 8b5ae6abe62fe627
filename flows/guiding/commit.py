"""The commit of trained heads as runs."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.actor import versions
from guidestore.embeddings.runs import LabelBudget, Run
from guidestore.embeddings.transaction import Transaction
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.guiding.identity import IMPLEMENTATION, encoder_digest, pairs_digest

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
    from guidestore.heads.input_rows import INPUT_ROWS, Arm

    runs, metrics, predictions, inputs = [], [], [], {}
    paired, crossed = job.asked.paired, getattr(job.asked, "cross_fit", 0)
    pairs = pairs_digest(paired)
    keys = [key for key in (paired.inferior_key, paired.superior_key) if key]
    scope = {"cohort": paired.cohort, "split": paired.split, "fold": paired.fold}
    common = {
        **scope,
        "target": paired.target,
        "classes": paired.classes,
        "snapshot": paired.snapshot,
        "inferior": paired.inferior_key and paired.inferior_key.name,
        "superior": paired.superior_key and paired.superior_key.name,
        "trained_on": tuple(sorted({key.trained_on for key in keys}, key=str)),
        "labelled": labelled,
        "device": device,
        "versions": versions(),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    for head in heads:
        run, row = job.ids[Arm(head.row, head.control, head.permutation)], INPUT_ROWS[head.row]
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
        inputs[run] = [*weights.values(), encoder_digest(paired.inferior_key), encoder_digest(paired.superior_key)]
        runs.append(
            Run(
                **common,
                id=run,
                row=head.row,
                mode=job.mode,
                guidance=head.guidance + (f", cross_fit={crossed}" if crossed and row.cross_fits else ""),
                decoder=head.decoder,
                control=head.control,
                permutation=head.permutation,
                seed=head.seed,
                status=head.status,
                n_train=head.n_train,
                best_epoch=int(head.facts.get("decoder_best_epoch", -1)),
                training={name: float(value) for name, value in head.facts.items() if math.isfinite(value)},
                message=head.message,
                weights=weights,
            )
        )
        metrics += [
            {"run": run, "part": part, "metric": name, "value": float(value)}
            for part, values in head.metrics.items()
            for name, value in values.items()
        ]
        predictions += prediction_rows(run, paired, head.case_ids, head.parts, head.labels, head.probabilities)
    return len(transaction.write_runs(runs, metrics, predictions, inputs=inputs))


def prediction_rows(
    run: str,
    paired: PairedCodes,
    case_ids: Sequence[str],
    parts: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
) -> list[dict[str, Any]]:
    """Rows of schema ``predictions`` of m cases: their (m,) parts and labels (-1: none), and (m, k) probabilities."""
    return [
        {
            "run": run,
            "cohort": paired.cohort,
            "case_id": case_id,
            "part": str(part),
            "label": paired.classes[label] if label >= 0 else None,
            "predicted": paired.classes[int(np.argmax(row))],
            "probabilities": [float(value) for value in row],
        }
        for case_id, part, label, row in zip(case_ids, parts, labels, probabilities, strict=True)
    ]
