"""Cohorts in the store: from files, whose images are looked at, and their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from guidestore.embeddings.alike import plain_word
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import (
    ID_COLUMN,
    MISSING,
    Table,
    TableRow,
    listed,
    means_missing,
    read_table,
)
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import labels_of, outcomes_of, targets_of
from guidestore.embeddings.plugins import names_object
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.lookups import check_cohort
from guidestore.flows.work.settings import validated
from guidestore.warehouse.cohorts.cohort import CohortIssue, CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.label_rules import LabelRules
from guidestore.warehouse.cohorts.labels import read_labels
from guidestore.warehouse.cohorts.layout import LAYOUTS, Layout, Progress, add_layout, own_layout
from guidestore.warehouse.cohorts.outcome_splits import draw_outcome_splits
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.cohorts.reading import Reading, itself
from guidestore.warehouse.cohorts.splits import Split

_SHOWN = 5
_MUCH = 1.2
"""Of a fold's share of the cases: a group above it makes folds unequal."""


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
    groups: Path | pa.Table | None = None,
    id_column: str = ID_COLUMN,
    key: Path | None = None,
) -> CohortReport:
    """Draws stratified folds over all cases of a cohort and commits them; the same draw again is a no-op.

    group: a column of the table `groups`, whose ids stand in `id_column`, or a target of the cohort; cases that share
    its value, or whose values a reader would take for one, stay together. key: file of the key by which the ids of the
    cohort, and not those of `groups`, are hidden.
    """
    if groups is not None and not group:
        raise InvalidInputError("nobody said which column of the groups keeps cases together; name it with --group")
    snapshot = store.snapshot()
    of, outcomes = outcomes_of(snapshot, cohort, target, KINDS)
    case_ids = snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist()
    split = Split(name, folds, seed, val_fraction)
    of_case, issues_of_groups = (
        _groups(snapshot, cohort, group, groups, id_column, Pseudonyms.load(key).case if key else itself)
        if group
        else (None, [])
    )
    if of_case:
        issues_of_groups = [*issues_of_groups, *_odd_groups(of_case, case_ids, group, folds)]
    rows, issues = draw_outcome_splits(case_ids, of, outcomes, split, groups=of_case, grouped_by=group)
    tables = CohortTables(cohort, splits=rows, issues=(*issues_of_groups, *issues))
    return add_cohort(store, tables, message=f"split {name} of {cohort}")


def add_labels(
    store: EmbeddingStore,
    cohort: str,
    labels: pa.Table,
    rules: LabelRules,
    *,
    drop: Sequence[str] = (),
    id_column: str = ID_COLUMN,
    supersede: bool = False,
) -> CohortReport:
    """Commits labels of cases that the cohort has: the column `id_column` and those of the targets, but for `drop`.

    Raises InvalidInputError naming row and column.
    """
    table = Table(Path("labels"), labels, np.arange(1, labels.num_rows + 1))
    if id_column not in table.columns:
        raise InvalidInputError(
            f"the labels have no column {id_column!r}, but {listed(table.columns) or 'none'}; --id-column says which "
            "one holds the case ids"
        )
    table = table if id_column == ID_COLUMN else table.renamed(id_column, ID_COLUMN)
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
    read = read_labels(table, table.chosen((), drop, (ID_COLUMN,)), known, rules, reading)
    tables = CohortTables(
        cohort, targets=read.targets, labels=read.labels, unlabelled=read.unlabelled, issues=tuple(read.issues)
    )
    return add_cohort(store, tables, message=f"labels of {cohort}", supersede=supersede)


def _groups(
    snapshot: Snapshot,
    cohort: str,
    group: str,
    groups: Path | pa.Table | None,
    id_column: str,
    name_of: Callable[[str], str],
) -> tuple[dict[str, str], list[CohortIssue]]:
    """case_id -> its group; cases whose group is a word for a missing one have none. Raises GuidestoreError."""
    if groups is None:
        known = sorted(targets_of(snapshot, cohort))
        if group not in known:
            raise InvalidInputError(
                f"{group} is no target of cohort {cohort}, which has {', '.join(known) or 'none'}; name the table that "
                "has it as a column with --groups"
            )
        return labels_of(snapshot, cohort, group)[1], []
    if not isinstance(groups, Path):
        table = Table(Path("groups"), groups, np.arange(1, groups.num_rows + 1))
        table.check_columns((id_column, group))
    else:
        table = read_table(groups, (id_column, group), id_column=id_column)
    texts, ids = table.texts(group), [name_of(case_id) for case_id in table.ids(id_column)]
    cases = set(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())
    if cases.isdisjoint(ids):
        hidden = any(snapshot.rows("cohorts", cohort=cohort)["pseudonymized"].to_pylist())
        raise InvalidInputError(
            f"{table.file.name}, column {id_column}: none of its ids (such as {min(ids, default='none')}) is a case of "
            f"cohort {cohort} (such as {min(cases)}); "
            + ("name the key that hid them with --key" if hidden else "write them as the cohort has them")
        )
    missing = means_missing(texts, MISSING)
    found: dict[str, str] = {}
    for row, (case_id, text) in enumerate(zip(ids, texts, strict=True)):
        if text not in missing and found.setdefault(case_id, text) != text:
            raise InvalidInputError(
                f"{table.where(row, group)}: case {case_id} is of {text!r} here and of {found[case_id]!r} before; a "
                "case has one group"
            )
    return _joined(found, group)


def _joined(groups: dict[str, str], group: str) -> tuple[dict[str, str], list[CohortIssue]]:
    """`groups` with those as one that a reader would take for one: apart, they could put a patient into two parts."""
    alike: dict[str, set[str]] = {}
    for text in groups.values():
        alike.setdefault(plain_word(text), set()).add(text)
    several = [sorted(texts) for texts in alike.values() if len(texts) > 1]
    first = {text: texts[0] for texts in several for text in texts}
    shown = "; ".join(" and ".join(map(repr, texts)) for texts in several[:_SHOWN])
    sentence = f"values of {group} that differ in their writing alone count as one group: {shown}"
    issues = [CohortIssue("alike groups", sentence + "; …" * (len(several) > _SHOWN), tuple(first))] * bool(several)
    return {case_id: first.get(text, text) for case_id, text in groups.items()}, issues


def _odd_groups(groups: Mapping[str, str], case_ids: Sequence[str], group: str, folds: int) -> list[CohortIssue]:
    """Groups that hold nothing together, or too much for a fold."""
    sizes = Counter(groups[case_id] for case_id in case_ids if case_id in groups)
    largest, size = max(sizes.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    if size == 1:
        sentence = f"each case has a {group} of its own, so that none are kept together; is it the right column?"
    elif size * folds > len(case_ids) * _MUCH:
        sentence = (
            f"{group} {largest} has {size} of {count_of(len(case_ids), 'case')}, more than one of {folds} folds "
            "should, so the parts are of very different sizes"
        )
    else:
        return []
    return [CohortIssue("odd groups", sentence, (largest,))]
