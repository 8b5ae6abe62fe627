"""How good foretold grades are: (n,) labels 0 … k-1 in their order and (n, k) probabilities. Axes as in metric.py."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.runs import median_grade
from guidestore.heads.metrics.metric import Metric, at_once, ratio

_ORDINAL: frozenset[TargetKind] = frozenset({"ordinal"})


def _grades(probabilities_rnk: np.ndarray) -> np.ndarray:
    """(n, r) float64: the grades that runs say."""
    return np.stack([median_grade(of_run) for of_run in probabilities_rnk], axis=1).astype(np.float64)


def drawn_quadratic_kappa(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """Cohen's kappa with squared distances as weights; NaN where truth and prediction are one and the same grade.

    1 - mean (y - p)² / (var y + var p + (mean y - mean p)²), which is the usual table of observed and expected counts.
    """
    counts_bn, y_n1 = counts_bn.astype(np.float64), labels[:, None].astype(np.float64)
    said_nr, total = _grades(probabilities_rnk), counts_bn.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = counts_bn @ (y_n1 - said_nr) ** 2 / total
        y_mean, said_mean = counts_bn @ y_n1 / total, counts_bn @ said_nr / total
        expected = counts_bn @ y_n1**2 / total + counts_bn @ said_nr**2 / total - 2 * y_mean * said_mean
    expected[expected < 1e-12] = 0.0  # rounding
    return 1.0 - ratio(apart, expected)


def drawn_mae_grades(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """Mean distance, in grades."""
    counts_bn = counts_bn.astype(np.float64)
    apart = counts_bn @ np.abs(labels[:, None] - _grades(probabilities_rnk))
    return ratio(apart, counts_bn.sum(axis=1, keepdims=True))


QUADRATIC_KAPPA = Metric(
    *("quadratic_kappa", "quadratic kappa", "κ²", at_once(drawn_quadratic_kappa), drawn_quadratic_kappa),
    chance=lambda k: 0.0,
    kinds=_ORDINAL,
)
MAE_GRADES = Metric(
    *("mae_grades", "mean error in grades", "MAE", at_once(drawn_mae_grades), drawn_mae_grades),
    better="lower",
    kinds=_ORDINAL,
)

METRICS = (QUADRATIC_KAPPA, MAE_GRADES)
