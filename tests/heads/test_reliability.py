"""Reliability of G on examples that fit on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.reliability import pool, r2_per_dimension, rank_of_true, reliability

Z_S = np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 5.0], [1.0, 2.0, 5.0]])


def test_r2_by_hand() -> None:
    guided = np.array([[1.0, 1.0, 5.0], [0.0, 1.0, 4.0], [1.0, 1.0, 5.0]])
    # Dimension 0 is right everywhere; 1 is the mean; 2 does not vary.
    r2 = r2_per_dimension(guided, Z_S)
    assert r2[:2] == pytest.approx([1.0, 0.0])
    assert math.isnan(r2[2])


def test_r2_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    superior, guided = rng.normal(size=(30, 7)), rng.normal(size=(30, 7))
    expected = r2_score(superior, guided, multioutput="raw_values")
    assert r2_per_dimension(guided, superior) == pytest.approx(expected)


def test_rank_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.4, 0.2]])
    assert rank_of_true(similarity).tolist() == [1, 2, 3]
    # Row 0: all equal, so the middle of 1 to 3. Row 1: the true one shares ranks 1 and 2.
    ties = np.array([[0.0, 0.0, 0.0], [0.1, 0.7, 0.7], [0.1, 0.0, 0.7]])
    assert rank_of_true(ties).tolist() == [2, 1.5, 1]


def test_cosines_and_recall_by_hand() -> None:
    superior = np.array([[1.0, 0.0], [0.0, 2.0]])
    guided = np.array([[3.0, 3.0], [3.0, 0.0]])
    result = reliability(guided, superior)
    assert result.cosine_n == pytest.approx([math.sqrt(0.5), 0.0])
    # With two cases the other one is the other one.
    assert result.cosine_other_n == pytest.approx([math.sqrt(0.5), 1.0])
    assert result.rank_n.tolist() == [1.5, 2.0]
    assert (result.median_rank, result.median_rank_by_chance) == (1.75, 1.5)
    assert [result.recall_at(k) for k in (1, 2)] == [0.0, 1.0]
    assert [result.recall_by_chance(k) for k in (1, 2, 10)] == [0.5, 1.0, 1.0]


def test_a_perfect_g_finds_every_pair_and_the_mean_finds_none() -> None:
    superior = np.random.default_rng(1).normal(size=(40, 12)) + 3.0
    perfect = reliability(superior, superior)
    assert perfect.recall_at(1) == 1.0
    assert perfect.r2_d == pytest.approx(np.ones(12))
    assert perfect.cosine_n == pytest.approx(np.ones(40))
    mean = reliability(np.tile(superior.mean(axis=0), (40, 1)), superior)
    assert mean.r2_d == pytest.approx(np.zeros(12), abs=1e-6)
    assert mean.cosine_n.mean() > 0.9  # codes off the origin: cosine alone would flatter it
    assert mean.cosine_n.mean() == pytest.approx(mean.cosine_other_n.mean())
    # The same order for every case, so each rank occurs once.
    assert sorted(mean.rank_n.tolist()) == list(range(1, 41))
    assert mean.recall_at(5) == mean.recall_by_chance(5) == 0.125


def test_zeros_rank_by_chance() -> None:
    superior = np.random.default_rng(2).random((9, 3))
    result = reliability(np.zeros((9, 3)), superior)
    assert result.rank_n.tolist() == [5.0] * 9
    assert result.cosine_n.tolist() == [0.0] * 9


def test_no_case_is_its_own_other_and_the_seed_decides() -> None:
    # One-hot codes: cosine is 1 with itself and 0 with any other.
    for seed in range(20):
        assert reliability(np.eye(5), np.eye(5), seed=seed).cosine_other_n.tolist() == [0.0] * 5
    superior = np.random.default_rng(3).normal(size=(30, 4))
    a, b = (reliability(superior, superior, seed=4).cosine_other_n for _ in range(2))
    assert (a == b).all()
    assert (a != reliability(superior, superior, seed=5).cosine_other_n).any()


def test_pooled_counts_every_case_and_dimension() -> None:
    small = reliability(np.eye(2), np.eye(2))
    large = reliability(np.zeros((4, 3)), np.random.default_rng(0).random((4, 3)))
    both = pool([small, large])
    assert (len(both.r2_d), len(both.rank_n)) == (5, 6)
    assert both.rank_n.tolist() == [1, 1, 2.5, 2.5, 2.5, 2.5]
    assert both.recall_at(1) == pytest.approx(2 / 6)
    assert both.recall_by_chance(1) == pytest.approx((2 * 1 / 2 + 4 * 1 / 4) / 6)
    assert both.median_rank_by_chance == 2.5


@pytest.mark.parametrize(
    ("guided", "superior", "sentence"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), "foretells this z_S"),
        (np.zeros((3, 4)), np.zeros((2, 4)), "for the same cases"),
        (np.zeros((1, 4)), np.zeros((1, 4)), "at least 2 are needed"),
        (np.full((2, 2), np.nan), np.zeros((2, 2)), "not finite"),
    ],
)
def test_refuses_what_are_no_pairs(guided: np.ndarray, superior: np.ndarray, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        reliability(guided, superior)
    with pytest.raises(InvalidInputError, match="nothing to pool"):
        pool([])
