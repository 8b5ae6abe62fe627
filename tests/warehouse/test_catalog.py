"""Opening and querying: snapshots, the lag, sentences instead of tracebacks, and no way to a file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from guidestore.embeddings.errors import CorruptArtifactError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import head, lag, open_catalog, query, query_plain
from guidestore.warehouse.indexer import build_index
from tests.warehouse.making import MRI, SLIDES, codes_of, commit_codes, commit_cohort


def count(root: Path, table: str, at: int | str | None = None) -> int:
    return query(root, f"SELECT count(*) AS n FROM {table}", at).table["n"][0].as_py()


def test_at_answers_for_every_snapshot(indexed_root: Path):
    assert [count(indexed_root, "codes", at) for at in (0, 1, 2, 3, None)] == [0, 0, 12, 24, 24]
    assert [count(indexed_root, "cases", at) for at in (0, 1)] == [0, 12]
    assert [count(indexed_root, "runs", at) for at in (5, 6)] == [0, 3]
    assert [count(indexed_root, "aliases", at) for at in (7, 8)] == [0, 1]


def test_at_takes_tags_and_aliases(indexed_root: Path):
    assert query(indexed_root, "SELECT 1", "baseline").at == 2
    assert query(indexed_root, "SELECT 1", "champion").at == 7
    with pytest.raises(NotFoundInStoreError, match="no tag or alias 'nobody'; known: baseline, champion"):
        open_catalog(indexed_root, "nobody")
    with pytest.raises(NotFoundInStoreError, match="ends at snapshot 8 and knows no snapshot 99"):
        open_catalog(indexed_root, 99)


def test_removed_rows_stay_in_old_snapshots(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    (entry,) = store.snapshot().entries(kind="rows:labels")
    with store.begin() as transaction:
        transaction.replace(entry)
    build_index(store)
    assert [count(root, "labels", at) for at in (1, 2)] == [12, 0]


def test_the_lag_is_told(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    assert lag(root) == 1
    build_index(store)
    assert lag(root) == 0
    assert query(root, "SELECT 1").lag_line == ""
    commit_codes(store, codes_of(MRI, 0))
    commit_codes(store, codes_of(SLIDES, 1))
    result = query(root, "SELECT count(*) AS n FROM codes")
    assert (result.commits_behind, result.at, result.table["n"][0].as_py()) == (2, 1, 0)
    assert result.lag_line == "the index ends at snapshot 1, 2 commits behind the store; run `guidestore index`"


@pytest.mark.parametrize("newest", [0, 1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("known", [0, 1, 5])
def test_head_is_found_by_probing(tmp_path: Path, newest: int, known: int):
    (tmp_path / "commits").mkdir()
    for version in range(1, newest + 1):
        (tmp_path / "commits" / f"{version:012d}.json").touch()
    if known <= newest:
        assert head(tmp_path, known) == newest


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        (
            "FROM nowhere",
            "Table with name nowhere does not exist; the views are aliases, attention, bags, cases, code_sets, codes,",
        ),
        ("SELECT casse_id FROM cases", 'column "casse_id" not found in FROM clause; candidate bindings: "case_id"'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("", "the query is empty"),
        ("-- nothing", "the query is empty"),
        ("SELECT 1 FROM root", "Table with name root does not exist"),
        ("SELECT 'a'::INTEGER", "Could not convert string 'a' to INT32"),
    ],
)
def test_wrong_sql_gives_a_sentence(indexed_root: Path, sql: str, sentence: str):
    with pytest.raises(InvalidInputError, match=re.escape(sentence)) as caught:
        query(indexed_root, sql)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        *(
            "CREATE TABLE x (a INT)",
            "DROP VIEW cases",
            "DELETE FROM base.cases",
            "INSERT INTO tags VALUES ('x', 1, '')",
        ),
        *("COPY cases TO '{out}'", "EXPORT DATABASE '{out}'", "ATTACH '{out}'", "SET threads = 1", "INSTALL httpfs"),
        *(
            "UPDATE base.cases SET case_id = ''",
            "CHECKPOINT",
            "SELECT 1; DROP VIEW cases",
            "CREATE TEMP TABLE x (a INT)",
        ),
    ],
)
def test_statements_that_do_more_than_read_are_refused(indexed_root: Path, tmp_path: Path, sql: str):
    if sql == "CHECKPOINT":  # nothing to write in a read-only catalog
        query(indexed_root, sql)
    else:
        with pytest.raises(InvalidInputError, match=r"the index is read-only and .* does more than read"):
            query(indexed_root, sql.format(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "sql",
    [
        *("FROM read_csv('/etc/passwd')", "FROM read_text('/etc/passwd')", "FROM glob('/etc/*')", "FROM '/etc/passwd'"),
        *("COPY cases TO '{out}'", "COPY cases TO '{out}' (USE_TMP_FILE false)", "ATTACH '{out}'"),
        *("COPY cases TO '{catalog}' (USE_TMP_FILE false)", "COPY cases TO '{catalog}.wal' (USE_TMP_FILE false)"),
        *("FROM read_blob('{catalog}')", "EXPLAIN ANALYZE COPY cases TO '{out}'", "INSTALL httpfs", "LOAD httpfs"),
        *("SET enable_external_access = true", "SET disabled_filesystems = ''", "RESET lock_configuration"),
        *("DELETE FROM base.cases", "CREATE VIEW guidestore.x AS SELECT 1", "EXPORT DATABASE '{out}'"),
    ],
)
def test_the_engine_itself_is_locked_down(indexed_root: Path, tmp_path: Path, sql: str):
    (catalog,) = (indexed_root / "index").glob("*.duckdb")
    before = catalog.read_bytes()
    con = open_catalog(indexed_root)
    with pytest.raises(duckdb.Error):
        con.execute(sql.format(out=tmp_path / "out", catalog=catalog)).fetchall()
    con.close()
    assert not (tmp_path / "out").exists()
    assert catalog.read_bytes() == before
    assert not Path(f"{catalog}.wal").exists()


def test_reading_files_gives_a_sentence(indexed_root: Path):
    with pytest.raises(InvalidInputError, match="can neither read nor write files"):
        query(indexed_root, "FROM read_csv('/etc/passwd')")


@pytest.mark.parametrize("ask", [query, query_plain])
def test_of_two_statements_none_is_answered(indexed_root: Path, ask: Callable[..., Any]):
    with pytest.raises(InvalidInputError, match="2 statements"):
        ask(indexed_root, "SELECT 1; SELECT 2")


def test_reads_of_every_form_work(indexed_root: Path):
    assert query(indexed_root, "SELECT ';' AS b; -- one\n;").table.to_pylist() == [{"b": ";"}]
    assert query(indexed_root, "DESCRIBE labels").table["column_name"].to_pylist() == [
        "cohort",
        "case_id",
        "target",
        "class",
        *("value", "time", "event"),
    ]
    assert query(indexed_root, "PIVOT labels ON class USING count(*) GROUP BY cohort").table.to_pylist() == [
        {"cohort": "phantom", "A": 6, "G": 6}
    ]
    assert "labels" in str(query(indexed_root, "EXPLAIN FROM labels").table.to_pylist())
    assert query(indexed_root, "WITH a AS (SELECT 3 AS x) FROM a").table.to_pylist() == [{"x": 3}]


def test_two_connections_of_one_process_look_at_two_snapshots(indexed_root: Path):
    old, new = open_catalog(indexed_root, 2), open_catalog(indexed_root)
    counts = [con.execute("SELECT count(*) FROM codes").fetchall() for con in (old, new, old)]
    assert counts == [[(12,)], [(24,)], [(12,)]]
    old.close()
    new.close()


def test_a_missing_store_or_index_is_said(tmp_path: Path, store: EmbeddingStore, root: Path):
    with pytest.raises(NotFoundInStoreError, match="there is no guidestore at"):
        query(tmp_path / "nothing", "SELECT 1")
    with pytest.raises(NotFoundInStoreError, match="has no index yet; build it with `guidestore index`"):
        query(root, "SELECT 1")


def test_a_missing_or_short_catalog_is_said(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    catalog = build_index(store).path
    catalog.write_bytes(catalog.read_bytes()[:-1])
    with pytest.raises(CorruptArtifactError, match="is missing or not as long as it was written"):
        query(root, "SELECT 1")
    catalog.unlink()
    with pytest.raises(CorruptArtifactError, match=r"catalog-000000000001\.duckdb is missing"):
        query(root, "SELECT 1")


def test_little_is_imported_for_a_query(indexed_root: Path):
    code = (
        "import sys; from guidestore.warehouse.catalog import query; query(sys.argv[1], 'SELECT 1'); "
        "heavy = {'torch', 'zarr', 'sklearn', 'pandas', 'prefect'}; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(indexed_root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


ENDLESS = "WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x)"


@pytest.mark.parametrize("last", ["SELECT count(*) FROM x", "FROM x"])
def test_an_endless_query_is_stopped(indexed_root: Path, last: str):
    for ask in (query, query_plain):
        with pytest.raises(InvalidInputError, match=r"longer than 0.3 s and was given up"):
            ask(indexed_root, f"{ENDLESS} {last}", timeout_s=0.3)


ONE_CALL = "SELECT length(repeat('a', 400_000_000))"
"""Seconds in which DuckDB does not look up."""


GIVEN_UP = """
import sys, time
from guidestore.warehouse.catalog import let_go, open_catalog, query_on

asked, con = time.monotonic(), open_catalog(sys.argv[1])
try:
    query_on(con, sys.argv[2], timeout_s=0.2)
except Exception as error:
    print(error)
let_go(con)
print(time.monotonic() - asked)
"""


def test_what_duckdb_does_not_stop_is_given_up(indexed_root: Path):
    """In processes of their own, which end meanwhile."""
    called = [sys.executable, "-c", GIVEN_UP, str(indexed_root), ONE_CALL]
    said, seconds = subprocess.run(called, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said.startswith("the query took longer than 0.2 s and was given up")
    assert float(seconds) < 15
    command = [sys.executable, "-m", "guidestore", "sql", ONE_CALL, "--timeout", "0.2", "--store", str(indexed_root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the query took longer than 0.2 s and was given up")


BOUNDED = """
import os, resource, sys
from guidestore.flows.cli.store import ask
from guidestore.flows.work.memory import bound_memory

ask("SELECT 1", None, sys.argv[1], "csv")
soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
assert machine / 2 < soft < machine
resource.setrlimit(resource.RLIMIT_DATA, (2**30, hard))
bound_memory()
assert resource.getrlimit(resource.RLIMIT_DATA)[0] == 2**30
try:
    ask("SELECT length(repeat('a', 3_000_000_000))", None, sys.argv[1], "csv")
except Exception as error:
    print(error)
ask("SELECT 2", None, sys.argv[1], "csv")
"""


def test_what_one_call_takes_of_memory_is_bounded(indexed_root: Path):
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(indexed_root)], capture_output=True, text=True, check=True
    )
    assert "needs more memory and disk than there is" in done.stdout
    assert done.stdout.splitlines()[-1] == "2"


def test_rows_beyond_a_limit_are_counted_and_not_kept(indexed_root: Path):
    table = query_plain(indexed_root, "FROM range(25_000)", most_rows=7).table
    assert (table.rows, table.more) == ([(number,) for number in range(7)], 24_993)
    assert query_plain(indexed_root, "FROM range(25_000)").table.more == 0


def test_two_columns_of_one_name_are_two(indexed_root: Path):
    sql = "SELECT 1 AS a, 2 AS a_1, 3 AS a, 4 AS a"
    for ask in (query, query_plain):
        table = ask(indexed_root, sql).table
        assert list(table.column_names) == ["a", "a_1", "a_2", "a_3"]
        assert table.to_pylist() == [{"a": 1, "a_1": 2, "a_2": 3, "a_3": 4}]


def test_an_explained_copy_writes_nothing(indexed_root: Path, tmp_path: Path):
    for options in ("ANALYZE", "(ANALYZE, FORMAT json)", "/* */ ANALYZE /* */"):
        with pytest.raises(InvalidInputError, match="COPY does more than read"):
            query(indexed_root, f"EXPLAIN {options} COPY cases TO '{tmp_path / 'out'}'")
    assert list(tmp_path.iterdir()) == []
