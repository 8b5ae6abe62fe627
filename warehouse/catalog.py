"""Opens the DuckDB index and answers SQL from it, at any snapshot. Imports little: `guidestore sql` starts from here.

`warehouse.indexer` builds the index. A connection made here can neither read nor write a file, and a reader keeps the
catalog that it opened while newer ones take its place.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from guidestore.embeddings.current import INDEX_FOLDER, Current, read_current
from guidestore.embeddings.errors import CorruptArtifactError, GuidestoreError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.heads import lost_end
from guidestore.embeddings.opening import opened_storage, storage_at
from guidestore.embeddings.places import shown
from guidestore.embeddings.words import count_of

if TYPE_CHECKING:
    from guidestore.embeddings.storage import Storage

_OPEN: dict[str, str | bool | int | float | list[str]] = {
    # No query reaches the network for an extension.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # A table name means a view of the index, never a Python variable of the caller.
    "python_enable_replacements": "false",
    "memory_limit": "50%",
    # Spilling would write next to the catalog, and several readers would share the place: `query` names a folder of
    # its own; elsewhere a query too large for memory fails.
    "temp_directory": "",
}
_LOCK = ("SET enable_external_access = false", "SET lock_configuration = true")
_LOCK_AND_NO_FILES = (_LOCK[0], "SET disabled_filesystems = 'LocalFileSystem'", _LOCK[1])
"""Without the second, the catalog's own path and its .wal stay open to read_blob (seen with DuckDB 2.0.0). It forbids
to spill as well, so `query`, which looks at statements first, goes without."""
_WRITES = re.compile(r"\b(copy|export|create)\b", re.IGNORECASE)
"""Of an EXPLAIN ANALYZE, which does what it explains."""
_NO_ROWS = "the query gives no rows; end it with a SELECT"
TIMEOUT_S = 60.0
_GRACE_S = 1.0
"""In which DuckDB stops after it was told to, as a rule."""
_ROWS_AT_ONCE = 10_000
_SHOWN_AS = """
SET VARIABLE shown_as = (
    SELECT map_from_entries(list(DISTINCT (cohort, display_name)))
    FROM base.cohorts WHERE display_name <> '' AND is_live(added_at, removed_at)
)
"""
_ATTEMPTS = 5
"""A catalog can go away between reading CURRENT and opening the file, where two builds end in between."""
_READS = ("SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI")
"""Statement types that `query` runs; MULTI is what DuckDB makes of PIVOT."""


@dataclass(frozen=True, slots=True)
class PlainTable:
    """Rows as Python values. Has of `pyarrow.Table` what showing it takes."""

    column_names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: int = 0
    """Rows that the query gave beyond these."""

    def to_pylist(self) -> list[dict[str, Any]]:
        return [dict(zip(self.column_names, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows that a query gave, and of which snapshot."""

    table: Any
    """pyarrow.Table of `query`, PlainTable of `query_plain`."""
    at: int
    """Snapshot that answered."""
    index_version: int
    """Newest commit that the index knows."""
    commits_behind: int
    """Commits in the store that the index does not know yet."""

    @property
    def lag_line(self) -> str:
        """A sentence for the user, '' where the index is up to date."""
        if not self.commits_behind:
            return ""
        commits = count_of(self.commits_behind, "commit")
        return f"the index ends at snapshot {self.index_version}, {commits} behind the store; run `guidestore index`"


def open_catalog(
    store_root: Path | str, at: int | str | None = None, spill: dict[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the index of the store at `store_root`, looking at snapshot `at`.

    `at`: commit number, tag or alias; None: the newest that the index knows. spill: DuckDB's settings of how much a
    connection that is kept long may keep in memory, and where the rest goes; without, nothing is spilt. Raises
    NotFoundInStoreError if there is no store, no index or no such snapshot in it, CorruptArtifactError if the index is
    damaged.
    """
    return _open(store_root, opened_storage(store_root), at, spill)[0]


def beside(con: duckdb.DuckDBPyConnection, version: int) -> duckdb.DuckDBPyConnection:
    """Another connection to the catalog that `open_catalog` opened at snapshot `version`, for another thread.

    Tables that one of them makes in `memory` are there for all.
    """
    other = con.cursor()
    other.execute("USE guidestore")
    other.execute(f"SET VARIABLE at_commit = {version}")
    other.execute(_SHOWN_AS)
    return other


def query_on(con: duckdb.DuckDBPyConnection, sql: str, *, timeout_s: float | None = TIMEOUT_S) -> Any:
    """The rows that `sql` gives on an open connection, as an Arrow table; otherwise as `query`."""
    return _run(con, sql, _Within(con, timeout_s), partial(_arrow_table, sql))


def let_go(con: duckdb.DuckDBPyConnection) -> None:
    """Closes a connection; where a query that was given up still has it, that closes it in the end."""
    with suppress(duckdb.ResourceInUseException):
        con.close()


def query(
    store_root: Path | str, sql: str, at: int | str | None = None, *, timeout_s: float | None = TIMEOUT_S
) -> QueryResult:
    """The rows that `sql` gives at snapshot `at`, as an Arrow table.

    A query has half of the machine's memory and a folder for what does not fit. Raises what `open_catalog` raises, and
    InvalidInputError on SQL that is wrong, is several statements, does more than read or takes longer than timeout_s
    seconds (None: for ever).
    """
    return _ask(store_root, sql, at, timeout_s, partial(_arrow_table, sql))


def _arrow_table(sql: str, con: duckdb.DuckDBPyConnection, within: _Within) -> Any:
    relation = within(lambda: con.sql(sql))
    if relation is None:
        raise InvalidInputError(_NO_ROWS)
    table = within(relation.to_arrow_table)
    return table.rename_columns(_each_once(table.column_names))


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns: of two that are called ``a``, as a join gives them, the second is ``a_1``, as DuckDB says in
    its own tables. Under one name only one would reach a program.
    """
    made: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count(1))
        free = name if name not in made else next(one for one in numbered if one not in made and one not in names)
        made.append(free)
    return tuple(made)


def query_plain(
    store_root: Path | str,
    sql: str,
    at: int | str | None = None,
    *,
    timeout_s: float | None = TIMEOUT_S,
    most_rows: int | None = None,
) -> QueryResult:
    """`query` with a `PlainTable`, which spares importing pyarrow and numpy (tests/benchmarks/startup.py).

    most_rows: what is beyond is counted and not kept; None: all.
    """

    def take(columns: tuple[str, ...], batches: Iterator[list[tuple[Any, ...]]]) -> PlainTable:
        rows: list[tuple[Any, ...]] = []
        more = 0
        for batch in batches:
            room = len(batch) if most_rows is None else max(0, most_rows - len(rows))
            rows += batch[:room]
            more += max(0, len(batch) - room)
        return PlainTable(columns, rows, more)

    return query_rows(store_root, sql, take, at, timeout_s=timeout_s)


def query_rows(
    store_root: Path | str,
    sql: str,
    take: Callable[[tuple[str, ...], Iterator[list[tuple[Any, ...]]]], Any],
    at: int | str | None = None,
    *,
    timeout_s: float | None = TIMEOUT_S,
) -> QueryResult:
    """`query` whose table is what `take` makes of the columns' names and the rows, which come in batches."""

    def stream(con: duckdb.DuckDBPyConnection, within: _Within) -> Any:
        within(lambda: con.execute(sql))
        columns = _each_once([column[0] for column in con.description or ()])
        if not columns:
            raise InvalidInputError(_NO_ROWS)
        return take(columns, iter(lambda: within(lambda: con.fetchmany(_ROWS_AT_ONCE)), []))

    return _ask(store_root, sql, at, timeout_s, stream)


class _Within:
    """Calls DuckDB for as long as there is time left; what happens between two calls is not counted.

    In a thread: while DuckDB works, the one that called it hears neither a clock nor Ctrl-C. A daemon: what DuckDB does
    in one go, such as a text of a billion letters, it does not stop when told to, and no process waits for that.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, timeout_s: float | None) -> None:
        self._con = con
        self._timeout_s = self._left_s = timeout_s

    def __call__[T](self, work: Callable[[], T]) -> T:
        began = time.monotonic()
        working = _in_a_thread(work)
        try:
            wait([working], self._left_s)
            if not working.done():
                self._stop(working)
        except KeyboardInterrupt:
            self._stop(working)
            raise
        if self._left_s is not None:
            self._left_s = max(0.0, self._left_s - (time.monotonic() - began))
        late = InvalidInputError(
            f"the query took longer than {self._timeout_s or 0:g} s and was given up; read fewer rows, or give it "
            "longer (`guidestore sql --timeout SECONDS`)"
        )
        if not working.done():
            raise late
        try:
            return working.result()
        except duckdb.InterruptException as error:
            raise late from error

    def _stop(self, working: Future[Any]) -> None:
        self._con.interrupt()
        wait([working], _GRACE_S)
        if not working.done():
            working.add_done_callback(lambda _: self._con.close())


def _in_a_thread[T](work: Callable[[], T]) -> Future[T]:
    made: Future[T] = Future()

    def run() -> None:
        try:
            made.set_result(work())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=run, name="sql", daemon=True).start()
    return made


def _ask(
    store_root: Path | str,
    sql: str,
    at: int | str | None,
    timeout_s: float | None,
    take: Callable[[duckdb.DuckDBPyConnection, _Within], Any],
) -> QueryResult:
    storage = opened_storage(store_root)
    with _own_folder() as spill:
        con, current, version = _open(store_root, storage, at, spill)
        try:
            table = _run(con, sql, _Within(con, timeout_s), take)
            return QueryResult(table, version, current.version, head_of(storage, current.version) - current.version)
        finally:
            let_go(con)


@contextmanager
def _own_folder() -> Iterator[dict[str, str]]:
    """Settings of a folder for what a query cannot keep in memory: at most half of the free disk."""
    with tempfile.TemporaryDirectory(prefix="guidestore-sql-", ignore_cleanup_errors=True) as folder:
        most = shutil.disk_usage(folder).free // 2
        yield {"temp_directory": folder, "max_temp_directory_size": f"{most} bytes"}


def lag(store_root: Path | str) -> int:
    """Commits in the store that the index does not know yet; all of them if there is no index."""
    storage = storage_at(store_root)
    current = read_current(storage.local_folder / INDEX_FOLDER)
    version = current.version if current else 0
    return head_of(storage, version) - version


def head(store_root: Path | str, known: int = 0) -> int:
    """The newest commit number; `known` is one that there is."""
    return head_of(storage_at(store_root), known)


def head_of(storage: Storage, known: int = 0) -> int:
    """The newest commit number, found by probing names from the commit `known` on: commits have no gaps."""

    def exists(version: int) -> bool:
        return storage.size(f"commits/{version:012d}.json") is not None

    step = 1
    while exists(known + step):
        known += step
        step *= 2
    while step > 1:
        step //= 2
        if exists(known + step):
            known += step
    return known


def _open(
    root: Path | str, storage: Storage, at: int | str | None, spill: dict[str, str] | None = None
) -> tuple[duckdb.DuckDBPyConnection, Current, int]:
    folder = storage.local_folder / INDEX_FOLDER
    seen = None
    for _ in range(_ATTEMPTS):
        current = read_current(folder)
        if current is None:
            raise NotFoundInStoreError(f"the store {shown(root)} has no index yet; build it with `guidestore index`")
        if current == seen:
            break  # the catalog did not go away under us: it is not there
        seen = current
        if current.version and storage.size(f"commits/{current.version:012d}.json") is None:
            raise lost_end(str(folder), current.version)
        paths = current.paths(folder)
        try:
            if [path.stat().st_size for path in paths] != [part.size for part in current.parts]:
                break
        except FileNotFoundError:
            continue
        # A connection of its own per caller: connections made by file name would share one locked instance.
        con = duckdb.connect(config={**_OPEN, **(spill or {})})
        try:
            for number, path in enumerate(paths):
                name = "guidestore" if path == paths[-1] else f"part_{number}"
                con.execute("ATTACH '{}' AS {} (READ_ONLY)".format(str(path).replace("'", "''"), name))
            con.execute("USE guidestore")
        except duckdb.Error as error:
            con.close()
            if not all(path.exists() for path in paths):
                continue
            raise _damaged(current, error) from error
        try:
            return con, current, _set_up(con, current, at, _LOCK if spill else _LOCK_AND_NO_FILES)
        except BaseException:
            con.close()
            raise
    raise _damaged(seen)


def _damaged(current: Current | None, error: Exception | None = None) -> CorruptArtifactError:
    name = current.newest.name if current else "CURRENT"
    if current and current.duckdb != duckdb.__version__:
        why = f"was written by DuckDB {current.duckdb}, this is {duckdb.__version__}"
    elif error:
        why = f"cannot be opened ({_first_line(error)})"
    else:
        why = "is missing or not as long as it was written"
    return CorruptArtifactError(
        f"{INDEX_FOLDER}/{name} {why}; the index is disposable: build it again with `guidestore index`"
    )


def _set_up(con: duckdb.DuckDBPyConnection, current: Current, at: int | str | None, locks: tuple[str, ...]) -> int:
    """Chooses the snapshot and locks the connection down."""
    try:
        version = _resolve(con, current, at)
        con.execute(f"SET VARIABLE at_commit = {version}")
        con.execute(_SHOWN_AS)
        for lock in locks:
            con.execute(lock)
    except duckdb.Error as error:
        raise _damaged(current, error) from error
    return version


def _resolve(con: duckdb.DuckDBPyConnection, current: Current, at: int | str | None) -> int:
    if at is None:
        return current.version
    if str(at).isdigit():
        version = int(at)
    else:
        named = con.execute(
            "SELECT snapshot FROM tags WHERE name = $1 UNION ALL SELECT snapshot FROM aliases WHERE name = $1",
            [str(at)],
        ).fetchone()
        if named is None:
            known = con.execute("SELECT name FROM tags UNION SELECT name FROM aliases ORDER BY name").fetchall()
            names = ", ".join(name for (name,) in known) or "none yet"
            raise NotFoundInStoreError(
                f"the index has no tag or alias {str(at)!r}; known: {names} (`guidestore index` brings it up to date)"
            )
        version = named[0]
    if version > current.version:
        raise NotFoundInStoreError(
            f"the index ends at snapshot {current.version} and knows no snapshot {version}; run `guidestore index`, or "
            "choose an older one"
        )
    return version


def _run(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    within: _Within,
    take: Callable[[duckdb.DuckDBPyConnection, _Within], Any],
) -> Any:
    try:
        statements = con.extract_statements(sql)
        if not statements:
            raise InvalidInputError('the query is empty; try `guidestore sql "SHOW TABLES"`')
        for statement in statements:
            kind = statement.type.name
            if kind == "EXPLAIN" and (written := _WRITES.search(statement.query)):
                kind = written[0].upper()
            if kind not in _READS:
                raise InvalidInputError(
                    f"the index is read-only and {kind} does more than read: use SELECT or FROM; to keep a result, "
                    "write the command's output to a file"
                )
        if len(statements) > 1:
            raise InvalidInputError(
                f"the query has {len(statements)} statements, of which only the last would be answered: ask one at a "
                "time (a semicolon parts them)"
            )
        return take(con, within)
    except duckdb.Error as error:
        raise _as_sentence(con, error) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(" .!") if text else type(error).__name__


def _as_sentence(con: duckdb.DuckDBPyConnection, error: duckdb.Error) -> GuidestoreError:
    kind, _, message = _first_line(error).partition(": ")
    message = message or kind
    if isinstance(error, duckdb.PermissionException):
        return InvalidInputError("a query can neither read nor write files: it reads the views of the index alone")
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException) and "Table" in message:
        return InvalidInputError(f"{message}; the views are {', '.join(_views(con))}")
    if isinstance(error, duckdb.BinderException):
        rest = " ".join(line.strip() for line in str(error).splitlines()[1:2] if line.startswith("Candidate"))
        return InvalidInputError(f"{message}; {rest[:1].lower()}{rest[1:]}" if rest else message)
    if isinstance(error, duckdb.FatalException | duckdb.InternalException | duckdb.SerializationException):
        return CorruptArtifactError(
            f"the index is damaged ({message}); it is disposable: build it again with `guidestore index --rebuild`"
        )
    if isinstance(error, duckdb.IOException):
        return CorruptArtifactError(
            f"the index cannot be read ({message}); it is disposable: build it again with `guidestore index --rebuild`"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return InvalidInputError(
            f"the query needs more memory and disk than there is ({message}); read fewer rows or columns"
        )
    return InvalidInputError(message)


def _views(con: duckdb.DuckDBPyConnection) -> list[str]:
    with suppress(duckdb.Error):
        rows = con.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main' ORDER BY 1"
        ).fetchall()
        return [name for (name,) in rows]
    return []
