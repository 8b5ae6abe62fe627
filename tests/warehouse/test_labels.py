"""Labels as people have them: what is missing, what is one class, what is a measurement, and what supersedes what."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest

CASES = [f"P{i:02d}" for i in range(60)]


@pytest.fixture
def cohort(store: EmbeddingStore) -> EmbeddingStore:
    add_cohort(store, CohortTables("c", cases=[{"case_id": case} for case in CASES]))
    return store


def add(
    store: EmbeddingStore, folder: Path, labels: list[Any], *, dry_run: bool = False, replace: bool = False, **said
):
    file = folder / "labels.csv"
    lines = [f'{case},"{label}"' for case, label in zip(CASES, labels, strict=False)]
    file.write_text("case_id,grade\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return add_layout(store, "c", Manifest(labels=file, **said), supersede=replace, dry_run=dry_run)


def stored(store: EmbeddingStore, at: int | None = None) -> tuple[tuple[str, ...], dict[str, str]]:
    return labels_of(store.snapshot(at), "c", "grade")


@pytest.mark.parametrize(
    "word", ["NA", "N/A", "nan", "NaN", "None", "NULL", "null", "<NA>", "-", ".", "?", "#N/A", "-999", "", "  "]
)
def test_missing_words_are_no_classes(cohort: EmbeddingStore, tmp_path: Path, word: str):
    report = add(cohort, tmp_path, ["LGG", "GBM", word, word])
    assert stored(cohort) == (("GBM", "LGG"), {"P00": "LGG", "P01": "GBM"})
    said = [issue.sentence for issue in report.issues]
    assert said == ([f"2 rows have no label of grade ({word} 2)"] if word.strip() else [])


def test_what_is_missing_can_be_said_otherwise(cohort: EmbeddingStore, tmp_path: Path):
    add(cohort, tmp_path, ["NA", "PA", "x"], missing=("x",))
    assert stored(cohort)[0] == ("NA", "PA")


def test_a_word_that_is_listed_is_a_class(cohort: EmbeddingStore, tmp_path: Path):
    add(cohort, tmp_path, ["NA", "PA", "-"], classes=("grade=PA,NA",))
    assert stored(cohort) == (("PA", "NA"), {"P00": "NA", "P01": "PA"})


@pytest.mark.parametrize(
    "words",
    [
        ("gbm", "GBM"),
        ("0", "0.0"),
        ("1", "01"),
        (unicodedata.normalize("NFC", "récidive"), unicodedata.normalize("NFD", "récidive")),
        ("LGG grade 2", "LGG  grade 2"),
        ("LGG\u00a02", "LGG 2"),
        ("wild-type", "wild_type"),
        ("GBM\u200b", "GBM"),
        ("ABC", "\u0410\u0412\u0421"),  # Cyrillic
        ("Type A", "Type \u0391"),  # Greek
        ("Grade III", "Grade 3"),
        ("Grade l", "Grade I"),
        ("Stage IIA", "Stage 2a"),
        ("True", "1"),
        ("no", "FALSCH"),
        ("O", "0"),
        ("Meniere", "M\u00e9ni\u00e8re"),
        ("Glioma NOS", "Glioma\u00a0NOS."),
        ("10%", "10 %"),
        ("+1", "1"),
    ],
)
def test_near_equal_classes_are_told_apart_by_a_user(cohort: EmbeddingStore, tmp_path: Path, words: tuple[str, str]):
    labels = [words[0], words[1], words[1], "other"]
    with pytest.raises(InvalidInputError, match=r"column grade: .* may be one class; --merge 'grade="):
        add(cohort, tmp_path, labels)
    add(cohort, tmp_path, labels, dry_run=True, classes=(f"grade={words[0]},{words[1]},other",))
    report = add(cohort, tmp_path, labels, merge=("grade",))
    assert Counter(stored(cohort)[1].values()) == {words[1]: 3, "other": 1}, "the more frequent one stays"
    assert report.issues[0].kind == "merged classes"
    with pytest.raises(InvalidInputError, match=r"\(in the store\)"):
        add(cohort, tmp_path, [words[0], "other"])


@pytest.mark.parametrize(
    "words",
    [
        ("HER2+", "HER2-"),
        ("3", "3-"),
        ("T1", "T11"),
        ("IV", "V"),
        ("<1", ">1"),
        ("1-2", "12"),
        ("I", "L"),
        ("N", "O"),
        ("5 mm", "5 \u03bcm"),
    ],
)
def test_classes_that_differ_stand_apart(cohort: EmbeddingStore, tmp_path: Path, words: tuple[str, str]):
    add(cohort, tmp_path, [words[0], words[1], words[0]])
    assert set(stored(cohort)[0]) == set(words)


@pytest.mark.parametrize("word", ["#WERT!", "#¡DIV/0!", "\\N", ".a", "[Not Available]", "'--", "—"])
def test_missing_words_of_other_programs_are_no_classes(cohort: EmbeddingStore, tmp_path: Path, word: str):
    add(cohort, tmp_path, ["LGG", "GBM", word])
    assert stored(cohort)[0] == ("GBM", "LGG")


@pytest.mark.parametrize("word", ["unknown", "Not Reported", "k.A.", "inconnu", "-9", "99", "??", "*"])
def test_words_that_may_mean_missing_are_classes_with_a_line(cohort: EmbeddingStore, tmp_path: Path, word: str):
    report = add(cohort, tmp_path, ["LGG", "GBM", word, word, "NA"])
    assert word in stored(cohort)[0]
    assert f"{word!r} (2) is a class" in report.issues[1].sentence
    assert f"--missing='default,{word}'" in report.issues[1].sentence
    add(cohort, tmp_path, ["LGG", "GBM", word, word, "NA"], missing=("default", word), replace=True)
    assert stored(cohort)[0] == ("GBM", "LGG")


def test_classes_are_merged_by_name(cohort: EmbeddingStore, tmp_path: Path):
    add(cohort, tmp_path, ["IV", "GBM", "gbm", "III"], merge=("grade=GBM,gbm,IV",))
    assert stored(cohort)[1] == {"P00": "GBM", "P01": "GBM", "P02": "GBM", "P03": "III"}


def test_classes_with_a_comma(cohort: EmbeddingStore, tmp_path: Path):
    file = tmp_path / "classes.txt"
    file.write_text("Glioma, NOS\nGBM\n")
    for classes in ((f"grade=@{file}",), ("grade=Glioma, NOS", "grade=GBM"), ('grade="Glioma, NOS",GBM',)):
        add(cohort, tmp_path, ["GBM", "Glioma, NOS"], classes=classes)
        assert stored(cohort)[0] == ("Glioma, NOS", "GBM")


@pytest.mark.parametrize("labels", [[f"L{i}" for i in range(51)], ["0.5", "1.5", "1.5"], ["2.5", "3"]])
def test_measurements_need_a_word(cohort: EmbeddingStore, tmp_path: Path, labels: list[str]):
    with pytest.raises(InvalidInputError, match="--kind grade=value stores it as a measurement"):
        add(cohort, tmp_path, labels)
    report = add(cohort, tmp_path, labels, kind=("classes",))
    assert report.added["targets"] == len(set(labels))


def test_a_value_is_stored_as_a_value(cohort: EmbeddingStore, tmp_path: Path):
    report = add(cohort, tmp_path, ["0.5", "NA", "12"], kind=("grade=value",))
    assert (report.targets, report.added["targets"], report.added["labels"]) == (1, 1, 2)
    snapshot = cohort.snapshot()
    (target,) = snapshot.rows("targets").to_pylist()
    assert (target["kind"], target["class_index"], target["class"] or None) == ("value", None, None)
    rows = {row["case_id"]: (row["value"], row["class"] or None) for row in snapshot.rows("labels").to_pylist()}
    assert rows == {"P00": (0.5, None), "P02": (12.0, None)}
    with pytest.raises(InvalidInputError, match="target grade of cohort c is of kind value, which cannot be used here"):
        stored(cohort)
    assert add(cohort, tmp_path, ["0.5", "NA", "12"], kind=("value",)).snapshot == snapshot.version
    with pytest.raises(InvalidInputError, match=r"is 0.75 in grade and 0.5 in the store; .*--replace"):
        add(cohort, tmp_path, ["0.75"], kind=("value",))
    with pytest.raises(InvalidInputError, match="is of kind value in the store, not classes"):
        add(cohort, tmp_path, ["1", "2"], kind=("classes",))
    assert add(cohort, tmp_path, ["0.5", "NA", "12"]).snapshot == snapshot.version, "the kind of the store holds"
    with pytest.raises(InvalidInputError, match=r"row 2, column grade: 'high' is no number"):
        add(cohort, tmp_path, ["high"], kind=("value",))


def test_corrected_labels_supersede(cohort: EmbeddingStore, tmp_path: Path):
    first = add(cohort, tmp_path, ["LGG", "GBM", "GMB"])
    with pytest.raises(
        InvalidInputError, match=r"case P02 of cohort c is 'GBM' in grade and 'GMB' in the store; .*--replace"
    ):
        add(cohort, tmp_path, ["?", "GBM", "GBM"])
    tried = add(cohort, tmp_path, ["?", "GBM", "GBM"], replace=True, dry_run=True)
    assert (tried.snapshot, cohort.snapshot().version) == (first.snapshot, first.snapshot)
    report = add(cohort, tmp_path, ["?", "GBM", "GBM"], replace=True)
    assert report.changed == tried.changed == {
        "labels": ("P00 grade: LGG is now no label", "P02 grade: GMB is now GBM")
    }  # fmt: skip
    assert stored(cohort) == (("GBM",), {"P01": "GBM", "P02": "GBM"}), "a class that nobody has any more is gone"
    assert stored(cohort, first.snapshot) == (("GBM", "GMB", "LGG"), {"P00": "LGG", "P01": "GBM", "P02": "GMB"})
    assert add(cohort, tmp_path, ["?", "GBM", "GBM"], replace=True).snapshot == report.snapshot
    entry = next(entry for entry in cohort.snapshot().entries(kind="rows:labels"))
    assert entry.supersedes


def test_a_dry_run_writes_nothing(cohort: EmbeddingStore, tmp_path: Path):
    before = cohort.snapshot().version
    report: CohortReport = add(cohort, tmp_path, ["a", "b"], dry_run=True)
    assert (report.added["labels"], report.snapshot, cohort.snapshot().version) == (2, before, before)


def test_the_id_column_and_the_targets_are_chosen(cohort: EmbeddingStore, tmp_path: Path):
    (tmp_path / "l.csv").write_text(",patient,age,grade,who\n0,P00,1,a,x\n1,P01,2,b,y\n")
    report = add_layout(cohort, "c", Manifest(labels=tmp_path / "l.csv", id_column="patient", drop=("age,who",)))
    assert (report.targets, stored(cohort)[1]) == (1, {"P00": "a", "P01": "b"})
    assert [issue.sentence for issue in report.issues] == ["column Unnamed: 0 of l.csv is a saved index, and left out"]
