"""Sweeps that were run, as the store remembers them: by name, with the runs that they mean."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.runs import label_budget, load_runs
from guidestore.flows.sweeps.file import SweepFile, as_mapping
from guidestore.flows.sweeps.ranking import SweepRuns, sweep_runs


def record_sweep(store: EmbeddingStore, sweep: SweepFile, runs: Sequence[str], snapshot: int) -> None:
    """Remembers a sweep that was run at `snapshot`; the same one run again changes nothing."""
    file = canonical_json(as_mapping(sweep))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    row = {"cohort": sweep.cohort, "name": sweep.name, "snapshot": snapshot, "file": file, "runs": list(runs)}
    with store.begin(f"sweep {sweep.name}: {len(runs)} runs") as transaction:
        transaction.write_rows(
            "sweeps",
            [{**row, "created_at": now}],
            cohort=sweep.cohort,
            recipe={"sweep": sweep.name, "file": file, "runs": sorted(runs)},
        )


def sweep_names(snapshot: Snapshot) -> set[str]:
    """Names of the sweeps that the store remembers."""
    return set(snapshot.rows("sweeps")["name"].to_pylist())


def runs_of_sweep(store: EmbeddingStore, sweep: str | SweepFile) -> SweepRuns:
    """The stored runs of a sweep: of a name the newest sweep that was called so; of a file what was run of it, else
    what it means now. Raises NotFoundInStoreError, and InvalidInputError where none of its runs is there."""
    newest = store.snapshot()
    rows = newest.rows("sweeps").to_pylist()
    if isinstance(sweep, str):
        found = [row for row in rows if row["name"] == sweep]
        if not found:
            known = ", ".join(sorted(sweep_names(newest))) or "none yet"
            raise NotFoundInStoreError(f"there is no sweep {sweep!r} in the store; it has {known}")
    else:
        file = canonical_json(as_mapping(sweep))
        found = [row for row in rows if row["file"] == file]
        if not found:
            return sweep_runs(store, sweep)
    facts = load_runs(newest, max(found, key=lambda row: row["created_at"])["runs"])[0]
    return SweepRuns(facts, {fact["run"]: label_budget(fact) for fact in facts})
