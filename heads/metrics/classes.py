"""How good class probabilities are: (n,) labels 0 … k-1 and (n, k) probabilities. Axes as in metric.py."""

from __future__ import annotations

import numpy as np

from guidestore.heads.metrics.area import area_under_roc
from guidestore.heads.metrics.metric import Metric, Scored

_EPS = float(np.finfo(np.float64).eps)
_EXACT_FLOAT32 = 2**22
"""Up to here float32 holds every half exactly (2**24 / 2, and a factor 2 to spare)."""

# Values --------------------------------------------------------------------------------------------------------------


def _auroc(scored: Scored) -> float | None:
    labels, k = scored.labels, scored.probabilities.shape[1]
    if len(scored.present) < k:
        return None
    of_class = range(1, 2) if k == 2 else range(k)
    return float(np.mean([area_under_roc(labels == c, scored.probabilities[:, c]) for c in of_class]))


def _log_loss(scored: Scored) -> float:
    chosen = scored.probabilities[np.arange(len(scored.labels)), scored.labels]
    return float(-np.log(np.clip(chosen, _EPS, 1 - _EPS)).mean())


# Under draws of the cases --------------------------------------------------------------------------------------------


def _correct(labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """(n, r) bool."""
    return np.ascontiguousarray((probabilities_rnk.argmax(axis=2) == labels).T)


def drawn_balanced_accuracy(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that the draw holds; NaN in a draw without any of the cases."""
    correct_nr = _correct(labels, probabilities_rnk)
    recalls, held = np.zeros((len(counts_bn), correct_nr.shape[1])), np.zeros((len(counts_bn), 1))
    for c in np.unique(labels):
        cases = labels == c
        counts = counts_bn[:, cases]
        total = counts.sum(axis=1, keepdims=True)
        # Where the draw holds no case of the class there are no hits either, and 0 / 1 adds nothing.
        recalls += (counts @ correct_nr[cases].astype(counts.dtype)) / np.maximum(total, 1.0).astype(np.float64)
        held += total > 0
    return _divide(recalls, held)


def drawn_f1_micro(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """With one label per case micro F1 is the share of correct cases; NaN in a draw without any."""
    hits = counts_bn @ _correct(labels, probabilities_rnk).astype(counts_bn.dtype)
    return _divide(hits.astype(np.float64), counts_bn.sum(axis=1, keepdims=True, dtype=np.float64))


def drawn_auroc(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """Of class 1 where k is 2, otherwise the macro mean of one against the rest.

    A class that the draw lacks (or that the draw consists of) is left out of that draw's mean; NaN where that leaves
    none. All NaN where the cases themselves lack a class. Each is the weighted Mann-Whitney statistic
    sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) over positives i and negatives j: exact with ties.
    """
    n_runs, _, k = probabilities_rnk.shape
    sums, held = np.zeros((len(counts_bn), n_runs)), np.zeros((len(counts_bn), 1))
    if len(np.unique(labels)) < k:
        return _divide(sums, held)
    # Wins are multiples of 1/2 below the square of a draw's size, so float32 is exact as long as it holds them.
    dtype = np.float32 if float(counts_bn.sum(axis=1).max()) ** 2 / 4 < _EXACT_FLOAT32 else np.float64
    for c in range(1, 2) if k == 2 else range(k):
        positive = labels == c
        counts_pos = np.ascontiguousarray(counts_bn[:, positive], dtype=dtype)
        counts_neg = np.ascontiguousarray(counts_bn[:, ~positive], dtype=dtype)
        pairs = counts_pos.sum(axis=1, dtype=np.float64) * counts_neg.sum(axis=1, dtype=np.float64)
        scale = 1.0 / np.maximum(pairs, 1.0)
        held += (pairs > 0)[:, None]
        for r in range(n_runs):
            scores = probabilities_rnk[r, :, c]
            above = np.subtract.outer(scores[positive], scores[~positive])
            wins = (0.5 * (np.sign(above) + 1.0)).astype(dtype)
            sums[:, r] += scale * np.einsum("bj,bj->b", counts_pos @ wins, counts_neg)
    return _divide(sums, held)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their ratio, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator


# Metrics ------------------------------------------------------------------------------------------------------------

BALANCED_ACCURACY = Metric(
    "balanced_accuracy",
    "balanced accuracy",
    "BA",
    lambda scored: float(scored.recalls.mean()),
    drawn_balanced_accuracy,
    chance=lambda k: 1 / k,
)
"""Mean recall over the classes that occur."""
F1_MICRO = Metric(
    "f1_micro",
    "micro F1",
    "micro F1",
    lambda scored: float(np.mean(scored.predicted == scored.labels)),
    drawn_f1_micro,
)
"""Of one label per case, that is accuracy."""
LOG_LOSS = Metric("log_loss", "log loss", "log loss", _log_loss, better="lower")
"""Mean -ln p of the true class, p at least 2.2e-16."""
AUROC = Metric("auroc", "AUROC", "AUROC", _auroc, drawn_auroc, chance=lambda k: 0.5)
"""Of class 1 where k is 2, otherwise the macro mean of one against the rest; not defined unless every class occurs."""


def balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean -ln p of the true class, rows weighted so that every class that occurs counts alike.

    labels: (n,) 0 … k-1, n >= 1. probabilities: (n, k).
    """
    chosen = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)
    weights = 1.0 / np.bincount(labels)[labels]
    return float(np.average(-np.log(chosen), weights=weights))


METRICS = (BALANCED_ACCURACY, F1_MICRO, LOG_LOSS, AUROC)
