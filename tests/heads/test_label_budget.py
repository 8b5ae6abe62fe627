from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.label_budget import hide_labels
from tests.heads.test_input_rows import make_paired

PAIRED = make_paired()
TRAIN = np.flatnonzero((PAIRED.parts == "train") & PAIRED.has_label)


def kept(labelled: int | None, seed: int = 0) -> np.ndarray:
    paired = hide_labels(PAIRED, labelled, seed=seed)
    rows = paired.rows("train", paired.has_label)
    assert np.array_equal(paired.labels[rows], PAIRED.labels[rows])
    others = PAIRED.parts != "train"
    assert np.array_equal(paired.labels[others], PAIRED.labels[others])
    return rows


@pytest.mark.parametrize("labelled", [3, 4, 10, 31])
def test_labels_are_kept_as_evenly_as_can_be(labelled):
    for seed in range(5):
        rows = kept(labelled, seed)
        counts = np.bincount(PAIRED.labels[rows], minlength=3)
        assert len(rows) == labelled
        assert counts.max() - counts.min() <= 1


def test_none_and_the_whole_budget_keep_all():
    assert np.array_equal(kept(None), TRAIN)
    assert np.array_equal(kept(len(TRAIN)), TRAIN)


def test_seeded_and_nested_and_the_order_of_classes_is_shuffled():
    assert np.array_equal(kept(10, 3), kept(10, 3))
    assert not np.array_equal(kept(10, 3), kept(10, 4))
    assert set(kept(10, 3)) < set(kept(25, 3))
    favoured = {int(np.bincount(PAIRED.labels[kept(4, seed)]).argmax()) for seed in range(20)}
    assert favoured == {0, 1, 2}


def test_a_rare_class_gives_all_it_has_and_leaves_its_turns_to_the_others():
    labels = PAIRED.labels.copy()
    labels[TRAIN[labels[TRAIN] == 2][1:]] = -1
    rare = dataclasses.replace(PAIRED, labels=labels)
    paired = hide_labels(rare, 11, seed=0)
    assert np.bincount(paired.labels[paired.rows("train", paired.has_label)]).tolist() == [5, 5, 1]


@pytest.mark.parametrize(
    ("labelled", "sentence"),
    [
        (2, "2 labels cannot show each of the 3 classes of kind; ask for at least 3"),
        (500, f"500 labels are asked for, but {len(TRAIN)} train cases are labelled"),
        (0, "labelled is 0; it must be an integer of at least 1"),
        (5.5, "it must be an integer"),
    ],
)
def test_impossible_budgets_are_answered_in_a_sentence(labelled, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        hide_labels(PAIRED, labelled, seed=0)
