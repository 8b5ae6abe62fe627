"""Sweeps that were run, as the store remembers them: by name and by file, with the runs that they mean."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.row_source import RowSource


@dataclass(frozen=True, slots=True)
class StoredSweep:
    """A grid of heads that was run."""

    cohort: str
    name: str
    file: str
    """The sweep as canonical JSON."""
    snapshot: int
    """Commit number that its codes were read at."""
    runs: tuple[str, ...]
    """Ids of all runs that it means there."""
    created_at: str = ""
    """UTC, ISO 8601."""


def record_sweep(
    store: EmbeddingStore, *, cohort: str, name: str, file: str, snapshot: int, runs: Sequence[str]
) -> None:
    """Remembers a sweep that was run at `snapshot`; the same one run again changes nothing."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    row = {"cohort": cohort, "name": name, "snapshot": snapshot, "file": file, "runs": list(runs), "created_at": now}
    with store.begin(f"sweep {name}: {len(runs)} runs") as transaction:
        transaction.write_rows(
            "sweeps", [row], cohort=cohort, recipe={"sweep": name, "file": file, "runs": sorted(runs)}
        )


def stored_sweeps(snapshot: RowSource) -> list[StoredSweep]:
    """All sweeps, the oldest first."""
    columns = ("cohort", "name", "file", "snapshot", "created_at")
    rows = sorted(snapshot.rows("sweeps").to_pylist(), key=lambda row: row["created_at"] or "")
    return [StoredSweep(runs=tuple(row["runs"]), **{name: row[name] for name in columns}) for row in rows]
