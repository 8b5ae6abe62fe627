"""Cohorts in the store: from files, whose images are looked at, and their splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import ID_COLUMN, Table, TableRow, listed, read_table
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import labels_of, outcomes_of, targets_of
from guidestore.embeddings.plugins import names_object
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.lookups import check_cohort
from guidestore.flows.work.settings import validated
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.label_rules import LabelRules
from guidestore.warehouse.cohorts.labels import read_labels
from guidestore.warehouse.cohorts.layout import LAYOUTS, Layout, Progress, add_layout, own_layout
from guidestore.warehouse.cohorts.outcome_splits import draw_outcome_splits
from guidestore.warehouse.cohorts.reading import Reading
from guidestore.warehouse.cohorts.splits import Split


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


def layout_of(given: Any, fields: Mapping[str, Any]) -> Layout:
    """A layout by its name or ``module:Class`` and its fields, or an object that reads. Raises InvalidInputError."""
    if not isinstance(given, str):
        if isinstance(given, type) or not callable(getattr(given, "read", None)):
            what = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
            raise InvalidInputError(f"{what} is no layout; pass the name of one, or an object with read(reading)")
        if fields:
            raise InvalidInputError(f"the layout is an object, which has its fields; leave out {', '.join(fields)}")
        return given
    layout = own_layout(given) if names_object(given) else LAYOUTS.load(given)
    listed = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items() if value is not None
    }
    return validated(layout, **listed)


def add_split(
    store: EmbeddingStore,
    cohort: str,
    target: str,
    *,
    name: str,
    folds: int,
    seed: int,
    val_fraction: float,
    group: str = "",
    groups: Path | None = None,
) -> CohortReport:
    """Draws stratified folds over all cases of a cohort and commits them; the same draw again is a no-op.

    group: a column of the table `groups`, or a target of the cohort; cases that share its value stay together.
    """
    snapshot = store.snapshot()
    of, outcomes = outcomes_of(snapshot, cohort, target, KINDS)
    case_ids = snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist()
    of_case = _groups(snapshot, cohort, group, groups) if group else None
    split = Split(name, folds, seed, val_fraction)
    rows, issues = draw_outcome_splits(case_ids, of, outcomes, split, groups=of_case, grouped_by=group)
    tables = CohortTables(cohort, splits=rows, issues=tuple(issues))
    return add_cohort(store, tables, message=f"split {name} of {cohort}")


def add_labels(
    store: EmbeddingStore, cohort: str, labels: pa.Table, rules: LabelRules, *, supersede: bool = False
) -> CohortReport:
    """Commits labels of cases that the cohort has: a column ``case_id`` and those of the targets.

    Raises InvalidInputError naming row and column.
    """
    table = Table(Path("labels"), labels, np.arange(1, labels.num_rows + 1))
    if ID_COLUMN not in table.columns:
        raise InvalidInputError(
            f"the labels have no column {ID_COLUMN!r}, but {listed(table.columns) or 'none'}; name that of the case "
            "ids so"
        )
    table.check_rows()
    snapshot = store.snapshot()
    cohort = snapshot.first_name(cohort)
    check_cohort(snapshot, cohort)
    cases = set(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())

    def known(row: TableRow) -> str:
        if row[ID_COLUMN] not in cases:
            raise InvalidInputError(
                f"{row.where}, column {ID_COLUMN}: {row[ID_COLUMN]} is no case of cohort {cohort}; add its codes first"
            )
        return row[ID_COLUMN]

    table.ids()
    reading = Reading(cohort, targets=targets_of(snapshot, cohort))
    read = read_labels(table, table.chosen((), (), (ID_COLUMN,)), known, rules, reading)
    tables = CohortTables(
        cohort, targets=read.targets, labels=read.labels, unlabelled=read.unlabelled, issues=tuple(read.issues)
    )
    return add_cohort(store, tables, message=f"labels of {cohort}", supersede=supersede)


def _groups(snapshot: Snapshot, cohort: str, group: str, file: Path | None) -> dict[str, str]:
    """case_id -> its group. Raises GuidestoreError."""
    if file is None:
        return labels_of(snapshot, cohort, group)[1]
    table = read_table(file, (ID_COLUMN, group))
    found: dict[str, str] = {}
    for row, (case_id, text) in enumerate(zip(table.ids(), table.texts(group), strict=True)):
        if text and found.setdefault(case_id, text) != text:
            raise InvalidInputError(
                f"{table.where(row, group)}: case {case_id} is of {text!r} here and of {found[case_id]!r} before; a "
                "case has one group"
            )
    return found
