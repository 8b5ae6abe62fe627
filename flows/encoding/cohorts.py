"""Cohorts in the store: from files, whose images are looked at, and their splits."""

from __future__ import annotations

from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.layout import Layout, Progress, add_layout
from guidestore.warehouse.cohorts.splits import draw_splits


def add_files(
    store: EmbeddingStore,
    cohort: str,
    layout: Layout,
    progress: Progress | None = None,
    *,
    supersede: bool = False,
    dry_run: bool = False,
) -> CohortReport:
    """`add_layout`, with what the header of each image says about its pixels."""
    from guidestore.encoders.examine import examine

    return add_layout(store, cohort, layout, progress, examine, supersede=supersede, dry_run=dry_run)


def add_split(
    store: EmbeddingStore, cohort: str, target: str, *, name: str, folds: int, seed: int, val_fraction: float
) -> CohortReport:
    """Draws stratified folds over all cases of a cohort and commits them; the same draw again is a no-op."""
    snapshot = store.snapshot()
    _, labels = labels_of(snapshot, cohort, target)
    case_ids = snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist()
    rows = draw_splits(case_ids, labels, name=name, folds=folds, seed=seed, val_fraction=val_fraction)
    return add_cohort(store, CohortTables(cohort, splits=rows), message=f"split {name} of {cohort}")
