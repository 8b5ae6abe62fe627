"""How far luck in training alone moves a row: the spread of heads that differ in nothing else.

Drawing cases says nothing about it: of several pairings that carry nothing, one will have led to the better head, and a
large test set then shows that surely. Two spreads tell it: of a control over its draws, each by a seed of its own, and
of the difference of two rows over the seeds that both were trained with.
(tests/heads/test_significance_simulated.py: drawing cases alone says `guidance helps` of guidance that cannot help too
often; tests/evidence has the rates.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
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
    degrees: float
    """Degrees of freedom of the estimate."""


def spread_of_runs(drawn: DrawnMetrics, metric: str, control: Sequence[str]) -> TrainingLuck | None:
    """Of one run of a control: from its draws and seeds on the same cases; None where there are no two.

    The variance between runs, less the part that their finite cases explain (its bootstrap estimate), pooled over test
    sets.
    """
    return _excess(_by(drawn, metric, control, drawn.test_sets))


def luck_against_control(
    drawn: DrawnMetrics,
    metric: str,
    row: Sequence[str],
    control: Sequence[str],
    like: TrainingLuck | None = None,
    *,
    one_more: bool = False,
) -> TrainingLuck | None:
    """Of a guided row minus the mean of a control's runs.

    like: the spread of one draw of a like control, where this one is a single run on each fold and seed. one_more: the
    row is one more draw if what the control stands for is true, as the true pairing is of shuffled pairs. With several
    seeds up to three parts: that one draw; the mean over the draws, which is as sure as their spread and number make
    it; and what the difference moves over seeds beyond that. With one seed nothing tells how far the row itself moves:
    it is taken to move as one draw of the control does, whatever the number of folds.
    """
    draws = _excess(_by(drawn, metric, control, drawn.units))
    over_seeds = _over_seeds(drawn, metric, row, control)
    one = draws or like
    if over_seeds is None:
        return one and TrainingLuck(one.sd * math.sqrt(1 + _share_of_mean(drawn, control)), one.degrees)
    parts = [one] if one and one_more else []
    if draws is None:
        return _sum(over_seeds, *parts)
    mean = TrainingLuck(draws.sd * math.sqrt(_share_of_mean(drawn, control)), draws.degrees)
    beyond = math.sqrt(max(0.0, over_seeds.sd**2 - mean.sd**2))
    return _sum(mean, TrainingLuck(beyond, over_seeds.degrees), *parts)


def luck_over_seeds(
    drawn: DrawnMetrics, metric: str, row: Sequence[str], other: Sequence[str], one: TrainingLuck | None
) -> TrainingLuck | None:
    """Of a row minus one without guidance, both trained anew with every seed.

    From the spread of their difference over the seeds of each test set, divided by the number of units. Where no test
    set has two seeds: None over several folds, whose own spread tells (comparison.wider_over_folds); else borrowed from
    `one`, the spread of one run of the shuffled control, for either side; None where that is not known either.
    """
    own, units = _over_seeds(drawn, metric, row, other), len(drawn.tested_on(row))
    if own is not None or one is None or units >= MIN_FOLDS:
        return own
    return TrainingLuck(one.sd * math.sqrt(2 / units), one.degrees)


def _over_seeds(drawn: DrawnMetrics, metric: str, row: Sequence[str], other: Sequence[str]) -> TrainingLuck | None:
    """Of the mean difference, from its spread over the seeds of each test set; None where none has two."""
    differences: dict[int, list[np.ndarray]] = {}
    units = drawn.tested_on(row)
    for unit, test_set in units.items():
        sides = [[run for run in side if drawn.units[drawn.runs[run]] == unit] for side in (row, other)]
        differences.setdefault(test_set, []).append(drawn.row(metric, sides[0]) - drawn.row(metric, sides[1]))
    own = _excess(list(differences.values()))
    return own and TrainingLuck(own.sd / math.sqrt(len(units)), own.degrees)


def _share_of_mean(drawn: DrawnMetrics, control: Sequence[str]) -> float:
    """Of the variance of one draw: that of the mean over the runs, in which units count alike, however often each was
    drawn (later seeds may have more draws than earlier ones)."""
    draws = Counter(drawn.units[drawn.runs[run]] for run in control)
    return sum(1 / n for n in draws.values()) / len(draws) ** 2


def _by(drawn: DrawnMetrics, metric: str, runs: Sequence[str], key: Sequence[Hashable]) -> list[list[np.ndarray]]:
    """The figures of runs, those together that have the same key; key: of each column."""
    groups: dict[Hashable, list[np.ndarray]] = {}
    for run in runs:
        column = drawn.runs[run]
        groups.setdefault(key[column], []).append(drawn.values[metric][:, column])
    return list(groups.values())


def _sum(*parts: TrainingLuck) -> TrainingLuck:
    """Of independent parts; the degrees of freedom by Satterthwaite."""
    variance = sum(part.sd**2 for part in parts)
    if not variance:
        return TrainingLuck(0.0, sum(part.degrees for part in parts))
    return TrainingLuck(math.sqrt(variance), variance**2 / sum(part.sd**4 / part.degrees for part in parts))


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
