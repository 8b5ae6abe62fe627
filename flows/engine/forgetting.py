"""Rows of Prefect's database that name a withdrawn case: logs, artifacts, messages and events of runs."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from guidestore.embeddings.errors import StorageError
from guidestore.flows.engine.secrets import FILE

WAIT_SECONDS = 60.0
"""For a server that is writing."""
_ROWS = {
    "log": ("message",),
    "artifact": ("data", "description"),
    "artifact_collection": ("data", "description"),
    "events": ("payload", "resource", "related"),
    "event_resources": ("resource",),
}
"""Table -> columns of text: a row of it that names the case goes."""
_MESSAGES = ("flow_run_state", "task_run_state")
"""Tables whose rows other rows need: their message goes."""


def own_database(home: Path | None = None) -> Path | None:
    """The database of servers that `guidestore serve` starts (home: PREFECT_HOME, else ~/.prefect); None: none yet."""
    home = home or Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    database = home / "prefect.db"
    return database if (home / FILE).is_file() and database.is_file() else None


def forget_case(database: Path, case_id: str) -> int:
    """Takes out what names the case, and overwrites it; says how many rows. The server may go on running.

    A name counts where it stands by itself: ``case-1`` is not in ``case-10``. Raises StorageError.
    """
    alone = re.compile(rf"(?<![A-Za-z0-9._+=-]){re.escape(case_id)}(?![A-Za-z0-9_+=-]|\.[A-Za-z0-9])")
    try:
        with closing(sqlite3.connect(database, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.create_function("names", 1, lambda text: bool(text and alone.search(str(text))))
            connection.execute("PRAGMA secure_delete = ON")
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            connection.execute("BEGIN IMMEDIATE")
            changed = 0
            for table, columns in _ROWS.items():
                if table in there:
                    named = " OR ".join(f"names({column})" for column in columns)
                    changed += connection.execute(f"DELETE FROM {table} WHERE {named}").rowcount
            for table in _MESSAGES:
                statement = f"UPDATE {table} SET message = 'a withdrawn case' WHERE names(message)"
                changed += connection.execute(statement).rowcount
            connection.execute("COMMIT")
            if changed:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StorageError(
            f"{database} still has rows that name the case ({error}): stop `guidestore serve`, and run the purge again"
        ) from error
    return changed
