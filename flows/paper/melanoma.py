"""Melanoma from stored predictions of Derm7pt: inferred from the seven-point score, and said by DIAG directly.

Each is made into runs of a further, binary target, so that everything that reads runs reads these. Truth is the label
of DIAG. Nothing is stored: these are sums of what is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guidestore.embeddings.runs import RunPredictions
from guidestore.heads.metrics import evaluate
from guidestore.heads.seven_point import (
    MAX_SCORE,
    POINTS,
    THRESHOLDS,
    infer_melanoma,
    predicted_classes,
    seven_point_score,
)

DIAGNOSIS, MELANOMA = "DIAG", "MEL"
SCORE, DIRECT = "melanoma score", "melanoma direct"
AT_THRESHOLD = {f"melanoma score >= {threshold}": threshold for threshold in THRESHOLDS}
"""Target -> score from which on melanoma is inferred."""

_HEAD = ("cohort", "split", "fold", "seed", "mode", "row", "guidance", "control", "permutation")
"""What the runs of one head over all tasks share. The decoder's name may differ: a preset per task."""


def melanoma_runs(
    facts: Sequence[Mapping[str, Any]], predictions: Mapping[str, RunPredictions]
) -> tuple[list[dict[str, Any]], dict[str, RunPredictions], dict[tuple[str, str], float]]:
    """Run rows, predictions and metrics of the derived targets, for every head that has predictions of all eight tasks.

    facts: rows of schema ``runs``. The score is the sum of the points of the likeliest classes. Probabilities of class
    1, melanoma: 0 or 1 at a threshold, score / 10 for `SCORE` (AUROC alone reads it), and DIAG's own for `DIRECT`.
    """
    heads: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for fact in facts:
        if fact["run"] in predictions and fact["target"] in (*POINTS, DIAGNOSIS):
            stems = tuple(fact[side].partition("@")[0] for side in ("inferior", "superior"))
            heads.setdefault((*(fact[name] for name in _HEAD), *stems), {})[fact["target"]] = fact
    rows, derived, values = [], {}, {}
    for by_target in heads.values():
        if by_target.keys() < {*POINTS, DIAGNOSIS}:
            continue
        diagnosis = predictions[by_target[DIAGNOSIS]["run"]]
        cases = [predictions[by_target[name]["run"]].case_ids for name in by_target]
        shared = sorted(set.intersection(*map(set, cases)))
        if len(shared) < 2:
            continue
        classes = {name: json.loads(fact["settings"])["classes"] for name, fact in by_target.items()}
        on_shared = {name: _on(predictions[fact["run"]], shared) for name, fact in by_target.items()}
        score_n = seven_point_score({name: predicted_classes(on_shared[name][1], classes[name]) for name in POINTS})
        melanoma = classes[DIAGNOSIS].index(MELANOMA)
        labels, diagnosis_nk = on_shared[DIAGNOSIS]
        truth_n = (labels == melanoma).astype(np.int64)
        says = {target: infer_melanoma(score_n, threshold).astype(float) for target, threshold in AT_THRESHOLD.items()}
        says |= {SCORE: score_n / MAX_SCORE, DIRECT: diagnosis_nk[:, melanoma]}
        for target, positive_n in says.items():
            run = f"{target} of {by_target[DIAGNOSIS]['run']}"
            probabilities_n2 = np.stack([1 - positive_n, positive_n], axis=1)
            derived[run] = RunPredictions(run, diagnosis.unit, tuple(shared), truth_n, probabilities_n2)
            rows.append({**by_target[DIAGNOSIS], "run": run, "target": target})
            metrics = evaluate(truth_n, probabilities_n2, ("other", MELANOMA))
            values |= {(run, metric): value for metric, value in metrics.items()}
    return rows, derived, values


def _on(run: RunPredictions, cases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(labels, probabilities) of these cases, in their order."""
    place = {case_id: index for index, case_id in enumerate(run.case_ids)}
    rows = [place[case_id] for case_id in cases]
    return run.labels[rows], run.probabilities[rows]
