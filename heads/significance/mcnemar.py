"""McNemar: do two runs err on different cases more often one way than the other?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.heads.significance.predictions import check_pair

EXACT_BELOW = 25
"""Discordant cases below which the binomial test stands in for chi-squared: the usual rule for its approximation."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two runs on the same cases."""

    only_a: int
    """Cases that a alone gets right."""
    only_b: int
    statistic: float
    """The smaller of the two counts if exact, otherwise chi-squared (1 degree) with continuity correction."""
    p_value: float
    """Two-sided."""
    exact: bool


def mcnemar(a: RunPredictions, b: RunPredictions) -> McNemar:
    """McNemar's test on right and wrong predictions, which for k > 2 classes compares accuracies (micro F1).

    Exact binomial below 25 discordant cases, otherwise chi-squared with Edwards's correction. One pair of runs, so one
    seed: over seeds use `median_p`. (McNemar, Psychometrika 12, 1947; Edwards, Psychometrika 13, 1948.) Raises
    InvalidInputError where cases or labels differ.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    check_pair(a, b)
    only_a, only_b = int((a.correct & ~b.correct).sum()), int((b.correct & ~a.correct).sum())
    exact = only_a + only_b < EXACT_BELOW
    if only_a == only_b:
        # No difference at all; the correction would make (0 - 1)^2 of it.
        return McNemar(only_a, only_b, float(only_a if exact else 0.0), 1.0, exact)
    result: Any = test([[0, only_a], [only_b, 0]], exact=exact, correction=True)
    return McNemar(only_a, only_b, float(result.statistic), min(1.0, float(result.pvalue)), exact)


def median_p(p_values: Sequence[float]) -> float:
    """The median of one p-value per seed (of an even number the mean of the middle two). Print all beside it."""
    if not p_values or not all(0.0 <= p <= 1.0 for p in p_values):
        raise InvalidInputError(f"p-values {list(p_values)} have no median; give one from 0 to 1 for each seed")
    return statistics.median(p_values)
