"""Is it real? What a guided row gains over I and over its controls, and the verdict in words.

The verdict, in this order:

| verdict | where |
|---|---|
| `hurts` | the interval of the gain over I lies wholly below 0 |
| `no effect` | the interval of the gain over I includes 0: this test set cannot tell it from none |
| `capacity, not guidance` | above I, but the interval of the gain over shuffled pairs is not wholly above 0 |
| `self-training, not guidance` | above I and shuffled pairs, but not wholly above self-training, where that was run |
| `guidance helps` | the intervals of all these gains lie wholly above 0 |

Every interval is two-sided, 95 %. No correction is needed within a row: `guidance helps` asks for all gains at once (an
intersection-union test), so its error is at most that of one of them. Over several tasks or rows a caller corrects
`p_helps` with `heads.significance.holm`. Give the control several permutations: with a single run on each test set
luck in training stays unknown, and `guidance helps` is then said too easily.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.significance.bootstrap import DrawnMetrics
from guidestore.heads.significance.comparison import Comparison, check_same_units, compare
from guidestore.heads.significance.intervals import Interval, interval_of
from guidestore.heads.significance.training_luck import training_luck

Verdict = Literal["guidance helps", "capacity, not guidance", "self-training, not guidance", "no effect", "hurts"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class GuidedRow:
    """The runs (ids) of a guided row and of what it is held against; all over the same units and cases."""

    guided: Sequence[str]
    inferior: Sequence[str]
    """Row I."""
    shuffled: Sequence[str]
    """The same head with G (or the teacher) on shuffled pairs; several permutations count with their mean."""
    self_training: Sequence[str] = ()
    """The same student with an I-teacher; empty where no labels are transferred."""
    s_plus_i: Sequence[str] = ()
    """Row S+I; empty where it was not trained."""


@dataclass(frozen=True, slots=True)
class GuidanceEffect:
    """What tables print beside every guided row."""

    gain_over_i: Comparison
    gain_over_shuffled: Comparison
    """Covers luck in training too, where the control has several runs on the same cases (`luck` is not None)."""
    gain_over_self_training: Comparison | None
    """None where no labels are transferred. Covers the same luck, as an upper bound: here is one teacher each."""
    gap: Comparison | None
    """S+I minus I; None without S+I."""
    gap_closed: Interval | None
    """(guided - I) / (S+I - I); None, printed as –, without S+I or where the interval of S+I - I includes 0."""
    verdict: Verdict

    @property
    def p_helps(self) -> float:
        """p of `guidance helps`, <= .05 exactly where that is the verdict: the largest p of its gains, 1 for a loss."""
        gains = [self.gain_over_i, self.gain_over_shuffled, self.gain_over_self_training]
        return max(_p_above(comparison) for comparison in gains if comparison is not None)


def guidance_effect(drawn: DrawnMetrics, metric: str, row: GuidedRow) -> GuidanceEffect:
    """Gains, share of the gap and verdict of one guided row in one metric of `heads.significance.draw_metrics`.

    Raises InvalidInputError where a run was not drawn, rows differ in units or cases, or the shuffled control lacks.
    """
    if not row.shuffled:
        raise InvalidInputError(
            f"the guided row of run {row.guided[0] if row.guided else '–'} has no shuffled control, so its gain cannot "
            "be told from capacity; train it with permutations"
        )
    over_i = compare(drawn, metric, row.guided, row.inferior)
    check_same_units(drawn, row.guided, row.shuffled)
    luck = training_luck(drawn, metric, row.shuffled)
    over_shuffled = compare(drawn, metric, row.guided, row.shuffled, luck=luck)
    over_self = compare(drawn, metric, row.guided, row.self_training, luck=luck) if row.self_training else None
    gap = compare(drawn, metric, row.s_plus_i, row.inferior) if row.s_plus_i else None
    closed = None
    if gap is not None and not gap.gain.includes_zero:
        check_same_units(drawn, row.guided, row.s_plus_i)
        inferior = drawn.row(metric, row.inferior)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (drawn.row(metric, row.guided) - inferior) / (drawn.row(metric, row.s_plus_i) - inferior)
        closed = interval_of(shares, f"the share of the gap in {metric}")
    verdict = decide(over_i.gain, over_shuffled.gain, over_self.gain if over_self else None)
    return GuidanceEffect(over_i, over_shuffled, over_self, gap, closed, verdict)


def decide(over_i: Interval, over_shuffled: Interval, over_self_training: Interval | None) -> Verdict:
    """The verdict by the table above."""
    if over_i.below_zero:
        return "hurts"
    if over_i.includes_zero:
        return "no effect"
    if not over_shuffled.above_zero:
        return "capacity, not guidance"
    if over_self_training is not None and not over_self_training.above_zero:
        return "self-training, not guidance"
    return "guidance helps"


def _p_above(comparison: Comparison) -> float:
    gain = comparison.gain
    return comparison.p_value if gain.above_zero or (gain.includes_zero and gain.value > 0) else 1.0
