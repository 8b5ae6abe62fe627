"""Folds by which label transfer and the other heads in closed form choose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.transfer.inner_cv import draw_folds, inner_splits, repeated_folds, repeats_of
from tests.heads.test_transfer import made, transfer


def test_folds_hold_out_each_case_once_and_deal_classes_and_pairs_evenly():
    paired = made(labelled=33, archive=10)
    rows = paired.rows("train", paired.has_label)
    splits = draw_folds(paired, rows, seed=0)
    assert sorted(np.concatenate([split.held_n for split in splits])) == rows.tolist()
    for split in splits:
        assert not set(split.fit_n) & set(split.held_n)
        counts = np.bincount(paired.labels[split.held_n], minlength=3)
        assert counts.max() - counts.min() <= 1
        pairs = np.bincount(paired.labels[split.held_n][paired.is_pair[split.held_n]], minlength=3)
        assert set(pairs) <= {2, 3}


def test_few_cases_are_cut_five_times_more_of_them_less_often():
    assert len(inner_splits(made(labelled=30))) == 25
    assert len(inner_splits(made(labelled=180))) == 10


def test_folds_are_drawn_anew_until_many_cases_were_held_out_and_each_draw_is_another():
    assert [repeats_of(n) for n in (0, 40, 100, 150, 399, 400, 5_000)] == [5, 5, 4, 3, 2, 1, 1]
    paired = made(labelled=30)
    rows = np.flatnonzero((paired.parts == "train") & (paired.labels >= 0))
    splits = repeated_folds(paired, rows, 3)
    for draw in (splits[:5], splits[5:10], splits[10:]):
        np.testing.assert_array_equal(np.sort(np.concatenate([split.held_n for split in draw])), rows)
    assert len({tuple(split.held_n) for split in splits}) == 15


def test_val_is_held_out_where_a_class_has_a_single_case():
    paired = made()
    labels = paired.labels.copy()
    labels[np.flatnonzero((labels == 2) & (paired.parts == "train"))[1:]] = -1
    single = dataclasses.replace(paired, labels=labels)
    (split,) = inner_splits(single)
    assert set(paired.parts[split.held_n]) == {"val"}
    assert {head.status for head in transfer(single)} == {"ok"}
    without = dataclasses.replace(single, parts=np.where(paired.parts == "val", "test", paired.parts))
    with pytest.raises(InvalidInputError, match="has a single labelled train case and val has none"):
        transfer(without)
