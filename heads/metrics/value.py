"""How good foretold values are: truth (n, 2), the value and the train mean, and (n, 1) values. Axes as in metric.py."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.metrics.metric import Metric, at_once, ratio

_VALUE: frozenset[TargetKind] = frozenset({"value"})


def _said(outputs_rn1: np.ndarray) -> np.ndarray:
    """(n, r)."""
    return np.ascontiguousarray(outputs_rn1[:, :, 0].T)


def drawn_r2(counts_bn: np.ndarray, truth_n2: np.ndarray, outputs_rn1: np.ndarray) -> np.ndarray:
    """1 - sum (y - said)² / sum (y - train mean)²: how much better than the mean of the train cases, which is known
    before a case is seen. (scikit-learn's r2_score holds it against the mean of the cases themselves.)"""
    counts_bn, (y_n, mean_n) = counts_bn.astype(np.float64), truth_n2.T
    left = counts_bn @ (y_n[:, None] - _said(outputs_rn1)) ** 2
    return 1.0 - ratio(left, (counts_bn @ (y_n - mean_n) ** 2)[:, None])


def drawn_mae(counts_bn: np.ndarray, truth_n2: np.ndarray, outputs_rn1: np.ndarray) -> np.ndarray:
    """Mean absolute error, in the value's unit."""
    counts_bn = counts_bn.astype(np.float64)
    return ratio(counts_bn @ np.abs(truth_n2[:, :1] - _said(outputs_rn1)), counts_bn.sum(axis=1, keepdims=True))


def drawn_rmse(counts_bn: np.ndarray, truth_n2: np.ndarray, outputs_rn1: np.ndarray) -> np.ndarray:
    """Root of the mean squared error, in the value's unit."""
    counts_bn = counts_bn.astype(np.float64)
    squares = ratio(counts_bn @ (truth_n2[:, :1] - _said(outputs_rn1)) ** 2, counts_bn.sum(axis=1, keepdims=True))
    return np.sqrt(squares)


def drawn_spearman(counts_bn: np.ndarray, truth_n2: np.ndarray, outputs_rn1: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation, with mean ranks of ties; NaN where either is constant."""
    counts_bn = counts_bn.astype(np.float64)
    truth_bn = _ranks(counts_bn, truth_n2[:, 0])
    return np.stack([_pearson(counts_bn, truth_bn, _ranks(counts_bn, said_n1[:, 0])) for said_n1 in outputs_rn1], 1)


def drawn_calibration_slope(counts_bn: np.ndarray, truth_n2: np.ndarray, outputs_rn1: np.ndarray) -> np.ndarray:
    """Slope of the least squares line of the values on what was said: 1 where neither too bold nor too timid."""
    counts_bn, y_n = counts_bn.astype(np.float64), truth_n2[:, 0]
    total, said_nr = counts_bn.sum(axis=1, keepdims=True), _said(outputs_rn1)
    with np.errstate(invalid="ignore", divide="ignore"):
        y_mean, said_mean = counts_bn @ y_n[:, None] / total, counts_bn @ said_nr / total
        together = counts_bn @ (said_nr * y_n[:, None]) / total - said_mean * y_mean
        alone = counts_bn @ said_nr**2 / total - said_mean**2
    constant = alone <= 1e-12 * np.abs(said_nr).max(axis=0) ** 2
    return np.where(constant, np.nan, ratio(together, alone))


def _ranks(counts_bn: np.ndarray, values_n: np.ndarray) -> np.ndarray:
    """(b, n) mean rank of each case among those of each draw."""
    _, group_n = np.unique(values_n, return_inverse=True)
    sizes_bg = np.zeros((len(counts_bn), int(group_n.max()) + 1))
    np.add.at(sizes_bg.T, group_n, counts_bn.T)
    before_bg = np.cumsum(sizes_bg, axis=1) - sizes_bg
    return (before_bg + (sizes_bg + 1) / 2)[:, group_n]


def _pearson(counts_bn: np.ndarray, a_bn: np.ndarray, b_bn: np.ndarray) -> np.ndarray:
    """(b,) correlation of the cases that each draw holds."""
    total = counts_bn.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        a_bn = a_bn - ((counts_bn * a_bn).sum(axis=1) / total)[:, None]
        b_bn = b_bn - ((counts_bn * b_bn).sum(axis=1) / total)[:, None]
    spread = np.sqrt((counts_bn * a_bn**2).sum(axis=1) * (counts_bn * b_bn**2).sum(axis=1))
    return ratio((counts_bn * a_bn * b_bn).sum(axis=1), spread)


R2 = Metric("r2", "R²", "R²", at_once(drawn_r2), drawn_r2, chance=lambda k: 0.0, kinds=_VALUE)
MAE = Metric("mae", "mean absolute error", "MAE", at_once(drawn_mae), drawn_mae, better="lower", kinds=_VALUE)
RMSE = Metric("rmse", "root mean squared error", "RMSE", at_once(drawn_rmse), drawn_rmse, better="lower", kinds=_VALUE)
SPEARMAN = Metric(
    *("spearman", "Spearman's ρ", "ρ", at_once(drawn_spearman), drawn_spearman), chance=lambda k: 0.0, kinds=_VALUE
)
CALIBRATION_SLOPE = Metric(
    "calibration_slope", "calibration slope", "slope", at_once(drawn_calibration_slope), kinds=_VALUE
)
"""Not compared: more of it is not better."""

METRICS = (R2, MAE, RMSE, SPEARMAN, CALIBRATION_SLOPE)
