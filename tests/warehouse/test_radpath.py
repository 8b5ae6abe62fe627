"""The RadPath layout: both years' tables, slides in all their places, given and drawn splits, and every issue."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortTables, add_cohort
from guidestore.warehouse.cohorts.layout import Reading, add_layout
from guidestore.warehouse.cohorts.layouts.radpath import Radpath, split_sizes
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

HEADER = "CPM_RadPath_2019_ID,class,age_in_days\n"
DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL_LABELS = DATA / "radpath_labels"
real_labels = pytest.mark.skipif(
    not REAL_LABELS.is_dir(), reason="the RadPath labels of GUIDESTORE_TEST_DATA are missing"
)


def write_case(folder: Path, case: str, *, slide: bool = True) -> None:
    (folder / "Radiology" / case).mkdir(parents=True)
    (folder / "Pathology").mkdir(exist_ok=True)
    for sequence in ("t1", "t1ce", "t2", "flair"):
        (folder / "Radiology" / case / f"{case}_{sequence}.nii.gz").write_text(f"{case} {sequence}")
    if slide:
        (folder / "Pathology" / f"{case}.tiff").write_text(f"{case} slide")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "challenge" / "radpath"
    for case in ("CPM19_A_1", "CPM19_B_1", "CPM19_C_1"):
        write_case(folder, case)
    (folder / "split_1_train.csv").write_text(HEADER + "CPM19_A_1,G,1\n")
    (folder / "split_1_val.csv").write_text(HEADER + "CPM19_B_1,A,2\n")
    (folder / "split_1_test.csv").write_text(HEADER + "CPM19_C_1,O,3\n")
    return folder


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """44 labelled cases with a slide each, and two unlabelled ones."""
    folder = tmp_path / "many"
    (folder / "Pathology").mkdir(parents=True)
    rows = []
    for number in range(46):
        case = f"CASE_{number:02d}"
        (folder / "Pathology" / f"{case}.tiff").write_text(case)
        rows.append(f"{case},{'GGOA'[number % 4] if number < 44 else ''},1\n")
    (folder / "labels.csv").write_text(HEADER.replace("2019", "2020") + "".join(rows))
    return folder


def read_radpath(folder: Path, splits: int = 0, labels: Path | None = None) -> CohortTables:
    return Radpath(source=folder, splits=splits, labels=labels).read(Reading("radpath"))


def issues_of(tables: CohortTables) -> dict[str, str]:
    assert len({issue.kind for issue in tables.issues}) == len(tables.issues)
    return {issue.kind: issue.sentence for issue in tables.issues}


def parts_of(rows) -> dict[int, dict[str, str]]:
    folds: dict[int, dict[str, str]] = {}
    for row in rows:
        assert row["split"] == "radpath"
        assert folds.setdefault(row["fold"], {}).setdefault(row["case_id"], row["part"]) == row["part"]
    return folds


def stored(store: EmbeddingStore, cohort: str = "radpath") -> list[dict]:
    return store.snapshot().rows("splits", cohort=cohort).to_pylist()


def test_the_folder_becomes_a_cohort(store: EmbeddingStore, folder: Path):
    report = add_cohort(store, read_radpath(folder))
    snapshot = store.snapshot()
    assert report.added == {"cohorts": 1, "targets": 3, "cases": 3, "labels": 3, "splits": 3, "images": 15}
    assert report.issues == ()
    classes = sorted((row["class_index"], row["class"]) for row in snapshot.rows("targets").to_pylist())
    assert classes == [(0, "G"), (1, "O"), (2, "A")]
    assert {(row["case_id"], row["class"]) for row in snapshot.rows("labels").to_pylist()} == {
        ("CPM19_A_1", "G"),
        ("CPM19_B_1", "A"),
        ("CPM19_C_1", "O"),
    }
    assert parts_of(stored(store)) == {0: {"CPM19_A_1": "train", "CPM19_B_1": "val", "CPM19_C_1": "test"}}
    assert {row["case_id"]: row["origin"] for row in stored(store)} == {
        "CPM19_A_1": "given: split_1_train.csv",
        "CPM19_B_1": "given: split_1_val.csv",
        "CPM19_C_1": "given: split_1_test.csv",
    }
    modalities = sorted(row["modality"] for row in snapshot.rows("images").to_pylist() if row["case_id"] == "CPM19_A_1")
    assert modalities == ["histology", "mri_flair", "mri_t1", "mri_t1ce", "mri_t2"]


def test_a_label_table_of_2020_elsewhere(folder: Path, tmp_path: Path):
    labels = tmp_path / "labels_2020.csv"
    labels.write_text("CPM_RadPath_2020_ID,class,age_in_days\nCPM19_A_1,O,1\n")
    tables = Radpath(source=folder, splits=0, labels=labels).read(Reading("radpath20"))
    assert list(tables.labels) == [{"case_id": "CPM19_A_1", "target": "class", "class": "O"}]
    assert len(tables.cases) == 3
    assert list(tables.splits) == []
    assert issues_of(tables)["cases without a label"].startswith("no label of 2 cases: CPM19_B_1, CPM19_C_1; add it")


def test_the_label_table_may_lie_around_the_folder(folder: Path):
    for file in folder.glob("*.csv"):
        file.unlink()
    with pytest.raises(InvalidInputError, match="has no label table; put a"):
        read_radpath(folder)
    (folder.parent / "training_data_classification_labels.csv").write_text(HEADER + "CPM19_A_1,G,1\n")
    (folder.parent / "something_else.csv").write_text("a,b\n1,2\n")
    assert [row["case_id"] for row in read_radpath(folder).labels] == ["CPM19_A_1"]


def test_slides_in_all_their_places(store: EmbeddingStore, folder: Path):
    slides = folder / "Pathology"
    (slides / "CPM19_A_1.tiff").rename(slides / "CPM19_A_1.SVS")
    (slides / "CPM19_B_1.tiff").rename(slides / "CPM19_B_1_1.tif")
    (slides / "CPM19_B_1-2.ndpi").write_text("second of B")
    (slides / "CPM19_C_1.tiff").unlink()
    (slides / "CPM19_C_1").mkdir()
    (slides / "CPM19_C_1" / "CPM19_C_1_left.mrxs").write_text("C")
    (slides / "CPM19_C_1" / "right.tiff").write_text("C too")
    (slides / "CPM19_C_1" / "notes.txt").write_text("no slide")
    (slides / "OTHER_7.tiff").write_text("a case of its own")
    tables = read_radpath(folder)
    slides = [(row["case_id"], row["image_id"]) for row in tables.images if row["modality"] == "histology"]
    assert slides == [
        ("CPM19_A_1", "CPM19_A_1"),
        ("CPM19_B_1", "CPM19_B_1_1"),
        ("CPM19_B_1", "CPM19_B_1-2"),
        ("CPM19_C_1", "CPM19_C_1_right"),
        ("CPM19_C_1", "CPM19_C_1_left"),
        ("OTHER_7", "OTHER_7"),
    ]
    issues = issues_of(tables)
    assert issues["missing sequences"].startswith("MRI sequences missing of 1 case: OTHER_7 (t1, t1ce, t2, flair); put")
    assert sorted(issues) == ["cases without a label", "missing sequences"]
    assert add_cohort(store, tables).added["images"] == 18


def test_every_case_of_something_missing_is_counted_and_named(folder: Path):
    (folder / "Radiology" / "CPM19_A_1" / "CPM19_A_1_t1.nii.gz").unlink()
    (folder / "Radiology" / "CPM19_A_1" / "CPM19_A_1_flair.nii.gz").unlink()
    (folder / "Pathology" / "CPM19_B_1.tiff").unlink()
    (folder / "Pathology" / "CPM19_C_1.svs").write_text("again")
    (folder / "Pathology" / "bad name.tiff").write_text("?")
    write_case(folder, "CPM19_D_1")
    gone = "".join(f"GONE_{number},O,1\n" for number in range(7))
    (folder / "more.csv").write_text(HEADER + gone + ",G,2\n")
    tables = read_radpath(folder)
    assert issues_of(tables) == {
        "rows without id": "1 row of label tables left out, for want of an id: more.csv, row 9; fill it in and add the "
        "cohort again",
        "slides of the same name": "slide left out whose name another has, of 1 case: CPM19_C_1; give every slide its "
        "own name and add the cohort again",
        "cases without files": "no MRI and no slide of 7 cases with a label: GONE_0, GONE_1, GONE_2, GONE_3, GONE_4, "
        "…; put the files in place and add the cohort again",
        "missing sequences": "MRI sequences missing of 1 case: CPM19_A_1 (t1, flair); put "
        "Radiology/<ID>/<ID>_<sequence>.nii.gz in place and add the cohort again",
        "missing slides": "no slide of 1 case: CPM19_B_1; put Pathology/<ID>.tiff in place and add the cohort again",
        "cases without a label": "no label of 1 case: CPM19_D_1; add it to a label table and add the cohort again, or "
        "keep the files as unlabelled",
        "unusable names": "1 case left out, which cannot be an id: bad name; use letters, digits and . _ + = - and add "
        "the cohort again",
    }
    assert {issue.kind: len(issue.items) for issue in tables.issues}["cases without files"] == 7
    assert len(tables.cases) == 11


def test_labels_with_typos_stay_unlabelled_and_say_where(store: EmbeddingStore, folder: Path):
    write_case(folder, "CPM19_D_1")
    (folder / "split_1_train.csv").write_text(HEADER + "CPM19_A_1, g ,1\nCPM19_D_1,Q,2\n")
    (folder / "more.csv").write_text(HEADER + "CPM19_B_1,O,2\n")
    tables = read_radpath(folder)
    assert issues_of(tables) == {
        "lower-case labels": "label of 1 case in lower case, taken for its capital: CPM19_A_1 (split_1_train.csv, "
        "row 2, column class); nothing has to be done",
        "unknown classes": "label of 1 case is none of G, O, A, so unlabelled: CPM19_D_1 (split_1_train.csv, row 3, "
        "column class); correct it and add the cohort again",
        "contradictory labels": "label of 1 case contradicts itself, so unlabelled: CPM19_B_1 (O in more.csv, row 2, "
        "A in split_1_val.csv, row 2); correct one of the rows and add the cohort again",
    }
    assert [(row["case_id"], row["class"]) for row in tables.labels] == [("CPM19_A_1", "G"), ("CPM19_C_1", "O")]
    assert len(parts_of(tables.splits)[0]) == 4
    add_cohort(store, tables)
    (folder / "split_1_train.csv").write_text(HEADER + "CPM19_A_1,G,1\nCPM19_D_1,O,2\n")
    (folder / "more.csv").unlink()
    assert add_cohort(store, read_radpath(folder)).added["labels"] == 2


def test_half_given_splits_and_cases_in_two_parts(folder: Path):
    (folder / "split_3_test.csv").write_text(HEADER + "CPM19_A_1,G,1\n")
    (folder / "split_1_test.csv").write_text(HEADER + "CPM19_C_1,O,3\nCPM19_A_1,G,3\n")
    tables = read_radpath(folder, splits=3)
    issues = issues_of(tables)
    assert issues["incomplete splits"] == (
        "1 split left out, neither given nor drawn, for want of a file: split 3 without split_3_train.csv and "
        "split_3_val.csv; put it beside the others and add the cohort again"
    )
    assert issues["cases in two parts"] == (
        "1 case in two parts of a given split, so in none: CPM19_A_1 (split_1_test.csv, row 3 and split_1_train.csv, "
        "row 2); take it out of one file and add the cohort again"
    )
    assert issues["splits not drawn"].startswith("split radpath: sizes -3 + 3 + 3 are 3, but 3 cases have a label")
    assert issues["splits not drawn"].endswith("fold 1 was not drawn, so draw with `guidestore cohort split` instead")
    assert parts_of(tables.splits) == {0: {"CPM19_B_1": "val", "CPM19_C_1": "test"}}


def test_splits_are_drawn_beside_the_given_one(store: EmbeddingStore, many: Path):
    report = add_layout(store, "radpath", Radpath(source=many, splits=3, seed=4))
    folds = parts_of(stored(store))
    for parts in folds.values():
        assert Counter(parts[f"CASE_{number:02d}"] for number in range(44)) == {"train": 32, "val": 6, "test": 6}
        assert parts["CASE_44"] == parts["CASE_45"] == "train"
    assert len({tuple(sorted(parts.items())) for parts in folds.values()}) == 3
    origins = {row["fold"]: row["origin"] for row in stored(store)}
    assert origins[2].startswith("drawn: stratified draw of 32/6/6, seed 4 + fold 2, 44 labelled cases")
    again = add_layout(store, "radpath", Radpath(source=many, splits=3, seed=4))
    assert (again.snapshot, sum(again.added.values())) == (report.snapshot, 0)
    assert add_layout(store, "radpath", Radpath(source=many, splits=0)).snapshot == report.snapshot


def test_a_drawn_fold_depends_on_no_other_fold(store: EmbeddingStore, many: Path):
    folds = parts_of(read_radpath(many, splits=4).splits)
    assert parts_of(read_radpath(many, splits=2).splits) == {0: folds[0], 1: folds[1]}
    add_layout(store, "radpath", Radpath(source=many, splits=2))
    assert add_layout(store, "radpath", Radpath(source=many, splits=4)).added["splits"] == 2 * 46
    assert parts_of(stored(store)) == folds
    for part in ("train", "val", "test"):
        chosen = [case for case, name in folds[2].items() if name == part and case < "CASE_44"]
        lines = "".join(f"{case},{'GGOA'[int(case[5:]) % 4]},1\n" for case in chosen)
        (many / f"split_2_{part}.csv").write_text(HEADER + lines)
    with_given = read_radpath(many, splits=4)
    assert {row["fold"]: row["origin"].partition(":")[0] for row in with_given.splits} == {
        0: "drawn",
        1: "given",
        2: "drawn",
        3: "drawn",
    }
    drawn = parts_of(with_given.splits)
    assert [drawn[fold] == folds[fold] for fold in range(4)] == [True, False, True, True]
    with pytest.raises(InvalidInputError, match=r"fold 1 of split radpath was drawn .* and is given by a file now"):
        add_layout(store, "radpath", Radpath(source=many, splits=4))


def test_what_was_drawn_stays_when_labels_are_corrected_or_cases_come(store: EmbeddingStore, many: Path):
    add_layout(store, "radpath", Radpath(source=many, splits=2))
    before = parts_of(stored(store))
    text = (many / "labels.csv").read_text().replace("CASE_44,,1", "CASE_44,A,1")
    (many / "labels.csv").write_text(text + "NEW_1,G,1\n")
    (many / "Pathology" / "NEW_1.tiff").write_text("new")
    assert add_layout(store, "radpath", Radpath(source=many, splits=2)).added["splits"] == 2
    assert parts_of(stored(store)) == {fold: {**parts, "NEW_1": "train"} for fold, parts in before.items()}
    assert {row["origin"].rpartition("; ")[2] for row in stored(store) if row["case_id"] == "NEW_1"} == {
        "this case came later"
    }
    with pytest.raises(InvalidInputError, match="with seed 0 \\+ fold 0, so it cannot be drawn with seed 5 \\+ fold 0"):
        add_layout(store, "radpath", Radpath(source=many, splits=2, seed=5))


def test_pseudonymized_splits_and_issues_show_no_id(store: EmbeddingStore, many: Path, tmp_path: Path):
    (many / "Pathology" / "CASE_03.tiff").unlink()
    (many / "Pathology" / "CASE_04 x.tiff").write_text("?")
    (many / "split_2_test.csv").write_text(HEADER + "CASE_07,G,1\n")
    layout = Radpath(source=many, splits=2, pseudonymize=tmp_path / "key")
    report = add_layout(store, "radpath", layout)
    assert len(report.issues) == 6
    assert "CASE_" not in str(report.issues)
    assert Pseudonyms.load(tmp_path / "key").case("CASE_03") in str(report.issues)
    assert add_layout(store, "radpath", layout).snapshot == report.snapshot


@real_labels
def test_the_papers_sizes_with_the_real_labels(store: EmbeddingStore, tmp_path: Path):
    (tmp_path / "empty" / "Pathology").mkdir(parents=True)
    report = add_layout(store, "radpath", Radpath(source=tmp_path / "empty", labels=REAL_LABELS, splits=5, seed=1))
    assert report.added["splits"] == 5 * 221
    (issue,) = report.issues
    assert issue.sentence.startswith("no MRI and no slide of 221 cases with a label")
    classes = {row["case_id"]: row["class"] for row in store.snapshot().rows("labels").to_pylist()}
    origins = {row["fold"]: row["origin"].partition(":")[0] for row in stored(store)}
    assert origins == {0: "given", 1: "drawn", 2: "drawn", 3: "drawn", 4: "drawn"}
    for fold, parts in parts_of(stored(store)).items():
        assert Counter(parts.values()) == {"train": 165, "val": 28, "test": 28}
        if fold:
            tested = Counter(classes[case] for case, part in parts.items() if part == "test")
            assert tested == {"G": 17, "O": 4, "A": 7}


def test_a_phantom_does_not_pass_for_the_challenge(folder: Path, tmp_path: Path):
    write_case(tmp_path / "made", "PHANTOM_0001")
    (tmp_path / "made" / "labels.csv").write_text(HEADER + "PHANTOM_0001,G,1\n")
    layouts = [read_radpath(place).cohorts[0]["layout"] for place in (tmp_path / "made", folder)]
    assert layouts == ["phantom", "radpath"]


@pytest.mark.parametrize(
    ("labelled", "classes", "sizes"),
    [(221, 3, (165, 28, 28)), (442, 3, (330, 56, 56)), (48, 3, (36, 6, 6)), (12, 3, (6, 3, 3)), (20, 2, (14, 3, 3))],
)
def test_sizes_of_a_drawn_fold(labelled: int, classes: int, sizes: tuple[int, int, int]):
    assert split_sizes(labelled, classes) == sizes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,class\nA,G\n", r"more\.csv has neither the column .*, so it is no RadPath label table; rename"),
        ("CPM_RadPath_2019_ID,klass\nA,G\n", r"more\.csv has no column 'class'"),
    ],
)
def test_tables_without_the_columns_give_a_sentence(folder: Path, text: str, sentence: str):
    (folder / "more.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=sentence):
        read_radpath(folder)


def test_another_layout_is_said(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="has neither Radiology/ nor Pathology/"):
        read_radpath(tmp_path)
