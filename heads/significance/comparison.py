"""Two rows over the same units and cases: the gain of one over the other, its interval and p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.significance.bootstrap import DrawnMetrics
from guidestore.heads.significance.intervals import Interval, interval_of, p_value_of
from guidestore.heads.significance.training_luck import TrainingLuck

ROUNDING = 1e-12
"""Far above what float64 sums of metrics lose, far below any difference that cases can make."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row a minus row b in one metric, over the same cases."""

    metric: str
    gain: Interval
    p_value: float
    """Two-sided: p <= .05 exactly where the interval excludes 0."""
    draws: int
    seed: int
    """Of the draws."""
    luck: TrainingLuck | None = None
    """What the interval covers beside the draw of the cases; None: nothing."""


def compare(
    drawn: DrawnMetrics, metric: str, row: Sequence[str], other: Sequence[str], *, luck: TrainingLuck | None = None
) -> Comparison:
    """Row minus other row (run ids) in `metric`. Both must have the same units, and in each unit the same cases.

    luck: widens the draws by t-distributed noise of that size. Raises InvalidInputError; `on_common_cases` helps where
    cases differ.
    """
    check_same_units(drawn, row, other)
    gains = drawn.row(metric, row) - drawn.row(metric, other)
    # Means over different numbers of equal runs differ by rounding alone; that must not pass for a difference.
    gains[np.abs(gains) < ROUNDING] = 0.0
    if luck is not None:
        # A stream of its own, so that it is independent of the draw of the cases.
        rng = np.random.default_rng([drawn.seed, 1])
        gains[1:] += luck.sd * rng.standard_t(luck.degrees, drawn.draws)
    what = f"the difference of {metric}"
    return Comparison(metric, interval_of(gains, what), p_value_of(gains), drawn.draws, drawn.seed, luck)


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
