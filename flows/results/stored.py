"""The stored runs that a selection means."""

from __future__ import annotations

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.runs import Part, Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.encoding.lookups import check_cohort
from guidestore.flows.results.selection import RunSelection
from guidestore.warehouse.runs import HOW_TO_GET_RUNS, all_runs, load_runs, newest_runs


def selected_runs(snapshot: Snapshot, selection: RunSelection, part: Part) -> list[Run]:
    """The newest run of each head, fold and seed that is selected. Raises NotFoundInStoreError where there is none."""
    if unmet := selection.unmet(all_runs(snapshot)):
        check_cohort(snapshot, selection.cohort)
        raise NotFoundInStoreError(f"{unmet}; {HOW_TO_GET_RUNS}")
    ids = [trained.id for trained in newest_runs(snapshot, selection.wants, part).values()]
    return load_runs(snapshot, ids)
