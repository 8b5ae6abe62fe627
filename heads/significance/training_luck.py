"""How far luck in training alone moves a head that learns from pairs: the spread of the shuffled control.

Drawing cases says nothing about it: of several pairings that carry nothing, one will have led to the better head, and a
large test set then shows that surely. But the true pairing is one more such pairing if pairs do not matter, so the
permutations of the control measure its luck. In simulated cohorts that are trained anew, drawing cases alone said
`guidance helps` of guidance that could not help too often (tests/heads/test_significance_simulated.py asserts that it
no longer does).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.significance.bootstrap import DrawnMetrics


@dataclass(frozen=True, slots=True)
class TrainingLuck:
    """Of the difference of one pairing's row and the mean of the control's."""

    sd: float
    """In units of the metric; 0 where the control's runs differ no more than drawing cases explains."""
    degrees: int
    """Degrees of freedom of the estimate."""


def training_luck(drawn: DrawnMetrics, metric: str, control: Sequence[str]) -> TrainingLuck | None:
    """From the spread of a control's runs (permutations and seeds) on the same cases; None where there are no two.

    The variance between runs, less the part that their finite cases explain (its bootstrap estimate), pooled over test
    sets, times 1 + 1 / runs. It is not divided by the seeds or folds of the guided row: their pairing is one and the
    same.
    """
    by_test_set: dict[int, list[str]] = {}
    for run in control:
        by_test_set.setdefault(drawn.test_sets[drawn.runs[run]], []).append(run)
    excess, degrees = 0.0, len(control) - len(by_test_set)
    if degrees == 0:
        return None
    for runs in by_test_set.values():
        values = drawn.values[metric][:, [drawn.runs[run] for run in runs]]
        from_mean = values - values.mean(axis=1, keepdims=True)
        excess += float((from_mean[0] ** 2 - np.nanvar(from_mean[1:], axis=0)).sum())
    return TrainingLuck(math.sqrt(max(0.0, excess / degrees) * (1 + 1 / len(control))), degrees)
