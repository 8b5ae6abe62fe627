"""One temperature for all logits, fitted on val (Guo, Pleiss, Sun & Weinberger, ICML 2017, "On calibration of modern
neural networks")."""

from __future__ import annotations

import numpy as np

from guidestore.heads.networks import softmax

COLDEST, HOTTEST = 1e-4, 100.0
"""Temperatures beyond these are not looked for. Margins of strongly penalised SVMs ask for cold ones."""


def fit_temperature(logits_nk: np.ndarray, labels: np.ndarray) -> float:
    """The T under which softmax(logits / T) has the least cross-entropy to (n,) labels 0 … k-1; 1 where n < 2.

    Each row counts once, whatever its class. Labels count n times and every class once more, 1 / k each: a val part
    without a mistake would otherwise ask for T = 0 (Platt 1999 softens targets likewise). The loss is convex in 1 / T,
    so its slope is bisected.
    """
    n, k = logits_nk.shape
    if n < 2:
        return 1.0
    wanted_nk = (n * np.eye(k)[labels] + 1.0 / k) / (n + 1.0)
    low, high = np.log([COLDEST, HOTTEST])
    for _ in range(60):  # to the last digits of float64
        middle = (low + high) / 2
        too_sure = ((softmax(logits_nk / np.exp(middle)) - wanted_nk) * logits_nk).sum() > 0
        low, high = (middle, high) if too_sure else (low, middle)
    return float(np.exp((low + high) / 2))
