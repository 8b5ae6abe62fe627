"""add_cohort over plain rows and Arrow tables, as every layout uses it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortTables, add_cohort

IMAGES = [{"case_id": "A", "image_id": "A", "modality": "mri_t1", "path": "a", "size": 1, "sha256": "aa"}]


def test_rows_and_arrow_mean_the_same(store: EmbeddingStore):
    labels = [{"case_id": "A", "target": "grade", "class": "G"}]
    targets = [{"target": "grade", "class": "G"}, {"target": "grade", "class": "O"}]
    of_rows = CohortTables("glioma", cases=[{"case_id": "A"}], targets=targets, labels=labels, images=IMAGES)
    assert add_cohort(store, of_rows).added["labels"] == 1
    of_arrow = CohortTables(
        "glioma",
        cases=pa.Table.from_pylist([{"case_id": "A"}]),
        targets=pa.Table.from_pylist([{**row, "class_index": i} for i, row in enumerate(targets)]),
        labels=pa.Table.from_pylist(labels),
        images=pa.Table.from_pylist(IMAGES),
    )
    again = add_cohort(store, of_arrow)
    assert (again.snapshot, sum(again.added.values())) == (1, 0)
    classes = store.snapshot().rows("targets", cohort="glioma").to_pylist()
    assert [(row["class"], row["class_index"]) for row in classes] == [("G", 0), ("O", 1)]


def test_images_name_their_cases(store: EmbeddingStore):
    add_cohort(store, CohortTables("glioma", images=IMAGES))
    assert store.snapshot().rows("cases", cohort="glioma")["case_id"].to_pylist() == ["A"]


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"cases": [{"case_id": "A b"}]}, "'A b' cannot be a case id"),
        ({"cases": [{"case": "A"}]}, "rows of kind cases have no column case"),
        ({"cases": [{"cohort": "other", "case_id": "A"}]}, "of cohort other, not of glioma"),
        ({"images": IMAGES * 2}, r"image A \(mri_t1\) of case A comes twice"),
        (
            {"labels": [{"case_id": "B", "target": "g", "class": "x"}]},
            "case B has a label but is no case of cohort glioma",
        ),
        (
            {"splits": [{"case_id": "B", "split": "s", "fold": 0, "part": "test"}]},
            "case B has a part but is no case of cohort glioma",
        ),
        (
            {"cases": [{"case_id": "A"}], "labels": [{"case_id": "A", "target": "g", "class": "x"}]},
            "has the class 'x' of target g, whose classes are none",
        ),
        (
            {"cases": [{"case_id": "A"}], "splits": [{"case_id": "A", "split": "s", "fold": 0, "part": "dev"}]},
            "has the part 'dev' in s/0",
        ),
        (
            {
                "cases": [{"case_id": "A"}],
                "splits": [{"case_id": "A", "split": "s", "fold": 0, "part": part} for part in ("train", "test")],
            },
            "is 'test' in s/0 and 'train' as well",
        ),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_committed(store: EmbeddingStore, tables: dict, sentence: str):
    with pytest.raises(InvalidInputError, match=sentence):
        add_cohort(store, CohortTables("glioma", **tables))
    assert store.snapshot().version == 0


def test_two_cohorts_keep_apart(store: EmbeddingStore):
    add_cohort(store, CohortTables("glioma", images=IMAGES))
    add_cohort(store, CohortTables("lung", images=[{**IMAGES[0], "sha256": "bb"}]))
    assert store.snapshot().rows("images", cohort="lung")["sha256"].to_pylist() == ["bb"]
