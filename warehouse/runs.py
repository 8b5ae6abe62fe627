"""Stored runs as types: runs and their scores by id, the newest of each head and unit, who was scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.records import Entry
from guidestore.embeddings.runs import Head, Part, Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.tables import read_table
from guidestore.warehouse.row_source import RowSource

HOW_TO_GET_RUNS = (
    "train some with `guidestore guide`, or score those of a sweep on test with `guidestore sweep show FILE --test N`"
)
"""For sentences about runs that are not there, or that a sweep left unscored on test."""

Scores = Mapping[tuple[str, str], float]
"""(run, metric) -> value on one part."""


def all_runs(snapshot: RowSource) -> list[Run]:
    """All runs, in the order in which they were committed."""
    return [Run.from_row(row) for row in snapshot.rows("runs").to_pylist()]


def run_of(snapshot: Snapshot, entry: Entry) -> Run:
    """The run of an entry of kind ``run``; reads that one's file alone."""
    (file,) = [file for file in entry.files if file.path.startswith("objects/rows/runs/")]
    rows = read_table(snapshot.storage, file).to_pylist()
    return Run.from_row(next(row for row in rows if row["run"] == entry.artifact))


def load_runs(snapshot: RowSource, ids: Iterable[str]) -> list[Run]:
    """The runs with these ids, in the order of the store. Raises NotFoundInStoreError where none of them is there."""
    wanted = pa.array(list(dict.fromkeys(ids)), pa.string())
    rows = snapshot.rows("runs").filter(pc.field("run").isin(wanted)).to_pylist()
    if not rows:
        raise NotFoundInStoreError(f"there are no such runs to evaluate; {HOW_TO_GET_RUNS}")
    return [Run.from_row(row) for row in rows]


def load_scores(snapshot: RowSource, runs: Iterable[Run], part: Part = "test") -> Scores:
    """Stored metrics of these runs on a part."""
    wanted = pa.array([run.id for run in runs], pa.string())
    rows = snapshot.rows("metrics").filter(pc.field("run").isin(wanted) & (pc.field("part") == part)).to_pylist()
    return {(row["run"], row["metric"]): row["value"] for row in rows}


def scored_runs(snapshot: RowSource, part: Part) -> set[str]:
    """Ids of the runs that have metrics on `part`; a sweep leaves test alone until heads were chosen."""
    metrics = snapshot.rows("metrics")
    return set(metrics.filter(pc.field("part") == part)["run"].unique().to_pylist())


def newest_runs(
    snapshot: RowSource, wanted: Callable[[Run], bool], part: Part = "test"
) -> dict[tuple[Head, tuple[str, int, int]], Run]:
    """(head, unit) -> its newest run, of those that are wanted and were scored on `part` (or have diverged)."""
    newest: dict[tuple[Head, tuple[str, int, int]], Run] = {}
    scored = scored_runs(snapshot, part)
    for run in all_runs(snapshot):
        if wanted(run) and (run.id in scored or run.status != "ok"):
            known = newest.get((run.head, run.unit))
            if known is None or known.snapshot <= run.snapshot:
                newest[run.head, run.unit] = run
    return newest
