"""Looks at test are counted once for each set of runs that somebody was shown, where the store can be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guidestore.embeddings.errors import StorageError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.transaction import Transaction
from guidestore.flows.results.looks import count_look, count_looks
from guidestore.flows.results.two_runs import compare_runs
from guidestore.warehouse.runs import all_runs
from tests.commandline import guidestore


@pytest.fixture
def store(report_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(report_store, tmp_path / "store")
    return tmp_path / "store"


def looks(store: Path) -> int:
    return count_looks(EmbeddingStore.open(store).snapshot(), "skin")


def test_each_set_of_runs_is_looked_at_once(store: Path, tmp_path: Path) -> None:
    before = looks(store)
    assert before >= 2  # `guide` was called twice
    assert guidestore("evaluate", "skin", "--target", "PIG", "--store", store).returncode == 0
    assert looks(store) == before  # what guide showed
    assert guidestore("evaluate", "skin", "--part", "val", "--decoder", "logistic", "--store", store).returncode == 0
    assert looks(store) == before
    assert guidestore("evaluate", "skin", "--decoder", "logistic", "--store", store).returncode == 0
    assert looks(store) == before + 1
    for _ in range(2):
        done = guidestore("report", "skin", "--decoder", "logistic", "--store", store, "--out", tmp_path / "r.html")
        assert (done.returncode, looks(store)) == (0, before + 1), done.stderr
    opened = EmbeddingStore.open(store)
    a, b = [run.id for run in all_runs(opened.snapshot()) if (run.target, run.row, run.control) == ("PIG", "I", "")]
    for _ in range(2):
        assert "not counted" not in " ".join(compare_runs(opened, a, b).notes)
        assert looks(store) == before + 2
    told = [row["run"] for row in opened.snapshot().rows("looks").to_pylist() if row["why"] == "compare"]
    assert sorted(told) == sorted([a, b])


def test_a_store_that_cannot_be_written_says_so(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = EmbeddingStore.open(store)
    runs = all_runs(opened.snapshot())
    a, b = [run.id for run in runs if (run.target, run.row, run.control) == ("PIG", "I", "")]
    before = looks(store)

    def refuse(*_: object, **__: object) -> str:
        raise StorageError("cannot write rows: the disk is read-only: choose another store folder")

    monkeypatch.setattr(Transaction, "write_rows", refuse)
    assert "was not counted, the store cannot be written: cannot write rows" in count_look(opened, runs[:3], "report")
    notes = compare_runs(opened, a, b).notes
    assert any("this look at test was not counted" in note for note in notes)
    assert looks(store) == before
