"""Cohorts from the command line: read a layout, hide ids where asked, commit; draw splits."""

from __future__ import annotations

from pathlib import Path

from embeddings.pairing import labels_of
from embeddings.store import EmbeddingStore
from warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from warehouse.cohorts.pseudonyms import Pseudonyms
from warehouse.cohorts.radpath import read_radpath
from warehouse.cohorts.splits import draw_splits


def add_radpath(
    store: EmbeddingStore, cohort: str, folder: Path, *, root: Path | None = None, key_file: Path | None = None
) -> CohortReport:
    """Adds a folder in the RadPath layout. `root` and `key_file`: to pseudonymize. Raises InvalidInputError."""
    tables = read_radpath(folder, cohort=cohort)
    if key_file is not None and root is not None:
        tables = Pseudonyms.load_or_create(key_file, root).hide(store, tables)
    return add_cohort(store, tables)


def add_split(
    store: EmbeddingStore, cohort: str, target: str, *, name: str, folds: int, seed: int, val_fraction: float
) -> CohortReport:
    """Draws stratified folds over all cases of a cohort and commits them; the same draw again is a no-op."""
    snapshot = store.snapshot()
    _, labels = labels_of(snapshot, cohort, target)
    case_ids = snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist()
    rows = draw_splits(case_ids, labels, name=name, folds=folds, seed=seed, val_fraction=val_fraction)
    return add_cohort(store, CohortTables(cohort, splits=rows), message=f"split {name} of {cohort}")
