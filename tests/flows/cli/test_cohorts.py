"""Cohorts through the command line: what would be added, grouped splits, what is taken out again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import Done, guidestore

CASES = [f"c{i:02}" for i in range(24)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"a": [i**2 for i in range(24)], "b": [i % 5 for i in range(24)]}, CASES) / 7
    frame.to_csv(tmp_path / "codes.csv", index_label="case_id")
    labels = pd.DataFrame({"y": ["np"[i % 2] for i in range(24)], "z": ["uv"[i // 12] for i in range(24)]}, CASES)
    labels.to_csv(tmp_path / "labels.csv", index_label="case_id")
    labels.assign(y="q").to_csv(tmp_path / "other.csv", index_label="case_id")
    pd.DataFrame({"patient": [i // 2 for i in range(24)]}, CASES).to_csv(tmp_path / "g.csv", index_label="case_id")
    told = ("--cohort", "c", "--modality", "m", "--encoder", "e", "--store", tmp_path / "store")
    assert guidestore("import", tmp_path / "codes.csv", *told).returncode == 0
    return tmp_path / "store"


def cohort(store: Path, *words: object) -> Done:
    return guidestore("cohort", *words, "--store", store)


def add(store: Path, table: str, *words: object) -> Done:
    return cohort(store, "add", "manifest", "c", "--labels", store.parent / table, *words)


def head(store: Path) -> int:
    return EmbeddingStore.open(store).log.head


def test_a_dry_run_says_what_would_be_and_writes_nothing(store: Path) -> None:
    before = head(store)
    tried = add(store, "labels.csv", "--dry-run")
    assert tried.stdout == "cohort c: would add 2 targets (4 classes), 48 labels; nothing written\n"
    assert head(store) == before
    assert "2 targets (4 classes), 48 labels; snapshot" in add(store, "labels.csv").stdout
    refused = add(store, "other.csv", "--dry-run")
    assert (refused.returncode, "or correct the store with --replace" in refused.stderr) == (2, True)
    changed = add(store, "other.csv", "--dry-run", "--replace")
    assert changed.stdout == "cohort c: would change 24 labels; nothing written\n"
    assert "c00 y: n is now q" in changed.stderr
    assert head(store) == before + 1
    nowhere = add(store.parent / "no", "labels.csv", "--dry-run")
    assert nowhere.returncode == 2
    assert not (store.parent / "no").exists()


def test_cases_of_a_group_stay_in_one_part(store: Path) -> None:
    add(store, "labels.csv")
    told = ("--folds", 3, "--target", "y", "--group", "patient", "--groups", store.parent / "g.csv")
    assert "grouped by patient" in cohort(store, "split", "c", *told).stdout
    parts: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    rows = EmbeddingStore.open(store).snapshot().rows("splits").to_pylist()
    for row in rows:
        parts[row["fold"], CASES.index(row["case_id"]) // 2].add(row["part"])
    assert len(parts) == 36
    assert all(len(of_patient) == 1 for of_patient in parts.values())
    assert all("patient" in row["origin"] for row in rows)
    wrong = cohort(store, "split", "c", "--group", "clinic", "--groups", store.parent / "g.csv", "--target", "y")
    assert (wrong.returncode, "has no column 'clinic'" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        (lambda i: "NA" if i < 3 else f"p{i}", "error: split cv3: 3 cases without patient (such as c00)"),
        (
            lambda i: ["p0", "P0", "p-1", "p 1"][i] if i < 4 else f"p{i // 2}",
            "count as one group: 'P0' and 'p0'; 'p 1' and",
        ),
        (lambda i: ["7", "007"][i] if i < 2 else f"{i}", "count as one group: '007' and '7'"),
        (lambda i: "all" if i < 12 else f"p{i}", "patient all has 12 of 24 cases, more than one of 3 folds should"),
        (lambda i: f"p{i}", "each case has a patient of its own"),
        (lambda i: f"p{i // 3}", ""),
    ],
)
def test_groups_as_people_write_them(store: Path, patients: Callable[[int], str], said: str) -> None:
    add(store, "labels.csv")
    values = [patients(i) for i in range(24)]
    pd.DataFrame({"patient": values, "record": CASES}).to_csv(store.parent / "odd.csv", index=False)
    told = ("--groups", store.parent / "odd.csv", "--id-column", "record", "--folds", 3, "--target", "y")
    done = cohort(store, "split", "c", *told, "--group", "patient")
    assert said in done.stderr
    assert done.returncode == (2 if "error" in said else 0)
    assert bool(said) == bool(done.stderr)
    if done.returncode == 0:  # no patient, however it is written, is in two parts
        one = {"P0": "p0", "p-1": "p1", "p 1": "p1", "007": "7"}
        parts: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
        for row in EmbeddingStore.open(store).snapshot().rows("splits").to_pylist():
            value = values[CASES.index(row["case_id"])]
            parts[row["fold"], one.get(value, value)].add(row["part"])
        assert all(len(of_patient) == 1 for of_patient in parts.values())
    else:
        assert "with --group" in cohort(store, "split", "c", *told).stderr, "a table without its column groups nothing"


def test_groups_of_a_pseudonymized_cohort_are_found_by_its_key(store: Path) -> None:
    images, key = store.parent / "images.csv", store.parent / "key"
    images.write_text("case_id,modality,path\n" + "".join(f"{case},clinical,{case}.png\n" for case in CASES))
    for number, case in enumerate(CASES):
        (store.parent / f"{case}.png").write_bytes(b"%d" % number)
    told = ("--labels", store.parent / "labels.csv", "--pseudonymize", key)
    refused = cohort(store, "add", "manifest", "c", *told)
    assert "cohort c was added without --pseudonymize" in refused.stderr
    assert not key.exists()
    assert cohort(store, "add", "manifest", "p", "--images", images, *told).returncode == 0
    split = ("split", "p", "--folds", 3, "--target", "y", "--group", "patient", "--groups", store.parent / "g.csv")
    assert "name the key that hid them with --key" in cohort(store, *split).stderr
    assert cohort(store, *split, "--key", key).returncode == 0


def test_a_target_and_a_cohort_are_taken_out_and_earlier_snapshots_keep_them(store: Path) -> None:
    add(store, "labels.csv")
    full = head(store)
    assert cohort(store, "remove", "c", "--target", "z", "--yes").stdout == "target z of cohort c: 24 labels removed\n"
    assert "z" not in cohort(store, "show", "c").stdout
    unknown = cohort(store, "remove", "c", "--target", "z", "--yes")
    assert (unknown.returncode, "has no target 'z'; it has y" in unknown.stderr) == (3, True)
    assert "artifacts removed" in cohort(store, "remove", "c", "--yes").stdout
    gone = cohort(store, "show", "c")
    assert (gone.returncode, "there is no cohort 'c'; there are none yet" in gone.stderr) == (3, True)
    count = "SELECT count(*) FROM labels"
    for at, labels in ((full, "48"), (full + 1, "24"), (full + 2, "0")):
        assert guidestore("sql", count, "--at", at, "--store", store, "--format", "csv").stdout.split()[-1] == labels


def test_ids_that_look_like_one_are_named(store: Path) -> None:
    pd.DataFrame({"a": [0.5, 1.5]}, ["C00", "c01"]).to_csv(store.parent / "upper.csv", index_label="case_id")
    told = ("--cohort", "c", "--modality", "n", "--encoder", "e", "--store", store)
    done = guidestore("import", store.parent / "upper.csv", *told)
    assert done.returncode == 0
    assert "note: 1 group of cases whose ids differ in upper and lower case" in done.stderr
    assert "'C00' and 'c00'" in done.stderr


@pytest.mark.parametrize("labels", [[f"x{i}" for i in range(24)], [20 + i * 7 % 15 for i in range(24)]])
def test_a_class_for_nearly_each_case_is_refused(store: Path, labels: list[object]) -> None:
    pd.DataFrame({"age": labels}, CASES).to_csv(store.parent / "age.csv", index_label="case_id")
    refused = add(store, "age.csv")
    assert refused.returncode == 2
    assert f"column age has {len(set(labels))} different labels of 24 cases" in refused.stderr
    assert "--kind age=value" in refused.stderr
    assert "--id-column age" in refused.stderr
    assert add(store, "age.csv", "--kind", "age=classes").returncode == 0


def test_a_measurement_has_no_classes_and_another_table_is_no_cohort(store: Path) -> None:
    pd.DataFrame({"age": range(30, 54)}, CASES).to_csv(store.parent / "age.csv", index_label="case_id")
    added = add(store, "age.csv", "--kind", "age=value")
    assert added.stdout.startswith("cohort c: 1 target, 24 labels; snapshot")


def test_survival_grades_and_values_are_added_shown_and_split(store: Path) -> None:
    table = pd.DataFrame(
        {
            "days": [30 * (1 + i % 12) for i in range(24)],
            "status": ["dead", "alive", "dead"] * 8,
            "stage": [1 + i % 3 for i in range(24)],
            "size": [i / 4 + 0.5 for i in range(23)] + [None],
        },
        CASES,
    )
    table.to_csv(store.parent / "outcomes.csv", index_label="case_id")
    told = ("--survival", "os=days,status", "--kind", "stage=ordinal", "--kind", "size=value")
    added = add(store, "outcomes.csv", *told, "--unit", "os=days", "--unit", "size=mm")
    assert added.returncode == 0, added.stderr
    assert "'dead' (16) is taken for the event of os and 'alive' (8) for censored" in added.stderr
    shown = json.loads(cohort(store, "show", "c", "--format", "json").stdout)
    labels = {row["name"]: (row["count"], row["detail"]) for row in shown if row["what"] == "labels"}
    assert labels == {
        "os": (
            24,
            "survival in days: 16 events, 8 censored, events at 112.5 / 195 / 277.5, censored at 127.5 / 195 / 262.5",
        ),
        "size": (23, "value in mm: quartiles 1.875 / 3.25 / 4.625"),
        "stage": (24, "grades: 1 8, 2 8, 3 8"),
    }
    drawn = cohort(store, "split", "c", "--target", "os", "--folds", 3)
    assert "stratified by os" in drawn.stdout
    rows = EmbeddingStore.open(store).snapshot().rows("splits").to_pylist()
    for fold in range(3):
        its = {row["case_id"] for row in rows if (row["fold"], row["part"]) == (fold, "test")}
        assert 5 <= (table.loc[sorted(its), "status"] == "dead").sum() <= 6
