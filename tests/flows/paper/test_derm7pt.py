"""Table 2 from one call on a folder in Derm7pt's layout; what the store has is not made again; faults are sentences."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.paper.derm7pt import run_derm7pt
from guidestore.flows.paper.melanoma import SCORE
from guidestore.flows.paper.report import ExperimentReport
from guidestore.flows.paper.settings import Derm7ptSettings
from guidestore.flows.paper.table import as_rows
from guidestore.flows.paper.table2 import TASKS
from guidestore.heads.references.train import REFERENCES
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import generate_derm7pt_phantom
from tests.commandline import guidestore

CASES = 80


def settings(**values: object) -> Derm7ptSettings:
    given = {"seeds": (0, 1), "permutations": 1, "guidance": "ridge", "decoder": "logistic"}
    return Derm7ptSettings(cohort="skin", **{**given, **values})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derm7pt") / "release_v0"
    generate_derm7pt_phantom(folder, cases=CASES, seed=0, image_px=(192, 128))
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Path, ExperimentReport]:
    root = folder.parent / "store"
    return root, run_derm7pt(EmbeddingStore.create(root), settings(source=folder))


def test_it_encodes_trains_and_evaluates_all_of_it(done: tuple[Path, ExperimentReport]) -> None:
    root, report = done
    assert (report.encoded, report.images_read, report.failed) == (2 * 79, 2 * 79, {})  # one case is no pair
    # Per task and seed: S+I, S and I, two guided rows with four controls each, and the references.
    assert report.trained == len(report.runs) == 8 * 2 * (3 + 2 * 5 + len(REFERENCES))
    table = report.table
    assert [column.key for column in table.columns][:8] == list(TASKS)
    for name in ("D+C", "D", "C", "G(C)", "G(C)+C", "G(C)+C, shuffled pairs"):
        for column in table.columns:
            cell = table.cell(name, column.key)
            assert cell is not None
            assert cell.n == 2
    assert {(row, key) for row in ("G(C)", "G(C)+C") for key in (*TASKS, SCORE)} <= table.effects.keys()
    assert all(effect.effect for effect in table.effects.values())
    assert any("nine" in note or "two photographs are one file" in note for note in report.notes)
    assert fsck(LocalStorage(root)).clean
    rows = EmbeddingStore.open(root).snapshot().rows("runs").to_pylist()
    g = {json.loads(row["weights"])["guidance"] for row in rows if row["row"] == "G(I)+I"}
    # All eight tasks of a seed share the G of true and shuffled pairs and of codes made of z_I; the order within the
    # classes is each task's own.
    assert len(g) == 2 * (4 + 8)


def test_run_again_it_reads_and_trains_nothing(done: tuple[Path, ExperimentReport], tmp_path: Path) -> None:
    root, report = done
    options = ("--seed", 0, "--seed", 1, "--permutations", 1, "--guidance", "ridge", "--decoder", "logistic")
    command = ("experiment", "derm7pt", "skin", *options, "--store", root, "--out", tmp_path)
    shown = guidestore(*command)
    assert shown.returncode == 0, shown.stderr
    assert "images read: 0, codes made: 0, networks and heads trained: 0" in shown.stderr
    assert "Is it guidance?" in shown.stdout
    assert "G(C)+C against C" in shown.stdout
    assert {file.name for file in tmp_path.iterdir()} == {
        *("table2.md", "table2.csv", "table2.tex", "table2-mcnemar.csv"),
        *(f"table2{kind}.{suffix}" for kind in ("", "-gains") for suffix in ("pdf", "svg", "png")),
    }
    rows = json.loads(guidestore(*command, "--format", "json").stdout)
    assert rows == json.loads(json.dumps(as_rows(report.table)))
    evaluated = json.loads(guidestore("evaluate", "skin", "--store", root, "--format", "json").stdout)
    found = {(row["target"], row["row"], row["control"]): row["balanced_accuracy_mean"] for row in evaluated}
    cell = report.table.cell("G(C)+C", "PN")
    assert cell is not None
    assert found["PN", "G(I)+I", ""] == pytest.approx(cell.mean[0])


def change_meta(folder: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    file = folder / "meta" / "meta.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    change(rows)
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def train_rows(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "meta" / "train_indexes.csv").read_text().split()[1:]]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda folder: change_meta(folder, lambda rows: rows[4].update(streaks="curly")),
            r"meta.csv, row 6, column streaks: 'curly' is none of",
        ),
        (
            lambda folder: (folder / "meta" / "valid_indexes.csv").write_text(
                (folder / "meta" / "valid_indexes.csv").read_text() + f"{train_rows(folder)[0]}\n"
            ),
            r"valid_indexes.csv, row \d+, column indexes: .* puts in train already",
        ),
    ],
    ids=["a label outside the vocabulary", "a case in two parts"],
)
def test_a_table_that_contradicts_itself_leaves_no_cohort(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    broken = tmp_path / "release_v0"
    shutil.copytree(folder / "meta", broken / "meta")
    (broken / "images").symlink_to(folder / "images")
    spoil(broken)
    with pytest.raises(InvalidInputError, match=sentence):
        run_derm7pt(EmbeddingStore.create(tmp_path / "store"), settings(source=broken))
    assert EmbeddingStore.open(tmp_path / "store").snapshot().rows("cohorts").num_rows == 0


def test_what_cannot_be_used_is_named_and_the_rest_is_done(folder: Path, tmp_path: Path) -> None:
    """A task with one class in train, a photograph listed twice, a broken JPEG, a class that test lacks."""
    broken = tmp_path / "release_v0"
    shutil.copytree(folder, broken)
    train = train_rows(folder)
    test = [int(line) for line in (folder / "meta" / "test_indexes.csv").read_text().split()[1:]]

    def change(rows: list[dict[str, str]]) -> None:
        for row in train:
            rows[row]["streaks"] = "absent"
        for row in test:
            rows[row]["blue_whitish_veil"] = "absent"
        rows[test[1]]["clinic"] = rows[test[0]]["clinic"]

    change_meta(broken, change)
    spoilt = list(csv.DictReader((broken / "meta" / "meta.csv").read_text().splitlines()))[test[2]]
    photograph = next(
        file for file in (broken / "images").rglob("*.jpg")
        if file.relative_to(broken / "images").as_posix().lower() == spoilt["clinic"].lower()
    )  # fmt: skip
    photograph.write_bytes(photograph.read_bytes()[:500])
    report = run_derm7pt(EmbeddingStore.create(tmp_path / "store"), settings(source=broken, seeds=(0,)))
    notes = "\n".join(report.notes)
    assert "task STR is left out: no train case is labelled REG or IR" in notes
    assert f"listed by a row before: {spoilt_name(broken, test[1])}" in notes
    assert "BWV PRS in test" in notes
    assert list(report.failed) == [spoilt["case_num"]]
    assert photograph.name in report.failed[spoilt["case_num"]]
    columns = [column.key for column in report.table.columns]
    assert columns == [task for task in TASKS if task != "STR"]  # and no melanoma without all seven criteria
    cell = report.table.cell("C", "BWV")
    assert cell is not None
    assert cell.n == 1
    assert fsck(LocalStorage(tmp_path / "store")).clean


def spoilt_name(folder: Path, row: int) -> str:
    return list(csv.DictReader((folder / "meta" / "meta.csv").read_text().splitlines()))[row]["clinic"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    asked = ("experiment", "derm7pt", "skin", "--store", tmp_path / "store")
    no_store = guidestore(*asked)
    assert (no_store.returncode, "there is no guidestore" in no_store.stderr) == (3, True)
    no_folder = guidestore(*asked, "--source", tmp_path / "nowhere")
    assert (no_folder.returncode, no_folder.stderr.count("\n")) == (2, 1)
    assert "source = " in no_folder.stderr
    assert "does not point to a directory" in no_folder.stderr
    assert not (tmp_path / "store").exists()
    EmbeddingStore.create(tmp_path / "store")
    with pytest.raises(NotFoundInStoreError, match="--source"):
        run_derm7pt(EmbeddingStore.create(tmp_path / "store"), settings())
