"""From draws to an interval and a p-value that agree.

Intervals are percentile intervals, two-sided. Differences of paired metrics are nearly symmetric, one set of draws
serves every comparison and every sum of them, and the p-value is the interval's exact counterpart; BCa covered no
better when it was tried. Where a class has a handful of test cases any bootstrap is too narrow: look at such verdicts
twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

CONFIDENCE = 0.95
"""Of every interval, two-sided."""
POWER_ERRORS = 1.96 + 0.84
"""Standard errors from 0 at which a two-sided test of 5 % has a power of 80 %."""
FEW_DRAWS = 10
"""On the far side of 0; fewer of 2,000 are a p below .011."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Wholly above 0."""
        return self.low > 0.0

    @property
    def below_zero(self) -> bool:
        """Wholly below 0."""
        return self.high < 0.0

    @property
    def includes_zero(self) -> bool:
        return not self.above_zero and not self.below_zero

    def within(self, margin: float) -> bool:
        """Whether it reaches no further than that to either side of 0."""
        return -margin <= self.low and self.high <= margin

    @property
    def smallest_shown(self) -> float:
        """The true difference that an interval of this width would lie above 0 for in 80 % of such cohorts: 2.8
        standard errors."""
        return POWER_ERRORS * (self.high - self.low) / (2 * 1.96)


def interval_of(values: np.ndarray, what: str) -> Interval:
    """The percentile interval of (1 + draws,) values, row 0 the figure itself. Raises InvalidInputError if undefined.

    Its ends are the j-th smallest and j-th largest draw, j = floor((draws + 1) * .025). Draws that leave the figure
    undefined are left out.
    """
    drawn = np.sort(values[1:][~np.isnan(values[1:])])
    if math.isnan(values[0]) or 2 * len(drawn) < len(values) - 1:
        raise InvalidInputError(
            f"{what} is undefined on its cases or in most draws of them: a class has no cases, or too few, or all are "
            "alike; leave this metric out or test on more cases"
        )
    j = int((1.0 - CONFIDENCE) / 2.0 * (len(drawn) + 1) + 1e-9)
    return Interval(float(values[0]), float(drawn[j - 1]), float(drawn[-j]))


def p_value_of(values: np.ndarray, degrees: float | None = None) -> float:
    """Two-sided p of a difference being 0: twice the share of the draws on the far side of 0, the figure counted in.

    (1 + min(#(<= 0), #(>= 0))) * 2 / (draws + 1), at most 1 (Davison & Hinkley, Bootstrap Methods, 1997, eq. 4.11).
    Where fewer than 10 draws are there, their number says little and can say no less than 2 / (draws + 1), which many
    hypotheses at once would never pass: then a normal tail, or one of t with `degrees`, through the figure and the
    middle 68 % of the draws, where that is less.
    """
    from scipy.special import ndtr, stdtr, stdtrit  # scipy.stats is the same, and 1 s to import

    drawn = values[1:][~np.isnan(values[1:])]
    far = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2.0 * (1 + far) / (1 + len(drawn)))
    if far >= FEW_DRAWS:
        return p
    low, high = np.quantile(drawn, ndtr([-1.0, 1.0]))
    spread = (high - low) / 2
    if degrees is not None:
        spread /= stdtrit(degrees, ndtr(1.0))
    if not spread:
        return p
    z = abs(values[0]) / spread
    return min(p, float(2 * (ndtr(-z) if degrees is None else stdtr(degrees, -z))))
