"""Melanoma from stored predictions of Derm7pt: inferred from the seven-point score, and said by DIAG directly.

Each is made into runs of a further, binary target, so that everything that reads runs reads these. Truth is the label
of DIAG. Nothing is stored: these are sums of what is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.runs import Head, Run, RunPredictions, Unit
from guidestore.heads.input_rows import REFERENCE
from guidestore.heads.metrics import evaluate
from guidestore.heads.seven_point import (
    MAX_SCORE,
    POINTS,
    THRESHOLDS,
    infer_melanoma,
    predicted_classes,
    seven_point_score,
)
from guidestore.warehouse.runs import Scores

DIAGNOSIS, MELANOMA = "DIAG", "MEL"
SCORE, DIRECT = "melanoma score", "melanoma direct"
AT_THRESHOLD = {f"melanoma score >= {threshold}": threshold for threshold in THRESHOLDS}
"""Target -> score from which on melanoma is inferred."""


@dataclass(frozen=True, slots=True)
class MelanomaRuns:
    """Runs of the derived targets, with their predictions and scores; ids say which target is derived of which run."""

    runs: tuple[Run, ...]
    predictions: Mapping[str, RunPredictions]
    scores: Scores


def melanoma_runs(runs: Iterable[Run], predictions: Mapping[str, RunPredictions]) -> MelanomaRuns:
    """The derived targets of every head that has predictions of all eight tasks.

    The score is the sum of the points of the likeliest classes. Probabilities of class 1, melanoma: 0 or 1 at a
    threshold, score / 10 for `SCORE` (AUROC alone reads it), and DIAG's own for `DIRECT`.
    """
    heads: dict[tuple[Head, Unit], dict[str, Run]] = {}
    for run in runs:
        if run.id in predictions and run.target in (*POINTS, DIAGNOSIS):
            # The decoder's name may differ: a preset per task. Those of references tell them apart.
            over_tasks = replace(run.head, target="", decoder=run.decoder if run.row == REFERENCE else "")
            heads.setdefault((over_tasks, run.unit), {})[run.target] = run
    derived, derived_predictions, scores = [], {}, {}
    for by_target in heads.values():
        if by_target.keys() < {*POINTS, DIAGNOSIS}:
            continue
        diagnosis = by_target[DIAGNOSIS]
        shared = sorted(set.intersection(*(set(predictions[run.id].case_ids) for run in by_target.values())))
        if len(shared) < 2:
            continue
        on_shared = {name: _on(predictions[run.id], shared) for name, run in by_target.items()}
        score_n = seven_point_score(
            {name: predicted_classes(on_shared[name][1], by_target[name].classes) for name in POINTS}
        )
        melanoma = diagnosis.classes.index(MELANOMA)
        labels, diagnosis_nk = on_shared[DIAGNOSIS]
        truth_n = (labels == melanoma).astype(np.int64)
        says = {target: infer_melanoma(score_n, threshold).astype(float) for target, threshold in AT_THRESHOLD.items()}
        says |= {SCORE: score_n / MAX_SCORE, DIRECT: diagnosis_nk[:, melanoma]}
        for target, positive_n in says.items():
            run = replace(diagnosis, id=f"{target} of {diagnosis.id}", target=target, classes=("other", MELANOMA))
            probabilities_n2 = np.stack([1 - positive_n, positive_n], axis=1)
            derived_predictions[run.id] = RunPredictions(run.id, run.unit, tuple(shared), truth_n, probabilities_n2)
            derived.append(run)
            metrics = evaluate(truth_n, probabilities_n2, run.classes)
            scores |= {(run.id, metric): value for metric, value in metrics.items()}
    return MelanomaRuns(tuple(derived), derived_predictions, scores)


def _on(run: RunPredictions, cases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(labels, probabilities) of these cases, in their order."""
    index = {case_id: i for i, case_id in enumerate(run.case_ids)}
    chosen = [index[case_id] for case_id in cases]
    return run.labels[chosen], run.probabilities[chosen]
