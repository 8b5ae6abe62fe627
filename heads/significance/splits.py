"""The corrected resampled t-test: would the difference hold on other training sets?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_number
from guidestore.heads.significance.intervals import CONFIDENCE, Interval


@dataclass(frozen=True, slots=True)
class ResampledT:
    """The mean difference of two rows over splits."""

    difference: Interval
    t: float
    degrees: int
    p_value: float
    """Two-sided."""


def corrected_resampled_t(differences: Sequence[float] | np.ndarray, *, n_train: int, n_test: int) -> ResampledT:
    """Student's t over J splits with the variance (1 / J + n_test / n_train) s², because their train cases overlap.

    differences: (J,), J >= 2, one per split or fold; average seeds first, they are no further splits. n_train, n_test:
    cases of one split (RadPath 165 and 28). Source: Nadeau & Bengio, Machine Learning 52, 2003, section 3.3. Raises
    InvalidInputError.
    """
    from scipy.stats import t as student

    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise InvalidInputError(
            f"corrected resampled t: differences have shape {values.shape} or are not finite; give one for each of at "
            "least 2 splits"
        )
    check_number(n_train, "n_train", 1, integer=True)
    check_number(n_test, "n_test", 1, integer=True)
    mean, degrees = float(values.mean()), len(values) - 1
    sd = float(values.std(ddof=1)) * math.sqrt(1 / len(values) + n_test / n_train)
    t = mean / sd if sd else (0.0 if mean == 0.0 else math.copysign(math.inf, mean))
    half = float(student.ppf((1 + CONFIDENCE) / 2, degrees)) * sd
    return ResampledT(Interval(mean, mean - half, mean + half), t, degrees, float(2 * student.sf(abs(t), degrees)))
