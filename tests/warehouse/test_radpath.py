"""The RadPath layout: folder, label tables of both years, published splits, missing files."""

from __future__ import annotations

from pathlib import Path

import pytest

from embeddings.errors import InvalidInputError
from embeddings.store import EmbeddingStore
from warehouse.cohorts.cohort import add_cohort
from warehouse.cohorts.radpath import read_radpath

HEADER = "CPM_RadPath_2019_ID,class,age_in_days\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "radpath"
    for case in ("CPM19_A_1", "CPM19_B_1", "CPM19_C_1"):
        (folder / "Radiology" / case).mkdir(parents=True)
        for sequence in ("t1", "t1ce", "t2", "flair"):
            (folder / "Radiology" / case / f"{case}_{sequence}.nii.gz").write_text(f"{case} {sequence}")
    (folder / "Pathology").mkdir()
    for case in ("CPM19_A_1", "CPM19_B_1"):
        (folder / "Pathology" / f"{case}.tiff").write_text(f"{case} slide")
    (folder / "split_1_train.csv").write_text(HEADER + "CPM19_A_1,G,1\n")
    (folder / "split_1_val.csv").write_text(HEADER + "CPM19_B_1,A,2\n")
    (folder / "split_1_test.csv").write_text(HEADER + "CPM19_C_1,O,3\n")
    (folder / "split_2_test.csv").write_text(HEADER + "CPM19_A_1,G,1\n")
    return folder


def test_the_folder_becomes_a_cohort(store: EmbeddingStore, folder: Path):
    report = add_cohort(store, read_radpath(folder))
    snapshot = store.snapshot()
    assert report.added == {"cohorts": 1, "targets": 3, "cases": 3, "labels": 3, "splits": 4, "images": 14}
    (issue,) = report.issues
    assert "1 image file is missing" in issue.sentence
    assert "CPM19_C_1.tiff" in issue.sentence
    classes = sorted((row["class_index"], row["class"]) for row in snapshot.rows("targets").to_pylist())
    assert classes == [(0, "G"), (1, "O"), (2, "A")]
    assert {(row["case_id"], row["class"]) for row in snapshot.rows("labels").to_pylist()} == {
        ("CPM19_A_1", "G"),
        ("CPM19_B_1", "A"),
        ("CPM19_C_1", "O"),
    }
    splits = {(row["fold"], row["case_id"]): (row["split"], row["part"]) for row in snapshot.rows("splits").to_pylist()}
    assert splits == {
        (0, "CPM19_A_1"): ("published", "train"),
        (0, "CPM19_B_1"): ("published", "val"),
        (0, "CPM19_C_1"): ("published", "test"),
        (1, "CPM19_A_1"): ("published", "test"),
    }
    modalities = sorted(row["modality"] for row in snapshot.rows("images").to_pylist() if row["case_id"] == "CPM19_A_1")
    assert modalities == ["histology", "mri_flair", "mri_t1", "mri_t1ce", "mri_t2"]


def test_a_label_table_of_2020_beside_the_folder(folder: Path, tmp_path: Path):
    labels = tmp_path / "labels_2020.csv"
    labels.write_text("CPM_RadPath_2020_ID,class,age_in_days\nCPM19_A_1,O,1\n")
    tables = read_radpath(folder, cohort="radpath20", labels=labels)
    assert list(tables.labels) == [{"case_id": "CPM19_A_1", "target": "class", "class": "O"}]
    assert len(tables.cases) == 3
    assert list(tables.splits) == []


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("split_1_val.csv", HEADER + "CPM19_A_1,G,1\n", "is in val here and in train of the same split"),
        ("split_1_val.csv", HEADER + "CPM19_A_1,A,1\n", "is A here and G in an earlier table"),
        ("more.csv", HEADER + "CPM19_A_1,X,1\n", r"more\.csv, row 2, column class: 'X' is none of G, O, A"),
        ("more.csv", "id,class\nA,G\n", "it is no RadPath label table"),
    ],
)
def test_contradicting_tables_give_a_sentence(folder: Path, name: str, text: str, sentence: str):
    (folder / name).write_text(text)
    with pytest.raises(InvalidInputError, match=sentence):
        read_radpath(folder)


def test_another_layout_is_said(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="has neither Radiology/ nor Pathology/"):
        read_radpath(tmp_path)
