"""Cohorts from plain tables: what is read, and the one sentence for each thing that can be wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from guidestore.warehouse.cohorts.class_words import sorted_classes
from guidestore.warehouse.cohorts.layout import Reading, add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest

MANIFEST = "case_id,modality,path,mpp\nA,mri_t1,a.nii,\nA,histology,slides/a.tiff,0.5\nB,mri_t1,b.nii,\n"
LABELS = "case_id,grade,age group\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A manifest of three images of two cases, and its files."""
    folder = tmp_path / "data"
    (folder / "slides").mkdir(parents=True)
    (folder / "manifest.csv").write_text(MANIFEST)
    for name in ("a.nii", "b.nii", "slides/a.tiff"):
        (folder / name).write_text(f"bytes of {name}")
    return folder


def table(data: Path, name: str, text: str) -> Path:
    file = data / name
    file.write_text(text)
    return file


def committed(store: EmbeddingStore, kind: str) -> list[dict[str, Any]]:
    return store.snapshot().rows(kind, cohort="glioma").to_pylist()


def test_a_cohort_is_committed_at_once(store: EmbeddingStore, data: Path):
    labels = table(data, "labels.csv", "\ufeffcase_id,grade,idh\nA,G, wild type \nB,O,\n")
    splits = table(data, "splits.csv", "case_id,split,fold,part\nA,s,0,train\nB,s,0,test\nA,s,1,test\nB,s,1,val\n")
    seen: list[tuple[int, int]] = []
    report = add_layout(
        store,
        "glioma",
        Manifest(
            images=data / "manifest.csv", labels=labels, splits=splits, classes=("grade=G,O,A",), note="two of them"
        ),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (report.snapshot, report.issues) == (1, ())
    assert report.added == {"cohorts": 1, "targets": 4, "cases": 2, "labels": 3, "splits": 4, "images": 3}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    images = {(row["case_id"], row["modality"]): row for row in committed(store, "images")}
    slide = images["A", "histology"]
    content = b"bytes of slides/a.tiff"
    assert (slide["size"], slide["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (slide["path"], slide["mpp"], slide["image_id"]) == (str(data / "slides/a.tiff"), 0.5, "A")
    assert images["B", "mri_t1"]["mpp"] is None
    targets = {(row["target"], row["class_index"]): row["class"] for row in committed(store, "targets")}
    assert targets == {("grade", 0): "G", ("grade", 1): "O", ("grade", 2): "A", ("idh", 0): "wild type"}
    labels_there = {(row["case_id"], row["target"], row["class"]) for row in committed(store, "labels")}
    assert labels_there == {("A", "grade", "G"), ("A", "idh", "wild type"), ("B", "grade", "O")}
    assert {(row["case_id"], row["fold"], row["part"]) for row in committed(store, "splits")} == {
        ("A", 0, "train"),
        ("B", 0, "test"),
        ("A", 1, "test"),
        ("B", 1, "val"),
    }
    assert committed(store, "splits")[0]["origin"] == "given: splits.csv"
    assert committed(store, "cohorts")[0]["note"] == "two of them"


def test_the_same_again_is_no_commit(store: EmbeddingStore, data: Path):
    labels = table(data, "labels.csv", "case_id,grade\nA,G\nB,O\n")
    first = add_layout(store, "glioma", Manifest(images=data / "manifest.csv", labels=labels))
    again = add_layout(store, "glioma", Manifest(images=data / "manifest.csv", labels=labels))
    assert (again.snapshot, sum(again.added.values())) == (first.snapshot, 0)


def test_parquet_reads_like_csv(data: Path):
    rows = {"case_id": [1, 2], "modality": ["mri_t1"] * 2, "path": ["a.nii", "b.nii"], "mpp": [0.5, None]}
    pq.write_table(pa.table(rows), data / "manifest.parquet")
    pq.write_table(pa.table({"case_id": [1, 2], "stage": [2.0, float("nan")]}), data / "labels.parquet")
    tables = Manifest(images=data / "manifest.parquet", labels=data / "labels.parquet").read(Reading("glioma"))
    assert [(row["case_id"], row["mpp"]) for row in list(tables.images)] == [("1", 0.5), ("2", None)]
    assert list(tables.labels) == [{"case_id": "1", "target": "stage", "class": "2"}]


@pytest.mark.parametrize(("text", "mpp"), [("0,25", 0.25), ("NA", None), (" 0.25 ", 0.25)])
def test_um_per_pixel_are_read_as_people_write_them(data: Path, text: str, mpp: float | None):
    (data / "m.csv").write_text(f"case_id;modality;path;mpp\nA;mri_t1;a.nii;{text}\n")
    (row,) = Manifest(images=data / "m.csv").read(Reading("c")).images
    assert row["mpp"] == mpp


def test_missing_images_are_named_and_the_rest_goes_on(store: EmbeddingStore, data: Path):
    (data / "b.nii").unlink()
    report = add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    (issue,) = report.issues
    assert issue.sentence.startswith(f"1 image file is missing and left out: {data / 'b.nii'}")
    assert (issue.kind, issue.items) == ("missing images", (str(data / "b.nii"),))
    assert (report.added["images"], report.added["cases"]) == (2, 2)
    (data / "b.nii").write_text("late")
    assert add_layout(store, "glioma", Manifest(images=data / "manifest.csv")).added["images"] == 1


def test_paths_of_home_and_of_windows_are_those_of_here(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(data))
    table(data, "m.csv", "case_id,modality,path\nA,t,~/a.nii\nB,t,.\\slides\\a.tiff\nC,t,~nobody\\b.nii\n")
    (data / "~nobody\\b.nii").write_text("a name as Linux takes it")
    rows = Manifest(images=data / "m.csv").read(Reading("c")).images
    names = ("a.nii", "slides/a.tiff", "~nobody\\b.nii")
    assert [row["sha256"] for row in rows] == [hashlib.sha256((data / name).read_bytes()).hexdigest() for name in names]


def test_a_manifest_none_of_whose_images_is_there_adds_nothing(store: EmbeddingStore, data: Path):
    file = table(data, "m.csv", "case_id,modality,path\nA,t,C:\\scans\\a.nii\nB,t,gone.nii\n")
    with pytest.raises(
        InvalidInputError, match=r"m.csv does not find any of its 2 image files, such as .*correct the p"
    ):
        add_layout(store, "glioma", Manifest(images=file))
    assert store.snapshot().version == 0


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ("case_id,modality\nA,x\n", r"manifest\.csv has no column 'path'; it has case_id, modality"),
        ("", r"manifest\.csv has no column 'case_id'; it has none"),
        (
            "case_id,modality,path\n../A,x,a.nii\n",
            r"manifest\.csv, row 2, column case_id: '\.\./A' cannot be a case id",
        ),
        ("case_id,modality,path\nA,a/b,a.nii\n", r"row 2, column modality: 'a/b' cannot be a modality"),
        ("case_id,modality,path,image_id\nA,x,a.nii,-rf\n", r"row 2, column image_id: '-rf' cannot be an image id"),
        (
            "case_id,modality,path\nA,x,a.nii\nA,x,b.nii\n",
            r"row 3, column case_id: image A \(x\) of case A stands in row 2",
        ),
        ("case_id,modality,path,mpp\nA,x,a.nii,20x\n", r"row 2, column mpp: '20x' is no number of um per pixel"),
        ("case_id,modality,path,MPP\nA,x,a.nii,0.5\n", "has the column 'MPP'; call it mpp"),
        ("case_id,modality,path,mpp\nA,x,a.nii,-1\n", r"row 2, column mpp: '-1' is no number"),
        ("case_id,modality,path\nA,x,\n", r"row 2, column path: case A has no usable path"),
        ("case_id,modality,path\nA,x\n", r"manifest\.csv, row 2 has 2 fields, the header has 3"),
        ("case_id,modality,path,path\nA,x,y,z\n", r"has the column 'path' twice"),
        ('case_id,modality,path\n"A,x,y\n', r"manifest\.csv, row 2 cannot be read as a table"),
        ("case_id,modality,path\nA,x,.\n", r"\(case A, x\) cannot be read: it is a folder, pipe or device"),
        ("case_id,modality,path\nA,x,/dev/zero\n", r"/dev/zero \(case A, x\) cannot be read: it is a folder, pipe"),
    ],
)
def test_a_bad_manifest_gives_a_sentence_and_no_commit(store: EmbeddingStore, data: Path, manifest: str, sentence: str):
    with pytest.raises(InvalidInputError, match=sentence):
        add_layout(store, "glioma", Manifest(images=table(data, "manifest.csv", manifest)))
    assert store.snapshot().version == 0


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("case_id,grade\nC,G\n", r"labels\.csv, row 2, column case_id: C is no case of cohort glioma"),
        ("case_id,grade\nA,X\n", r"labels\.csv, row 2, column grade: 'X' is none of the classes G, O, A"),
        ("case_id,grade\nA,G\nA,O\n", r"labels\.csv, row 3, column grade: case A is 'O' here and 'G' in row 2"),
        ("case_id,stage\nA,1\n", r"labels\.csv has no column 'grade', which --classes names; it has stage"),
        ("case_id,grade,a b\nA,G,1\n", r"'a b' cannot be a target \(a column of labels\.csv\)"),
    ],
)
def test_bad_labels_give_a_sentence_and_no_commit(store: EmbeddingStore, data: Path, labels: str, sentence: str):
    classes = ("grade=G,O,A",)
    file = table(data, "labels.csv", labels)
    with pytest.raises(InvalidInputError, match=sentence):
        add_layout(store, "glioma", Manifest(images=data / "manifest.csv", labels=file, classes=classes))
    assert store.snapshot().version == 0


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ("A,s,0,train\nC,s,0,test\n", r"splits\.csv, row 3, column case_id: C is no case"),
        ("A,s,0,training\n", r"row 2, column part: 'training' is no part; use train, val, test"),
        ("A,s,0,train\nA,s,0,test\n", r"row 3, column part: case A is in test here and in train in row 2 of s/0"),
        ("A,s,one,train\n", r"row 2, column fold: 'one' is no fold"),
        ("A,s,-1,train\n", r"row 2, column fold: '-1' is no fold"),
        ("A,s p,0,train\n", r"row 2, column split: 's p' cannot be a split"),
    ],
)
def test_bad_splits_give_a_sentence_and_no_commit(store: EmbeddingStore, data: Path, splits: str, sentence: str):
    file = table(data, "splits.csv", "case_id,split,fold,part\n" + splits)
    with pytest.raises(InvalidInputError, match=sentence):
        add_layout(store, "glioma", Manifest(images=data / "manifest.csv", splits=file))
    assert store.snapshot().version == 0


def test_a_table_of_parts_alone_is_one_split(store: EmbeddingStore, data: Path) -> None:
    """As eva's manifest, which has a row for each file of a case."""
    rows = "A.svs,a1.pt,1,train,A\nA.svs,a2.pt,1,train,A\nB.svs,b.pt,0,test,B\n"
    file = table(data, "eva.csv", "origin,embeddings,target,split,wsi_id\n" + rows)
    add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    add_layout(store, "glioma", Manifest(labels=file, columns=("target",), splits=file, id_column="wsi_id"))
    told = [(row["split"], row["fold"], row["case_id"], row["part"]) for row in committed(store, "splits")]
    assert sorted(told) == [("given", 0, "A", "train"), ("given", 0, "B", "test")]
    assert {(row["case_id"], row["class"]) for row in committed(store, "labels")} == {("A", "1"), ("B", "0")}
    torn = table(data, "torn.csv", "case_id,split\nA,train\nA,val\n")
    with pytest.raises(InvalidInputError, match="column split: case A is in val here and in train in row 2 of given/0"):
        add_layout(store, "glioma", Manifest(splits=torn))
    odd = table(data, "odd.csv", "case_id,split\nA,fit\n")
    with pytest.raises(InvalidInputError, match="column split: 'fit' is no part; use train, val, test"):
        add_layout(store, "glioma", Manifest(splits=odd))


def test_files_that_are_no_tables(store: EmbeddingStore, data: Path):
    (data / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InvalidInputError, match=r"broken\.parquet cannot be read as a table"):
        add_layout(store, "glioma", Manifest(images=data / "broken.parquet"))
    with pytest.raises(InvalidInputError, match="there is no file"):
        add_layout(store, "glioma", Manifest(images=data / "nothing.csv"))
    with pytest.raises(InvalidInputError, match="nothing to add to cohort glioma"):
        add_layout(store, "glioma", Manifest())


def test_a_cohort_grows(store: EmbeddingStore, data: Path):
    add_layout(
        store,
        "glioma",
        Manifest(images=data / "manifest.csv", labels=table(data, "l.csv", "case_id,stage\nA,2\nB,10\n")),
    )
    more = table(data, "more.csv", "case_id,modality,path\nB,histology,slides/a.tiff\nC,mri_t1,b.nii\n")
    report = add_layout(
        store, "glioma", Manifest(images=more, labels=table(data, "l2.csv", "case_id,stage,idh\nC,9,wt\nB,10,\n"))
    )
    assert (report.added["cases"], report.added["images"], report.added["labels"]) == (1, 2, 2)
    stages = {row["class"]: row["class_index"] for row in committed(store, "targets") if row["target"] == "stage"}
    assert stages == {"2": 0, "10": 1, "9": 2}, "classes of the store keep their places"
    only = add_layout(store, "glioma", Manifest(labels=table(data, "l3.csv", "case_id,idh\nA,mut\n")))
    assert only.added["labels"] == 1
    old = store.snapshot(1)
    assert old.rows("cases", cohort="glioma").num_rows == 2


def test_what_contradicts_the_store_is_refused(store: EmbeddingStore, data: Path):
    splits = table(data, "s.csv", "case_id,split,fold,part\nA,s,0,train\n")
    labels = table(data, "l.csv", "case_id,grade\nA,G\nB,O\n")
    classes = ("grade=G,O,A",)
    add_layout(store, "glioma", Manifest(images=data / "manifest.csv", labels=labels, splits=splits, classes=classes))
    with pytest.raises(InvalidInputError, match="case A of cohort glioma is 'O' in grade and 'G' in the store"):
        add_layout(store, "glioma", Manifest(labels=table(data, "l.csv", "case_id,grade\nA,O\n")))
    with pytest.raises(InvalidInputError, match="case A of cohort glioma is 'test' in s/0 and 'train' in the store"):
        add_layout(store, "glioma", Manifest(splits=table(data, "s.csv", "case_id,split,fold,part\nA,s,0,test\n")))
    with pytest.raises(InvalidInputError, match="has the class order G, O, A and cannot take A, O, G"):
        add_layout(store, "glioma", Manifest(labels=labels, classes=("grade=A,O,G",)))
    key = CodeSetKey.of("glioma", "mri_t1", EncoderSpec("e", "1", "volumes", 2))
    digest = next(row["sha256"] for row in committed(store, "images") if row["image_id"] == "B")
    with store.begin() as transaction:
        codes = CaseCodes(("B",), np.ones((1, 2), np.float32), ("B",), key)
        transaction.write_codes(codes, input_digests=[[digest]])
    (data / "b.nii").write_text("another file")
    with pytest.raises(
        InvalidInputError, match=r"image B \(mri_t1\) of case B is another file than the one in the store"
    ):
        add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    assert store.snapshot().version == 2


def test_a_file_that_nothing_was_made_of_can_be_copied_again(store: EmbeddingStore, data: Path):
    """As after a truncated copy, which no encoder could read."""
    whole = (data / "b.nii").read_bytes()
    (data / "b.nii").write_bytes(whole[:3])
    add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    (data / "b.nii").write_bytes(whole)
    report = add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    assert (report.snapshot, report.added["images"]) == (2, 0)
    (row,) = [row for row in committed(store, "images") if row["image_id"] == "B"]
    assert (row["size"], row["sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())


def test_moved_images_get_their_new_place(store: EmbeddingStore, data: Path, tmp_path: Path):
    add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    data.rename(tmp_path / "elsewhere")
    report = add_layout(store, "glioma", Manifest(images=tmp_path / "elsewhere" / "manifest.csv"))
    assert (report.snapshot, report.added["images"]) == (2, 0)
    paths = sorted(row["path"] for row in committed(store, "images"))
    assert paths == sorted(str(tmp_path / "elsewhere" / name) for name in ("a.nii", "b.nii", "slides/a.tiff"))
    assert store.snapshot(1).rows("images", cohort="glioma").num_rows == 3


@pytest.mark.parametrize(("written", "there"), [("7", "007"), ("8.0", "8"), ("p9", "P9")])
def test_an_id_that_is_written_otherwise_is_named(store: EmbeddingStore, data: Path, written: str, there: str):
    images = table(data, "m.csv", f"case_id,modality,path\n{there},mri_t1,a.nii\n")
    add_layout(store, "c", Manifest(images=images))
    with pytest.raises(InvalidInputError, match=rf"{written} is no case of cohort c, and {there} is one"):
        add_layout(store, "c", Manifest(labels=table(data, "l.csv", f"case_id,grade\n{written},x\n")))


def test_classes_sort_as_numbers_where_all_are():
    assert sorted_classes({"10", "9", "2"}) == ["2", "9", "10"]
    assert sorted_classes({"10", "9", "b"}) == ["10", "9", "b"]
