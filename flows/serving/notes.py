"""What a run's log, which Prefect keeps, says of the notes of a report: how many cases, and not which."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow.compute as pc
from prefect import get_run_logger

from guidestore.embeddings.snapshot import Snapshot

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+=-]*[A-Za-z0-9_+=-])?")
"""As `check_name` has them, but for a full stop behind one."""
_OF_CASES = {"cases": "case_id", "splits": "case_id", "labels": "case_id", "images": "image_id"}
"""Kind of rows -> the column of what is of a case; ids of codes are in the log of the store."""


def log_notes(notes: Iterable[str], snapshot: Snapshot) -> None:
    """Writes each note into the run's log, with … for whatever names a case or an image of the snapshot."""
    notes, log = list(notes), get_run_logger()
    named = _named(notes, snapshot) if notes else frozenset[str]()
    for note in notes:
        log.info("note: %s", _NAME.sub(lambda word: "…" if word[0] in named else word[0], note))


def _named(notes: Iterable[str], snapshot: Snapshot) -> frozenset[str]:
    words = list({word for note in notes for word in _NAME.findall(note)})
    known = [(snapshot.table, "case_id"), (snapshot.table, "image_id")]
    known += [(snapshot.rows(kind), column) for kind, column in _OF_CASES.items()]
    return frozenset(
        name for rows, column in known for name in rows.filter(pc.field(column).isin(words))[column].to_pylist()
    )
