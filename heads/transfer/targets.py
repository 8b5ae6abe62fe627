"""Targets of teachers and students: for each case how much it belongs to each class."""

from __future__ import annotations

import numpy as np

FLOOR = 1e-3
"""Least probability that linear scores are given: 0 would make the log loss of one wrong case infinite."""


def one_hot(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(n,) labels 0 … k-1 -> (n, k) float64."""
    return np.eye(n_classes)[labels]


def balanced(targets_nk: np.ndarray, weights_n: np.ndarray) -> np.ndarray:
    """(n,) weights that sum to 1, under which every class has the same mass; a class without any mass gets none.

    A case of soft targets takes its share of each class's weight, so labelled and taught cases are balanced together:
    alone, a class that the teacher hardly ever names would be made of its errors.
    """
    mass_k = weights_n @ targets_nk
    per_class_k = np.divide(1.0, mass_k, out=np.zeros_like(mass_k), where=mass_k > 0)
    balanced_n = weights_n * (targets_nk @ per_class_k)
    return balanced_n / balanced_n.sum()


def to_probabilities(scores_nk: np.ndarray) -> np.ndarray:
    """Linear scores, which sum to about 1, as probabilities; the likeliest class stays the likeliest."""
    floored_nk = np.maximum(scores_nk, FLOOR)
    return floored_nk / floored_nk.sum(axis=1, keepdims=True)
