from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import KINDS, Target, known_of, strata_of

NAN = np.nan


def test_what_is_missing_is_known_to_be():
    named = {"classes": ("a", "b"), "ordinal": ("1", "2", "3"), "multilabel": ("x", "y")}
    for kind in KINDS:
        target = Target("t", kind, named.get(kind, ()))
        assert not known_of(target.missing(4)).any()
        assert len(target.missing(4)) == 4
    assert known_of(np.array([[NAN, 0.0], [NAN, NAN]])).tolist() == [True, False]


def test_values_are_of_bins_of_equal_counts_of_the_cases_among_them():
    y = np.random.default_rng(0).lognormal(size=1000)
    y[::7] = NAN
    train = np.arange(1000) < 600
    strata = strata_of("value", y, train)
    counts = np.bincount(strata[train & ~np.isnan(y)])
    assert len(counts) == 10
    assert counts.max() - counts.min() <= 1
    assert (strata[np.isnan(y)] == -1).all()
    # The edges are those of train: other values elsewhere move none of them.
    moved = np.where(train, y, y * 100)
    np.testing.assert_array_equal(strata_of("value", moved, train)[train], strata[train])
    assert strata_of("value", np.array([1.0, 1, 1, 1, 5]), np.arange(5)).tolist() == [0, 0, 0, 0, 1]


def test_survival_is_of_strata_of_event_and_tercile_of_time():
    rng = np.random.default_rng(1)
    y = np.stack([rng.exponential(20, 900), rng.integers(0, 2, 900)], axis=1)
    y[::9] = NAN
    strata = strata_of("survival", y, np.arange(900))
    events = y[:, 1] == 1
    assert (strata[events] % 2 == 1).all()
    counts = np.bincount(strata[events] // 2)
    assert len(counts) == 3
    assert counts.max() - counts.min() <= 1
    assert (strata[np.isnan(y[:, 0])] == -1).all()
    order = np.argsort(y[events, 0])
    assert (np.diff(strata[events][order]) >= 0).all()


def test_rare_combinations_of_labels_are_joined_by_how_many_labels_they_have():
    y = np.array([[0, 0, 0]] * 6 + [[1, 0, 1]] * 5 + [[1, 1, 0], [0, 1, 1], [1, 0, 0], [NAN, NAN, NAN]], float)
    strata = strata_of("multilabel", y, np.arange(len(y)))
    assert len({*strata[:6]}) == len({*strata[6:11]}) == len({*strata[11:13]}) == 1
    assert len({strata[0], strata[6], strata[11], strata[13]}) == 4
    assert strata[14] == -1


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (lambda: Target("t", "competing"), "is of kind 'competing', which this version does not know"),  # pyright: ignore[reportArgumentType]
        (lambda: Target("t", "value", ("a",)), "kind value, which has no classes"),
    ],
)
def test_a_target_that_cannot_be_is_refused(target, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        target()
