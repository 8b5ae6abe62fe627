"""How well scores tell classes apart: what a choice 'by score' and a gate go by."""

from __future__ import annotations

import numpy as np

from guidestore.heads.metrics.area import area_under_roc


def balanced_accuracy(labels_n: np.ndarray, scores_nk: np.ndarray) -> float:
    """Mean recall of the argmax over the classes that occur."""
    predicted_n = scores_nk.argmax(axis=1)
    return float(np.mean([np.mean(predicted_n[labels_n == c] == c) for c in np.unique(labels_n)]))


def auroc(labels_n: np.ndarray, scores_nk: np.ndarray) -> float:
    """Mean over the classes that some rows have and some have not of Mann-Whitney's statistic, one against the rest (of
    class 1 against class 0 where k is 2); .5 where there is none."""
    if scores_nk.shape[1] == 2:
        scores_nk = (scores_nk[:, 1] - scores_nk[:, 0])[:, None]
        labels_n = 1 - labels_n  # column 0 is now that of class 1
    areas = []
    for c in range(scores_nk.shape[1]):
        positive = labels_n == c
        if positive.any() and not positive.all():
            areas.append(area_under_roc(positive, scores_nk[:, c]))
    return float(np.mean(areas)) if areas else 0.5


def score(labels_n: np.ndarray, scores_nk: np.ndarray) -> float:
    """(balanced accuracy + AUROC) / 2 of (n,) labels 0 … k-1, n >= 1, and (n, k) scores."""
    return (balanced_accuracy(labels_n, scores_nk) + auroc(labels_n, scores_nk)) / 2


def label_targets(labels_n: np.ndarray, n_classes: int) -> np.ndarray:
    """(n, k): one-hot / prior - 1, so that the argmax of what regresses it is balanced over the classes.

    The prior of a class is its share of these labels, at least .001.
    """
    prior_k = np.maximum(np.bincount(labels_n, minlength=n_classes) / len(labels_n), 1e-3)
    return np.eye(n_classes)[labels_n] / prior_k - 1.0
