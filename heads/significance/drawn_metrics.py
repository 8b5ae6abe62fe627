"""Metrics of many runs under many draws of the cases, as matrix products: a draw is a row of counts.

With every count 1 they are the metrics of `heads.metrics.evaluate`. Axes: b draws, n cases, r runs, k classes.
"""

from __future__ import annotations

import numpy as np

METRICS = ("balanced_accuracy", "f1_micro", "auroc")

_EXACT_FLOAT32 = 2**22
"""Up to here float32 holds every half exactly (2**24 / 2, and a factor 2 to spare)."""


def balanced_accuracy(counts_bn: np.ndarray, labels: np.ndarray, correct_nr: np.ndarray) -> np.ndarray:
    """(b, r) float64: mean recall over the classes that the draw holds; NaN in a draw without any of the cases.

    counts_bn: (b, n) float32, how often each case was drawn. labels: (n,) int64. correct_nr: (n, r) bool.
    """
    recalls, held = np.zeros((len(counts_bn), correct_nr.shape[1])), np.zeros((len(counts_bn), 1))
    for c in np.unique(labels):
        cases = labels == c
        counts = counts_bn[:, cases]
        total = counts.sum(axis=1, keepdims=True)
        # Where the draw holds no case of the class there are no hits either, and 0 / 1 adds nothing.
        recalls += (counts @ correct_nr[cases].astype(counts.dtype)) / np.maximum(total, 1.0).astype(np.float64)
        held += total > 0
    return _divide(recalls, held)


def f1_micro(counts_bn: np.ndarray, correct_nr: np.ndarray) -> np.ndarray:
    """(b, r) float64: with one label per case micro F1 is the share of correct cases; NaN in a draw without any."""
    hits = counts_bn @ correct_nr.astype(counts_bn.dtype)
    return _divide(hits.astype(np.float64), counts_bn.sum(axis=1, keepdims=True, dtype=np.float64))


def auroc(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """(b, r) float64: of class 1 where k is 2, otherwise the macro mean of one against the rest.

    A class that the draw lacks (or that the draw consists of) is left out of that draw's mean; NaN where that leaves
    none. All NaN where the cases themselves lack a class, as in `heads.metrics`. Each is the weighted Mann-Whitney
    statistic sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) over positives i and negatives j: exact with ties.
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
