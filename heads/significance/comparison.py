"""Two rows over the same units and cases: the gain of one over the other, its interval and p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.significance.bootstrap import DrawnMetrics
from guidestore.heads.significance.intervals import CONFIDENCE, Interval, interval_of, p_value_of
from guidestore.heads.significance.training_luck import MIN_FOLDS, TrainingLuck

BOOTSTRAP = "paired bootstrap"
OVER_FOLDS = "corrected t over folds"
ROUNDING = 1e-12
"""Far above what float64 sums of metrics lose, far below any difference that cases can make."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row a minus row b in one metric, over the same cases; b minus a where less of the metric is better."""

    metric: str
    gain: Interval
    p_value: float
    """Two-sided: p <= .05 exactly where the interval excludes 0."""
    draws: int
    seed: int
    """Of the draws."""
    luck: TrainingLuck | None = None
    """What the interval covers beside the draw of the cases; None: nothing."""
    method: str = BOOTSTRAP
    """How interval and p were made."""

    @property
    def p_above(self) -> float:
        """One-sided p of a not being above b."""
        return self.p_value / 2 if self.gain.value > 0 else 1 - self.p_value / 2


def compare(
    drawn: DrawnMetrics, metric: str, row: Sequence[str], other: Sequence[str], *, luck: TrainingLuck | None = None
) -> Comparison:
    """Row minus other row (run ids) in `metric`. Both must have the same units, and in each unit the same cases.

    luck: widens the draws by noise of that size, and as t is wider than a normal distribution. Its degrees of freedom
    are more the less of the variance is luck, since that of the cases is known: those of the luck over its share. (By
    Satterthwaite it would be over the square of the share; of two degrees that covers 92 % where luck is most of it.
    Tests hold the share to 93 to 97 %.) Raises InvalidInputError; `on_common_cases` helps where cases differ.
    """
    from scipy.special import gammaincinv

    check_same_units(drawn, row, other)
    gains = drawn.row(metric, row) - drawn.row(metric, other)
    if metric in drawn.lower_is_better:
        gains = -gains
    # Means over different numbers of equal runs differ by rounding alone; that must not pass for a difference.
    gains[np.abs(gains) < ROUNDING] = 0.0
    degrees = None
    if luck is not None and luck.sd > ROUNDING:
        degrees = luck.degrees * (1 + float(np.nanvar(gains[1:])) / luck.sd**2)
        # A stream of its own, so that it is independent of the draw of the cases.
        rng = np.random.default_rng([drawn.seed, 1])
        apart = gains[1:] - gains[0] + luck.sd * rng.standard_normal(drawn.draws)
        # By quantiles: drawn as such, another rounding of the degrees would draw others.
        chi2 = 2 * gammaincinv(degrees / 2, rng.random(drawn.draws))
        gains[1:] = gains[0] + apart * np.sqrt(degrees / chi2)
    what = f"the difference of {metric}"
    return Comparison(metric, interval_of(gains, what), p_value_of(gains, degrees), drawn.draws, drawn.seed, luck)


def wider_over_folds(
    comparison: Comparison, drawn: DrawnMetrics, row: Sequence[str], other: Sequence[str], *, once: bool = False
) -> Comparison:
    """`comparison` of two rows, or, where each was trained once per fold, the corrected resampled t over three folds or
    more, if that is wider: then luck in training shows in the folds alone. once: so is what stands behind several seeds
    (the classifiers C_I and C_S as published), and a fold counts with the mean over them.

    t = mean / sqrt((1/k + n_test/n_train) variance), k - 1 degrees of freedom. (Nadeau & Bengio, Machine Learning 52,
    2003.)
    """
    from scipy.special import stdtr, stdtrit

    units = drawn.tested_on(row)
    folds = sorted(set(units.values()))
    if len(folds) < MIN_FOLDS or (len(folds) < len(units) and not once):
        return comparison
    gains, sizes, sign = [], [], -1.0 if comparison.metric in drawn.lower_is_better else 1.0
    for fold in folds:
        sides = [[run for run in side if drawn.test_sets[drawn.runs[run]] == fold] for side in (row, other)]
        ours, theirs = (drawn.row(comparison.metric, side)[0] for side in sides)
        gains.append(sign * (ours - theirs))
        sizes.append(drawn.n_cases[drawn.runs[sides[0][0]]])
    k, spread, value = len(gains), float(np.std(gains, ddof=1)), comparison.gain.value
    share = min(1.0, float(np.mean(sizes)) / max(1.0, drawn.n_all - float(np.mean(sizes))))
    error = math.sqrt(1 / k + share) * spread
    half = float(stdtrit(k - 1, 0.5 + CONFIDENCE / 2)) * error
    if not error or 2 * half <= comparison.gain.high - comparison.gain.low:
        return comparison
    p = float(2 * stdtr(k - 1, -abs(value) / error))
    return replace(comparison, gain=Interval(value, value - half, value + half), p_value=p, method=OVER_FOLDS)


def check_same_units(drawn: DrawnMetrics, row: Sequence[str], other: Sequence[str]) -> None:
    """Raises InvalidInputError where two rows are no pairs: other units, or other cases in one."""
    ours, theirs = drawn.tested_on(row), drawn.tested_on(other)
    if ours.keys() != theirs.keys():
        unit = min(ours.keys() ^ theirs.keys(), key=str)
        raise InvalidInputError(
            f"runs {row[0]}, … and {other[0]}, … are no pairs: only one row has unit {unit} (split, fold, seed); "
            "compare the units that both have"
        )
    apart = [unit for unit in ours if ours[unit] != theirs[unit]]
    if apart:
        raise InvalidInputError(
            f"runs {row[0]}, … and {other[0]}, … have different cases in unit {apart[0]}; compare them on the cases "
            "that both have (on_common_cases)"
        )
