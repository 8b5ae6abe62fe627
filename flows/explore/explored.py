"""A store as the page reads it: the index at a snapshot, and what was worked out from it, once for all who ask."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from guidestore.embeddings.current import INDEX_FOLDER, Current, read_current
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.tables import conformed
from guidestore.warehouse.catalog import beside, lag, let_go, open_catalog, query_on

TIMEOUT_S = 20.0
"""Of one question: a link may hold any SQL."""
VIEWS = 3
"""Snapshots that are kept open: one that is looked at, and two that are compared."""
MEMORY = "800MiB"
"""Of DuckDB for one of them; the rest goes to disk."""
KEPT = 200
"""Answers that are kept of a snapshot."""


def quoted(name: str) -> str:
    """A name of SQL."""
    return '"{}"'.format(name.replace('"', '""'))


def literal(text: str) -> str:
    """A text of SQL."""
    return "'{}'".format(text.replace("'", "''"))


class Once:
    """Answers by their question, each worked out once, however many ask at the same time; the oldest are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[threading.Lock, list[Any]]] = OrderedDict()

    def __call__[T](self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` gave first. What raised is tried again."""
        with self._lock:
            lock, answer = self._known.setdefault(key, (threading.Lock(), []))
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        with lock:
            if not answer:
                answer.append(work())
        return answer[0]


class View:
    """The index at one snapshot. Connections look at the same catalog, whatever newer ones are built meanwhile."""

    def __init__(self, place: str, at: str, opened: Callable[[int], Snapshot]) -> None:
        # Else DuckDB would keep every code that was once looked at, up to half of the machine's memory.
        spill = tempfile.mkdtemp(prefix="guidestore-explore-")
        weakref.finalize(self, shutil.rmtree, spill, True)
        limits = {"memory_limit": MEMORY, "temp_directory": spill}
        self._con = open_catalog(place, at or None, limits)
        (self.version,) = self._con.execute("SELECT getvariable('at_commit')").fetchall()[0]
        self._opened = opened
        self._lock = threading.Lock()
        self.once = Once(KEPT)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The same in the store itself, whose log takes long to read where it is long: bags are read from here."""
        return self._opened(self.version)

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """One of its own for who asks; tables in `memory` are shared."""
        with self._lock:
            con = beside(self._con, self.version)
        try:
            yield con
        finally:
            let_go(con)

    def table(self, sql: str) -> pa.Table:
        """What a SELECT gives, under the limits of `guidestore sql` and TIMEOUT_S. Raises InvalidInputError."""
        with self.connection() as con:
            return query_on(con, sql, timeout_s=TIMEOUT_S)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """Rows of `table`."""
        return self.table(sql).to_pylist()

    def rows(self, kind: str, **equal: str) -> pa.Table:
        """All rows of a kind at this snapshot, as `Snapshot.rows` has them, with cohorts as they are shown."""
        where = "".join(f" AND {quoted(name)} = {literal(value)}" for name, value in equal.items())
        columns = ", ".join(quoted(name) for name in SCHEMAS[kind].names)
        with self.connection() as con:
            found = con.sql(f"SELECT {columns} FROM shown.{kind} WHERE is_live(added_at, removed_at){where}")
            table = found.to_arrow_table()
        return conformed(table, SCHEMAS[kind])


class Explored:
    """A store with its index, and the snapshots of it that are looked at."""

    def __init__(self, place: str, key: Path | None = None) -> None:
        self.place = place
        self.key = key
        """Of pseudonymized cohorts, beside which the paths of their images lie."""
        self.store = EmbeddingStore.open(place)
        self._lock = threading.Lock()
        self._current: Current | None = None
        self._views = Once(VIEWS)

    def view(self, at: str = "") -> View:
        """The index at a snapshot, tag or alias; '': the newest that it knows. Raises NotFoundInStoreError."""
        current = read_current(self.store.storage.local_folder / INDEX_FOLDER)
        with self._lock:
            if current != self._current:  # a newer index: a case may have been purged from every snapshot
                self._current, self._views = current, Once(VIEWS)
            views = self._views
        newest = views("", lambda: View(self.place, "", self._snapshot))
        if at in ("", str(newest.version)):
            return newest
        return views(at, lambda: View(self.place, at, self._snapshot))

    def _snapshot(self, version: int) -> Snapshot:
        self.store.log.refresh()
        return self.store.snapshot(version)

    @property
    def lag(self) -> int:
        """Commits that the index does not know yet."""
        return lag(self.place)
