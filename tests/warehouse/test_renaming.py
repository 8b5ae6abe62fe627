"""A renamed cohort is shown by its new name, found by both, and keeps its recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import query_plain
from guidestore.warehouse.cohorts.renaming import rename_cohort
from tests.commandline import guidestore


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose cohort `first`, with codes, labels, a split and runs, is shown as `second`."""
    folder = tmp_path_factory.mktemp("renamed")
    rng, cases = np.random.default_rng(0), [f"c{i:02}" for i in range(24)]
    for name in ("i", "s"):
        rows = [f"{case},{rng.normal(i % 2):.6f},{rng.normal():.6f}" for i, case in enumerate(cases)]
        (folder / f"{name}.csv").write_text("\n".join(("case_id,a,b", *rows)))
    (folder / "y.csv").write_text("\n".join(("case_id,y", *(f"{c},{'np'[i % 2]}" for i, c in enumerate(cases)))))
    at = ("--store", folder / "store")
    for name, modality in (("i", "mri"), ("s", "histology")):
        told = ("--cohort", "first", "--modality", modality, "--encoder", "e")
        assert guidestore("import", folder / f"{name}.csv", *told, *at).returncode == 0
    assert guidestore("cohort", "rename", "first", "second", *at).stdout.endswith("second; both names find it\n")
    assert "1 target" in guidestore("cohort", "add", "manifest", "second", "--labels", folder / "y.csv", *at).stdout
    assert "1 split;" in guidestore("cohort", "split", "second", "--folds", 2, *at).stdout
    return folder


def guide(folder: Path, cohort: str) -> str:
    heads = ("--guidance", "ridge", "--decoder", "logistic", "--permutations", 1, "--fold", 0)
    sides = ("--inferior", "mri/e", "--superior", "histology/e")
    return guidestore("guide", cohort, *sides, *heads, "--store", folder / "store").stderr


def test_commands_find_it_by_both_names_and_recipes_keep_the_first(renamed: Path):
    assert "runs: 19 trained" in guide(renamed, "second")  # five rows, four controls of two, six references
    assert "runs: 0 trained, 19 there already" in guide(renamed, "first")
    snapshot = EmbeddingStore.open(renamed / "store").snapshot()
    assert {entry.cohort for entry in snapshot.entries()} <= {"first", ""}
    at = ("--store", renamed / "store", "--format", "csv")
    for command in (("evaluate",), ("cohort", "show")):
        answers = [guidestore(*command, name, *at).stdout for name in ("first", "second")]
        assert answers[0] == answers[1] != ""
    for name in ("first", "second"):
        assert "c01" in guidestore("neighbours", "c00", "--code-set", f"{name}/mri/e", "-k", 23, *at).stdout
    again = guidestore(
        *("import", renamed / "i.csv", "--cohort", "second", "--modality", "mri", "--encoder", "e"), *at[:2]
    )
    assert "24 codes of 2 dimensions, 0 new" in again.stdout


def test_sql_shows_the_new_name_and_earlier_snapshots_the_first(renamed: Path):
    def ask(sql: str, at: int | None = None) -> list[tuple]:
        return query_plain(renamed / "store", sql, at).table.rows

    guide(renamed, "second")
    assert ask("SELECT cohort, first_name, cases FROM cohorts") == [("second", "first", 24)]
    assert ask("SELECT cohort, first_name FROM cohorts", 2) == [("first", "first")]
    assert ask("SELECT DISTINCT cohort FROM labels") == [("second",)]
    names = ask("SELECT name FROM code_sets ORDER BY name")
    assert [name.partition("@")[0] for (name,) in names] == ["second/histology/e", "second/mri/e"]
    sides = ask("SELECT DISTINCT cohort, inferior, superior FROM runs WHERE superior <> '' AND inferior <> ''")
    assert sides == [("second", names[1][0], names[0][0])]
    assert ask("SELECT count(*) FROM codes JOIN code_sets ON code_set = name") == [(48,)]
    by_names = [ask(f"FROM neighbours('c00', '{name}/mri/e', k := 3)") for name in ("first", "second")]
    assert by_names[0] == by_names[1]
    assert len(by_names[0]) == 3


def test_a_name_is_one_cohorts(tmp_path: Path):
    store = EmbeddingStore.create(tmp_path)
    with store.begin("two") as transaction:
        for cohort in ("a", "b"):
            transaction.write_rows("cases", [{"cohort": cohort, "case_id": "1"}], cohort=cohort)
    assert rename_cohort(store, "a", "c") == "a"
    for old, new in (("b", "c"), ("b", "a"), ("x", "y"), ("b", "../b")):
        with pytest.raises(GuidestoreError, match=r"there is|name"):
            rename_cohort(store, old, new)
    head = store.log.head
    assert rename_cohort(store, "c", "c") == "a"
    assert store.log.head == head
    rename_cohort(store, "c", "a")
    assert store.snapshot().display_names == {}
    assert rename_cohort(store, "b", "c") == "b"
