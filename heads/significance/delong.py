"""DeLong: the difference of two areas under the ROC curve of the same cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.heads.significance.intervals import CONFIDENCE, Interval
from guidestore.heads.significance.predictions import check_pair


@dataclass(frozen=True, slots=True)
class DeLong:
    """Two runs on the same cases, one class against the rest."""

    auroc_a: float
    auroc_b: float
    difference: Interval
    """a minus b; its interval is normal, so it may pass 1."""
    z: float
    p_value: float
    """Two-sided."""


def delong(a: RunPredictions, b: RunPredictions, *, positive: int = 1) -> DeLong:
    """DeLong's test of AUROC of class `positive` against the rest. The macro mean has none: use the bootstrap there.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988, with the midranks of Sun & Xu, IEEE Signal Processing
    Letters 21, 2014 (O(n log n)). Raises InvalidInputError where cases or labels differ, or there are fewer than 2
    positives or negatives.
    """
    from scipy.stats import norm

    check_pair(a, b)
    if not 0 <= positive < a.n_classes:
        raise InvalidInputError(f"class {positive} is none of the {a.n_classes} classes of run {a.run}; choose another")
    is_positive = a.labels == positive
    aurocs, covariance = auroc_covariance(
        is_positive, np.stack([a.probabilities[:, positive], b.probabilities[:, positive]])
    )
    difference = float(aurocs[0] - aurocs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Runs that rank alike leave rounding errors of 1e-18 where the variance is 0.
    sd = math.sqrt(variance) if variance > 1e-15 else 0.0
    z = difference / sd if sd else (0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference))
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * sd
    interval = Interval(difference, difference - half, difference + half)
    return DeLong(float(aurocs[0]), float(aurocs[1]), interval, z, float(2 * norm.sf(abs(z))))


def auroc_covariance(is_positive: np.ndarray, scores_rn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs (r,) and their covariance (r, r), float64, of (r, n) scores; is_positive: (n,) bool.

    Raises InvalidInputError with fewer than 2 positives or negatives.
    """
    from scipy.stats import rankdata

    m, n = int(is_positive.sum()), int((~is_positive).sum())
    if m < 2 or n < 2:
        raise InvalidInputError(
            f"DeLong: {m} positive and {n} negative cases; 2 of each are needed, so test on more cases"
        )
    ranks = rankdata(scores_rn, axis=1)
    # Structural components: the share of the other side that each case lies on the right side of.
    of_positives = (ranks[:, is_positive] - rankdata(scores_rn[:, is_positive], axis=1)) / n
    of_negatives = 1.0 - (ranks[:, ~is_positive] - rankdata(scores_rn[:, ~is_positive], axis=1)) / m
    return of_positives.mean(axis=1), np.cov(of_positives) / m + np.cov(of_negatives) / n
