"""Cohorts from the command line: read a layout, hide ids where asked, commit; draw splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.derm7pt import read_derm7pt
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.cohorts.radpath import read_radpath
from guidestore.warehouse.cohorts.splits import draw_splits, keep_standing


def add_radpath(
    store: EmbeddingStore,
    cohort: str,
    folder: Path,
    *,
    labels: Path | None = None,
    splits: int = 0,
    seed: int = 0,
    root: Path | str | None = None,
    key_file: Path | None = None,
) -> CohortReport:
    """Adds a folder in the RadPath layout, or what is new in it; the same again is a no-op.

    labels, splits, seed: see `read_radpath`; folds that the store has stay as they are. `root` and `key_file`: to
    pseudonymize, issues included. Raises InvalidInputError.
    """
    if key_file is not None and root is None:
        raise InvalidInputError(f"the key {key_file} was given without the store's folder; pass root too")
    pseudonyms = Pseudonyms.load_or_create(key_file, root) if key_file and root else None
    tables = read_radpath(
        folder, cohort=cohort, labels=labels, splits=splits, seed=seed, name_of=pseudonyms.case if pseudonyms else str
    )
    if pseudonyms:
        tables = pseudonyms.hide(store, tables)
    standing = store.snapshot().rows("splits", cohort=cohort).to_pylist()
    return add_cohort(store, replace(tables, splits=keep_standing(list(tables.splits), standing)))


def add_derm7pt(store: EmbeddingStore, cohort: str, folder: Path) -> CohortReport:
    """Adds the folder release_v0 of Derm7pt, or what is new in it; the same again is a no-op.

    Raises InvalidInputError; see `read_derm7pt`.
    """
    return add_cohort(store, read_derm7pt(folder, cohort=cohort))


def add_split(
    store: EmbeddingStore, cohort: str, target: str, *, name: str, folds: int, seed: int, val_fraction: float
) -> CohortReport:
    """Draws stratified folds over all cases of a cohort and commits them; the same draw again is a no-op."""
    snapshot = store.snapshot()
    _, labels = labels_of(snapshot, cohort, target)
    case_ids = snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist()
    rows = draw_splits(case_ids, labels, name=name, folds=folds, seed=seed, val_fraction=val_fraction)
    return add_cohort(store, CohortTables(cohort, splits=rows), message=f"split {name} of {cohort}")
