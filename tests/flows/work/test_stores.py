"""An opened store's index follows what is committed, whatever ends the block."""

from __future__ import annotations

from pathlib import Path

import pytest

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.work.stores import opened
from guidestore.warehouse.catalog import query

COHORTS = "SELECT cohort FROM cohorts ORDER BY cohort"


def add(store: EmbeddingStore, cohort: str) -> None:
    row = {"cohort": cohort, "layout": "import", "source": "", "pseudonymized": False, "note": ""}
    with store.begin(f"cohort {cohort}") as transaction:
        transaction.write_rows("cohorts", [row], cohort=cohort)


def fail_after_a_commit(place: Path, error: BaseException) -> None:
    with opened(place, create=True) as store:
        add(store, "a")
        raise error


def test_what_is_committed_can_be_queried(tmp_path: Path) -> None:
    with opened(tmp_path / "store", create=True) as store:
        add(store, "a")
    assert query(tmp_path / "store", COHORTS).table["cohort"].to_pylist() == ["a"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_too(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error, match="the cause"):
        fail_after_a_commit(tmp_path, error("the cause"))
    assert query(tmp_path, COHORTS).table["cohort"].to_pylist() == ["a"]


def test_what_another_process_committed_meanwhile_counts(tmp_path: Path) -> None:
    EmbeddingStore.create(tmp_path)
    with opened(tmp_path):
        add(EmbeddingStore.open(tmp_path), "b")
    assert query(tmp_path, COHORTS).table["cohort"].to_pylist() == ["b"]


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    add(EmbeddingStore.create(tmp_path), "a")
    before = sorted(tmp_path.rglob("*"))
    with opened(str(tmp_path)) as store:
        assert store.snapshot().version == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_work_that_was_killed_is_indexed_by_the_run_that_goes_on(tmp_path: Path) -> None:
    add(EmbeddingStore.create(tmp_path), "a")  # and killed before its index
    with opened(tmp_path, resumes=True):
        pass
    assert query(tmp_path, COHORTS).table["cohort"].to_pylist() == ["a"]
    before = sorted(tmp_path.rglob("*"))
    with opened(tmp_path, resumes=True):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_that_cannot_be_built_does_not_hide_the_error(tmp_path: Path) -> None:
    EmbeddingStore.create(tmp_path)
    (tmp_path / "index").write_text("in the way")
    with pytest.raises(RuntimeError, match="the cause"):
        fail_after_a_commit(tmp_path, RuntimeError("the cause"))


def test_none_is_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(NotFoundInStoreError, match="there is no guidestore"), opened(tmp_path / "store"):
        pass
    assert not (tmp_path / "store").exists()
