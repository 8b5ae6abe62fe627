from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.heads.significance import (
    compare,
    corrected_resampled_t,
    delong,
    draw_metrics,
    holm,
    mcnemar,
    median_p,
)
from guidestore.heads.significance.delong import auroc_covariance

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


def test_delong_by_hand():
    # A: .9 .6 .4 against .5 .3; B: .7 .2 .6 against .4 .6, with one tie.
    # Components of the positives A 1, 1, 1/2 and B 1, 0, 3/4; of the negatives A 2/3, 1 and B 2/3, 1/2.
    # var(A - B) = (1/12 + 13/48 + 2/24) / 3 + (1/18 + 1/72 + 2/36) / 2 = 5/24; z = (1/4) / sqrt(5/24) = sqrt(3/10).
    labels = [1, 1, 1, 0, 0]
    result = delong(
        binary_run("a", labels, [0.9, 0.6, 0.4, 0.5, 0.3]), binary_run("b", labels, [0.7, 0.2, 0.6, 0.4, 0.6])
    )
    assert result.auroc_a == pytest.approx(5 / 6)
    assert result.auroc_b == pytest.approx(7 / 12)
    assert result.z == pytest.approx(math.sqrt(0.3))
    assert result.p_value == pytest.approx(math.erfc(math.sqrt(0.3) / math.sqrt(2)))
    assert result.difference.low == pytest.approx(0.25 - 1.959964 * math.sqrt(5 / 24), abs=1e-6)


def naive_covariance(is_positive: np.ndarray, scores_rn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's own O(mn) formula: every positive against every negative."""
    x, y = scores_rn[:, is_positive], scores_rn[:, ~is_positive]
    wins = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    covariance = np.cov(wins.mean(axis=2)) / x.shape[1] + np.cov(wins.mean(axis=1)) / y.shape[1]
    return wins.mean(axis=(1, 2)), covariance


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.sampled_from([3, 1000]))
@settings(max_examples=40, deadline=None)
def test_delong_agrees_with_the_naive_formula(seed, m, n, levels):
    rng = np.random.default_rng(seed)
    is_positive = rng.permutation(np.repeat([True, False], [m, n]))
    scores_rn = rng.integers(0, levels, (3, m + n)) / levels
    for found, expected in zip(
        auroc_covariance(is_positive, scores_rn), naive_covariance(is_positive, scores_rn), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_delong_agrees_with_the_bootstrap():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    shared = rng.normal(size=400)
    scores = [1 / (1 + np.exp(-(skill * labels + shared + rng.normal(size=400)))) for skill in (1.5, 1.1)]
    a, b = binary_run("a", labels, scores[0]), binary_run("b", labels, scores[1])
    result = delong(a, b).difference
    drawn = compare(draw_metrics([a, b]), "auroc", ["a"], ["b"]).gain
    assert result.value == pytest.approx(drawn.value)
    assert result.high - result.low == pytest.approx(drawn.high - drawn.low, rel=0.06)


def test_delong_of_runs_without_variance():
    labels = [1, 1, 0, 0]
    good, bad = binary_run("a", labels, [0.9, 0.8, 0.2, 0.1]), binary_run("b", labels, [0.1, 0.2, 0.8, 0.9])
    assert delong(good, good).p_value == 1.0
    assert delong(good, good).z == 0.0
    assert delong(good, bad).p_value == 0.0


def test_the_corrected_resampled_t_by_hand():
    # Mean .03, s² = .0016 / 4; variance .0004 * (1/5 + 28/165); for 4 degrees the t distribution has a closed form.
    result = corrected_resampled_t([0.02, 0.04, 0.06, 0.01, 0.02], n_train=165, n_test=28)
    sd = 0.02 * math.sqrt(1 / 5 + 28 / 165)
    t = 0.03 / sd
    assert result.t == pytest.approx(t)
    assert result.t == pytest.approx(2.467, abs=0.001)
    assert result.degrees == 4
    root = t / math.sqrt(1 + t * t / 4)
    assert result.p_value == pytest.approx(1 - 0.75 * root * (1 - root * root / 12))
    assert result.difference.value == pytest.approx(0.03)
    assert result.difference.low == pytest.approx(0.03 - 2.776445 * sd, abs=1e-7)
    uncorrected = 0.03 / (0.02 / math.sqrt(5))
    assert result.t < uncorrected


def test_the_corrected_resampled_t_of_constant_differences():
    assert corrected_resampled_t([0.0, 0.0], n_train=10, n_test=5).p_value == 1.0
    assert corrected_resampled_t([0.5, 0.5], n_train=10, n_test=5).p_value == 0.0


def test_holm_worked_example():
    adjusted = holm({"PN": 0.01, "BWV": 0.04, "VS": 0.03, "PIG": 0.005})
    assert adjusted == pytest.approx({"PN": 0.03, "BWV": 0.06, "VS": 0.06, "PIG": 0.02})
    assert holm({"PN": 0.6, "VS": 0.7}) == {"PN": 1.0, "VS": 1.0}


def test_refuses_what_cannot_be_tested():
    labels = [1, 0, 1, 0]
    a = binary_run("a", labels, [0.9, 0.1, 0.6, 0.4])
    for test in (mcnemar, delong):
        with pytest.raises(InvalidInputError, match="differ in 2 cases"):
            test(a, binary_run("b", labels, [0.9, 0.1, 0.6, 0.4], first=1))
        with pytest.raises(InvalidInputError, match="differ in the labels"):
            test(a, binary_run("b", [0, 1, 0, 1], [0.9, 0.1, 0.6, 0.4]))
    with pytest.raises(InvalidInputError, match="1 positive and 2 negative"):
        delong(*(binary_run(name, [1, 0, 0], [0.9, 0.1, 0.6]) for name in "ab"))
    with pytest.raises(InvalidInputError, match="class 2 is none of the 2"):
        delong(a, a, positive=2)
    for wrong in (np.array([0.1]), np.array([0.1, math.nan]), np.array([[0.1, 0.2]])):
        with pytest.raises(InvalidInputError, match="at least 2 splits"):
            corrected_resampled_t(wrong, n_train=10, n_test=5)
    with pytest.raises(InvalidInputError, match="n_test is 0"):
        corrected_resampled_t([0.1, 0.2], n_train=10, n_test=0)
    with pytest.raises(InvalidInputError, match="task BWV has no p-value"):
        holm({"PN": 0.1, "BWV": math.nan})
    with pytest.raises(InvalidInputError, match="there is no p-value"):
        holm({})
