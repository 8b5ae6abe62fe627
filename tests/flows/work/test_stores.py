"""An opened store's index follows what is committed, whatever ends the block."""

from __future__ import annotations

from collections.abc import Callable
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


def fail(place: Path, *, meanwhile: Callable[[], object] = lambda: None) -> None:
    with opened(place, create=True):
        meanwhile()
        raise RuntimeError("the cause")


def test_a_store_that_was_begun_is_taken_back_after_an_error_and_the_folder_of_somebody_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new"):
        with pytest.raises(RuntimeError, match="the cause"):
            fail(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_an_empty_store_that_was_there_stays_after_an_error(tmp_path: Path) -> None:
    EmbeddingStore.create(tmp_path)
    with pytest.raises(RuntimeError, match="the cause"):
        fail(tmp_path)
    assert EmbeddingStore.open(tmp_path).log.head == 0


def test_a_store_that_another_process_fills_stays_whoever_began_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the cause"):
        fail(tmp_path, meanwhile=lambda: add(EmbeddingStore.open(tmp_path), "b"))
    assert query(tmp_path, COHORTS).table["cohort"].to_pylist() == ["b"]


def test_one_who_opened_a_store_that_was_taken_back_commits_to_it_all_the_same(tmp_path: Path) -> None:
    others: list[EmbeddingStore] = []
    with pytest.raises(RuntimeError, match="the cause"):
        fail(tmp_path / "store", meanwhile=lambda: others.append(EmbeddingStore.create(tmp_path / "store")))
    assert not (tmp_path / "store").exists()
    add(others[0], "b")
    assert EmbeddingStore.open(tmp_path / "store").log.head == 1


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
