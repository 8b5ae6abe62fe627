"""Is it real? What a guided row gains over I, over the references for I and over its controls, and the verdict in words.

The verdict, in this order; *above* means that the interval of a gain lies wholly above 0:

| verdict | where |
|---|---|
| `hurts` | the interval of the gain over I lies wholly below 0 |
| `no effect` | it lies within ±.02 (`margin`) and includes 0 |
| `S holds nothing beyond I` | not above I and every control, and S - I and S+I - I are surely below .02 |
| `cannot tell` | the interval of the gain over I includes 0 and reaches beyond ±.02: too few test cases; or there are not `enough` of a class, or so few that intervals are too `narrow` for the two above; or the row is above all, but it is not known how far luck in training moves the controls |
| what a control explains (heads.controls) | above I, not above that control: `capacity, not guidance` (shuffled), `I alone, re-expressed` (self; or, whatever it is above, the codes of both sides are the same), `label, not guidance` (within class, label again), `self-training, not guidance` (own) |
| `row I is under-trained` | above I, not above some reference for I: a better model of z_I alone explains the gain |
| `S not shown to exceed I` | above all these, but neither S nor S+I is above I (one-sided, 95 %) |
| `control NAME not run` | above all that was run, but that control was not |
| `guidance helps` | above I, every reference and every control, and S or S+I is above I |

Every interval is two-sided, 95 %, and covers cases and luck in training (training_luck.py): the estimand is the expected
gain over row I on new cases and with new seeds of this training set. No correction is needed within a row: `guidance
helps` asks for all gains at once (an intersection-union test), so its error is at most that of one of them and its p is
the largest. Over several targets or rows a caller corrects `p_helps` with `heads.significance.holm`. With one seed a
control that is one run borrows the luck of what it is like (heads.controls); with one permutation too it is not known,
and `guidance helps` is not said.
"""  # noqa: E501  (a row of the table)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_number
from guidestore.heads.controls import CONTROLS, SELF, SHUFFLED
from guidestore.heads.significance.bootstrap import DrawnMetrics
from guidestore.heads.significance.comparison import Comparison, check_same_units, compare, wider_over_folds
from guidestore.heads.significance.intervals import Interval, interval_of
from guidestore.heads.significance.training_luck import (
    TrainingLuck,
    luck_against_control,
    luck_over_seeds,
    spread_of_runs,
)

HELPS, HURTS, NO_EFFECT, CANNOT_TELL = "guidance helps", "hurts", "no effect", "cannot tell"
NOTHING_BEYOND, NOT_SHOWN = "S holds nothing beyond I", "S not shown to exceed I"
UNDER_TRAINED = "row I is under-trained"
NOT_RUN = "control {} not run"

VERDICTS = (
    *(HELPS, *dict.fromkeys(control.explains for control in CONTROLS.values() if control.explains)),
    *(UNDER_TRAINED, NOTHING_BEYOND, NOT_SHOWN, HURTS, CANNOT_TELL, NO_EFFECT),
)
"""All that there are, but for `control NAME not run`."""

MARGIN = 0.02
"""The smallest gain that counts as an effect, where nothing else is asked."""
ONE_SIDED = SURE = 0.05
"""S or S+I must beat I at this level; and of the two-sided p where an interval excludes 0."""


@dataclass(frozen=True, slots=True)
class Rival:
    """What a guided row must beat beside row I."""

    name: str
    """A control, with its kind where it has several (``self, random features``); or the decoder of a reference."""
    runs: Sequence[str]
    """Ids."""

    @property
    def control(self) -> str:
        """The name in heads.controls; '' of a reference."""
        name = self.name.partition(",")[0]
        return name if name in CONTROLS else ""

    @property
    def drawn(self) -> bool:
        """Whether its runs are draws of a control: where that has several kinds, those of the last alone are."""
        control = CONTROLS.get(self.control)
        return control is not None and control.drawn and self.name.endswith(control.kinds[-1:] or "")


@dataclass(frozen=True, slots=True)
class GuidedRow:
    """The runs (ids) of a guided row and of what it is held against; all over the same units and cases."""

    guided: Sequence[str]
    inferior: Sequence[str]
    """Row I."""
    controls: Sequence[Rival]
    """Shuffled pairs among them; several draws of one count with their mean."""
    references: Sequence[Rival] = ()
    """Other models of z_I alone."""
    superior: Sequence[str] = ()
    """Row S; empty where it was not trained on these units and cases."""
    s_plus_i: Sequence[str] = ()
    """Row S+I; as S."""
    lacking: Sequence[str] = ()
    """Controls that the row should have and that were not run."""
    one_code_set: bool = False
    """Whether z_S is z_I."""
    once_per_fold: bool = False
    """Whether seeds share the classifiers of a fold: their luck in training shows over folds alone."""
    lends_luck: bool = True
    """Whether the spread of its shuffled permutations tells how far training moves row I too: a decoder that reads z_I
    under shuffled pairs is much like row I, D_S on a shuffled G(z_I) alone is not."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Over one rival."""

    rival: Rival
    over: Comparison

    @property
    def explains(self) -> str:
        """The verdict where the gain is not above 0."""
        return CONTROLS[self.rival.control].explains if self.rival.control else UNDER_TRAINED


@dataclass(frozen=True, slots=True)
class GuidanceEffect:
    """What tables print beside every guided row."""

    gain_over_i: Comparison
    over_controls: tuple[Gain, ...]
    over_references: tuple[Gain, ...]
    superior_gain: Comparison | None
    """S minus I; None without S."""
    gap: Comparison | None
    """S+I minus I; None without S+I."""
    gap_closed: Interval | None
    """(guided - I) / (S+I - I); None, printed as –, without S+I or where the interval of S+I - I includes 0."""
    p_superior: float
    """One-sided p of neither S nor S+I being above I; 1 where neither was trained."""
    verdict: str
    """One of VERDICTS, or `control NAME not run`."""

    def over(self, control: str) -> Comparison | None:
        """The gain over a control, of several kinds over the nearest; None where it was not run."""
        gains = [gain.over for gain in self.over_controls if gain.rival.control == control]
        return min(gains, key=lambda over: over.gain.value, default=None)

    @property
    def gain_over_shuffled(self) -> Comparison:
        """Covers luck in training, where the control has several runs on the same cases (`luck` is not None)."""
        found = self.over(SHUFFLED)
        assert found is not None  # noqa: S101  (guidance_effect asks for it)
        return found

    @property
    def nearest_control(self) -> Gain:
        """The control that comes closest to the row, or passes it."""
        return min(self.over_controls, key=lambda gain: gain.over.gain.value)

    @property
    def nearest_reference(self) -> Gain | None:
        """The best of the references for I."""
        return min(self.over_references, key=lambda gain: gain.over.gain.value, default=None)

    @property
    def p_helps(self) -> float:
        """p of `guidance helps`, <= .05 exactly where that is the verdict: the largest p of all gains and of S or S+I
        above I, 1 for a loss, or where something else than a gain stands against it (a control was not run)."""
        gains = [self.gain_over_i, *(gain.over for gain in (*self.over_controls, *self.over_references))]
        p = max(self.p_superior, *map(_p_above, gains))
        return p if self.verdict == HELPS or p > SURE else 1.0


def guidance_effect(
    drawn: DrawnMetrics,
    metric: str,
    row: GuidedRow,
    *,
    margin: float = MARGIN,
    enough: bool = True,
    narrow: bool = False,
) -> GuidanceEffect:
    """Gains, share of the gap and verdict of one guided row in one metric of `heads.significance.draw_metrics`.

    enough: whether there are cases enough for any verdict. narrow: whether they are so few that intervals are too
    narrow to say that there is no effect.
    Raises InvalidInputError where a run was not drawn, rows differ in units or cases, or the shuffled control lacks.
    """
    check_number(margin, "margin", 0)
    shuffled = [run for rival in row.controls if rival.control == SHUFFLED for run in rival.runs]
    if not shuffled:
        raise InvalidInputError(
            f"the guided row of run {row.guided[0] if row.guided else '–'} has no shuffled control, so its gain cannot "
            "be told from capacity; train it with permutations"
        )
    check_same_units(drawn, row.guided, row.inferior)
    check_same_units(drawn, row.guided, shuffled)
    one = spread_of_runs(drawn, metric, shuffled)
    lent = one if row.lends_luck else None
    once = row.once_per_fold
    over_i = _over_untaught(drawn, metric, row.guided, row.inferior, lent, once=once)
    controls = [_over_control(drawn, metric, row, rival) for rival in row.controls]
    references = [Gain(rival, _over_untaught(drawn, metric, row.guided, rival.runs, lent)) for rival in row.references]
    superior = _over_untaught(drawn, metric, row.superior, row.inferior, lent) if row.superior else None
    gap = _over_untaught(drawn, metric, row.s_plus_i, row.inferior, lent) if row.s_plus_i else None
    closed = None
    if gap is not None and not gap.gain.includes_zero:
        check_same_units(drawn, row.guided, row.s_plus_i)
        inferior = drawn.row(metric, row.inferior)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (drawn.row(metric, row.guided) - inferior) / (drawn.row(metric, row.s_plus_i) - inferior)
        closed = interval_of(shares, f"the share of the gap in {metric}")
    known = [comparison for comparison in (superior, gap) if comparison is not None]
    p_superior = min((comparison.p_above for comparison in known), default=1.0)
    verdict = decide(
        over_i.gain,
        [*controls, *references],
        beyond=[comparison.gain for comparison in known],
        superior_exceeds=p_superior <= ONE_SIDED,
        lacking=row.lacking,
        one_code_set=row.one_code_set,
        luck_is_known=all(gain.over.luck is not None for gain in controls),
        enough=enough,
        narrow=narrow,
        margin=margin,
    )
    return GuidanceEffect(over_i, tuple(controls), tuple(references), superior, gap, closed, p_superior, verdict)


def decide(
    over_i: Interval,
    gains: Sequence[Gain],
    *,
    beyond: Sequence[Interval],
    superior_exceeds: bool,
    lacking: Sequence[str] = (),
    one_code_set: bool = False,
    luck_is_known: bool = True,
    enough: bool = True,
    narrow: bool = False,
    margin: float = MARGIN,
) -> str:
    """The verdict by the table above. beyond: S - I and S+I - I, as far as they are known."""
    if not enough:
        return CANNOT_TELL
    if over_i.below_zero:
        return HURTS
    if over_i.includes_zero and (narrow or over_i.within(margin)):
        return CANNOT_TELL if narrow else NO_EFFECT
    # In the order of the controls, references last.
    explained = next((gain.explains for gain in gains if not gain.over.gain.above_zero), "")
    nothing_beyond = not narrow and bool(beyond) and all(known.high < margin for known in beyond)
    if (over_i.includes_zero or explained) and nothing_beyond:
        return NOTHING_BEYOND
    if over_i.includes_zero:
        return CANNOT_TELL
    if explained:
        return explained
    if not superior_exceeds:
        return NOT_SHOWN
    if one_code_set:
        return CONTROLS[SELF].explains
    if lacking:
        return NOT_RUN.format(lacking[0])
    return HELPS if luck_is_known else CANNOT_TELL


def _over_control(drawn: DrawnMetrics, metric: str, row: GuidedRow, rival: Rival) -> Gain:
    """A control of one run borrows its spread from what it is like, else from shuffled pairs.

    Where pairs do not matter the true pairing is one more shuffle of them, and where z_S is made of z_I it is one more
    code of z_I: what such a draw gains by luck this training set has for good.
    """
    control = CONTROLS[rival.control]
    like = (control.like or rival.control, SHUFFLED)
    lenders = [lender.runs for name in like for lender in row.controls if lender.control == name and lender.drawn]
    spreads = (spread_of_runs(drawn, metric, runs) for runs in lenders)
    borrowed = next((spread for spread in spreads if spread is not None), None)
    luck = luck_against_control(drawn, metric, row.guided, rival.runs, borrowed, one_more=control.one_more)
    return Gain(rival, compare(drawn, metric, row.guided, rival.runs, luck=luck))


def _over_untaught(
    drawn: DrawnMetrics,
    metric: str,
    row: Sequence[str],
    other: Sequence[str],
    one: TrainingLuck | None,
    *,
    once: bool = False,
) -> Comparison:
    """Over a row that no pairing has a part in: luck over seeds, or over folds where each was trained once."""
    luck = luck_over_seeds(drawn, metric, row, other, one)
    return wider_over_folds(compare(drawn, metric, row, other, luck=luck), drawn, row, other, once=once)


def _p_above(comparison: Comparison) -> float:
    gain = comparison.gain
    return comparison.p_value if gain.above_zero or (gain.includes_zero and gain.value > 0) else 1.0
