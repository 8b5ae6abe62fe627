from __future__ import annotations

import math

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.heads.significance import (
    holm,
    mcnemar,
    median_p,
)

UNIT = ("published", 0, 0)


def binary_run(run: str, labels, scores, first: int = 0) -> RunPredictions:
    scores = np.asarray(scores, dtype=float)
    ids = tuple(f"C{first + i:05d}" for i in range(len(scores)))
    return RunPredictions(run, UNIT, ids, np.asarray(labels), np.stack([1 - scores, scores], axis=1))


def discordant_runs(only_a: int, only_b: int, both: int = 10) -> tuple[RunPredictions, RunPredictions]:
    """a and b, right on so many cases alone; every label is 1."""
    right_a = np.repeat([1, 0, 1], [only_a, only_b, both])
    right_b = np.repeat([0, 1, 1], [only_a, only_b, both])
    labels = np.ones(len(right_a), dtype=int)
    return binary_run("a", labels, 0.1 + 0.8 * right_a), binary_run("b", labels, 0.1 + 0.8 * right_b)


def test_mcnemar_worked_examples():
    # Wikipedia, McNemar's test: 121 and 59 (statistic 21.35 before the correction), and 6 and 16.
    large = mcnemar(*discordant_runs(121, 59))
    assert (large.only_a, large.only_b, large.exact) == (121, 59, False)
    assert large.statistic == pytest.approx((121 - 59 - 1) ** 2 / 180)
    assert large.p_value == pytest.approx(5.45e-6, rel=0.01)
    small = mcnemar(*discordant_runs(6, 16))
    assert small.exact
    assert small.statistic == 6
    assert small.p_value == pytest.approx(2 * sum(math.comb(22, i) for i in range(7)) / 2**22)
    assert small.p_value == pytest.approx(0.053, abs=0.001)


def test_mcnemar_is_exact_below_25_discordant_cases():
    assert mcnemar(*discordant_runs(20, 4)).exact
    assert not mcnemar(*discordant_runs(20, 5)).exact


@pytest.mark.parametrize("count", [0, 5, 40])
def test_mcnemar_of_equals(count):
    result = mcnemar(*discordant_runs(count, count))
    assert result.p_value == 1.0
    assert result.exact == (2 * count < 25)


def test_the_median_p_of_seeds():
    assert median_p([0.04, 0.5, 0.01]) == 0.04
    assert median_p([0.04, 0.06]) == pytest.approx(0.05)
    for wrong in ([], [0.1, math.nan], [1.2]):
        with pytest.raises(InvalidInputError, match="no median"):
            median_p(wrong)


def test_holm_worked_example():
    adjusted = holm({"PN": 0.01, "BWV": 0.04, "VS": 0.03, "PIG": 0.005})
    assert adjusted == pytest.approx({"PN": 0.03, "BWV": 0.06, "VS": 0.06, "PIG": 0.02})
    assert holm({"PN": 0.6, "VS": 0.7}) == {"PN": 1.0, "VS": 1.0}


@pytest.mark.parametrize("seed", range(3))
def test_holm_is_that_of_statsmodels_to_the_bit(seed):
    """Ties among them, and values that go beyond 1."""
    from statsmodels.stats.multitest import multipletests

    p_values = np.random.default_rng(seed).integers(0, 200, 60) / 200 / 10**seed
    adjusted = holm({str(task): p for task, p in enumerate(p_values)})
    assert list(adjusted.values()) == multipletests(p_values, method="holm")[1].tolist()


def test_refuses_what_cannot_be_tested():
    labels = [1, 0, 1, 0]
    a = binary_run("a", labels, [0.9, 0.1, 0.6, 0.4])
    with pytest.raises(InvalidInputError, match="differ in 2 cases"):
        mcnemar(a, binary_run("b", labels, [0.9, 0.1, 0.6, 0.4], first=1))
    with pytest.raises(InvalidInputError, match="differ in the labels"):
        mcnemar(a, binary_run("b", [0, 1, 0, 1], [0.9, 0.1, 0.6, 0.4]))
    with pytest.raises(InvalidInputError, match="task BWV has no p-value"):
        holm({"PN": 0.1, "BWV": math.nan})
    with pytest.raises(InvalidInputError, match="there is no p-value"):
        holm({})
