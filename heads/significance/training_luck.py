"""How far luck in training alone moves a row: the spread of heads that differ in nothing else.

Drawing cases says nothing about it: of several pairings that carry nothing, one will have led to the better head, and a
large test set then shows that surely. Two spreads tell it. The permutations of the shuffled control: the true pairing
is one more such pairing if pairs do not matter, so their spread is that of one head under a pairing drawn at random.
And the seeds of a row, or of the difference of two rows trained with the same seeds, where there are several.
(tests/heads/test_significance_simulated.py: drawing cases alone says `guidance helps` of guidance that cannot help too
often; tests/evidence has the rates.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.significance.bootstrap import DrawnMetrics

MIN_FOLDS = 3
"""From which on the spread over folds says how far training moves a row: of two folds it has one degree of freedom."""


@dataclass(frozen=True, slots=True)
class TrainingLuck:
    """Of a difference of two rows."""

    sd: float
    """In units of the metric; 0 where runs differ no more than drawing cases explains."""
    degrees: int
    """Degrees of freedom of the estimate."""


def spread_of_runs(drawn: DrawnMetrics, metric: str, control: Sequence[str]) -> TrainingLuck | None:
    """Of one run of a control: from its permutations and seeds on the same cases; None where there are no two.

    The variance between runs, less the part that their finite cases explain (its bootstrap estimate), pooled over test
    sets.
    """
    by_test_set: dict[int, list[np.ndarray]] = {}
    for run in control:
        column = drawn.runs[run]
        by_test_set.setdefault(drawn.test_sets[column], []).append(drawn.values[metric][:, column])
    return _excess(list(by_test_set.values()))


def luck_against_control(one: TrainingLuck | None, control: Sequence[str]) -> TrainingLuck | None:
    """Of a guided row minus the mean of a control's runs, from the spread of one run of the shuffled control.

    It is not divided by the seeds or folds of the guided row: their pairing is one and the same. A control that does
    not permute borrows it, whatever the spread of its own runs: theirs is of seeds alone, and a z_S that holds nothing
    still is one draw of many.
    """
    return None if one is None else TrainingLuck(one.sd * math.sqrt(1 + 1 / len(control)), one.degrees)


def luck_over_seeds(
    drawn: DrawnMetrics, metric: str, row: Sequence[str], other: Sequence[str], one: TrainingLuck | None
) -> TrainingLuck | None:
    """Of a row minus one without guidance, both trained anew with every seed.

    From the spread of their difference over the seeds of each test set, divided by the number of units. Where no test
    set has two seeds: None over several folds, whose own spread tells (comparison.wider_over_folds); else borrowed from
    `one`, the spread of one run of the shuffled control, for either side; None where that is not known either.
    """
    differences: dict[int, list[np.ndarray]] = {}
    units = drawn.tested_on(row)
    for unit, test_set in units.items():
        sides = [[run for run in side if drawn.units[drawn.runs[run]] == unit] for side in (row, other)]
        differences.setdefault(test_set, []).append(drawn.row(metric, sides[0]) - drawn.row(metric, sides[1]))
    own = _excess(list(differences.values()))
    if own is not None:
        return TrainingLuck(own.sd / math.sqrt(len(units)), own.degrees)
    if one is None or len(units) >= MIN_FOLDS:
        return None
    return TrainingLuck(one.sd * math.sqrt(2 / len(units)), one.degrees)


def _excess(groups: Sequence[Sequence[np.ndarray]]) -> TrainingLuck | None:
    """Spread within groups of (1 + draws,) figures, row 0 the figure itself, beyond what drawing cases explains."""
    excess, degrees = 0.0, sum(len(group) - 1 for group in groups)
    if degrees == 0 or any(np.isnan(values[0]) for group in groups for values in group):
        return None
    for group in groups:
        values = np.stack(group, axis=1)
        from_mean = values - values.mean(axis=1, keepdims=True)
        excess += float((from_mean[0] ** 2 - np.nanvar(from_mean[1:], axis=0)).sum())
    return TrainingLuck(math.sqrt(max(0.0, excess / degrees)), degrees)
