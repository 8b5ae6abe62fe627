"""Draws splits of targets of every kind: each fold has its share of events and times, values, grades, labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import Outcome, Target, known_of, strata_of
from guidestore.embeddings.types import PARTS
from guidestore.embeddings.words import count_of
from guidestore.warehouse.cohorts.cohort import CohortIssue
from guidestore.warehouse.cohorts.iterative import deal
from guidestore.warehouse.cohorts.splits import Rows, Split, draw_splits, grouped, rows_of

VALUE_BINS = (10, 8, 6, 5, 4, 3, 2, 1)
TIME_BINS = (4, 3, 2, 1)
"""Tried from the most on: as many as the folds leave cases for."""


def draw_outcome_splits(
    case_ids: Iterable[str],
    target: Target,
    outcomes: Mapping[str, Outcome],
    split: Split,
    *,
    groups: Mapping[str, str] | None = None,
    grouped_by: str = "",
) -> tuple[Rows, list[CohortIssue]]:
    """Rows of kind splits as `splits.draw_splits` gives them, and what parts of folds lack.

    Stratified by class; by grade, rare ones with their neighbours; by bins of the value; by event and bins of time; by
    all labels at once (`iterative`). outcomes: case_id -> its outcome; cases without one go to train. Raises
    InvalidInputError where there is nothing to learn, or too little for the folds.
    """
    everyone = sorted(set(case_ids))
    y = target.y_of(outcomes, everyone)
    known = known_of(y)
    _check(target, y[known], split)
    if target.kind == "multilabel":
        rows = _draw_labels(everyone, y, known, split, groups, grouped_by)
    else:
        rows = _draw_strata(everyone, target, y, known, split, groups, grouped_by)
    return rows, _lacking(rows, target, dict(zip(everyone, y, strict=True)))


def _check(target: Target, y: np.ndarray, split: Split) -> None:
    """Raises InvalidInputError where no draw can help."""
    where = f"split {split.name}"
    if not len(y):
        raise InvalidInputError(f"{where}: no case has a label to stratify by; name another target")
    if target.kind == "survival":
        events = int(y[:, 1].sum())
        if events < split.folds:
            why = f"all {len(y)} cases of {target.name} are censored" if not events else (
                f"{target.name} has {count_of(events, 'event')}, too few for {split.folds} folds"
            )  # fmt: skip
            raise InvalidInputError(f"{where}: {why}; give more events, or draw fewer folds")
    if target.kind == "value":
        if len(y) < 2 * split.folds:
            raise InvalidInputError(
                f"{where}: {count_of(len(y), 'case')} of {target.name}, too few for {split.folds} folds; draw fewer "
                "folds"
            )
        if y.min() == y.max():
            raise InvalidInputError(
                f"{where}: all {len(y)} cases have the value {y[0]:g} of {target.name}, so that nothing can be learnt "
                "of it; name another target"
            )


def _draw_strata(
    case_ids: list[str],
    target: Target,
    y: np.ndarray,
    known: np.ndarray,
    split: Split,
    groups: Mapping[str, str] | None,
    grouped_by: str,
) -> Rows:
    of_case = None if groups is None else grouped(case_ids, groups, grouped_by, split)
    failed: InvalidInputError | None = None
    drawn: Rows = []
    y_of = dict(zip(case_ids, y, strict=True))
    for by, strata in _strata(target, y, known, split.folds):
        labels = {case_ids[row]: strata(int(row)) for row in np.flatnonzero(known)}
        try:
            rows = draw_splits(case_ids, labels, split, groups=of_case, grouped_by=grouped_by, by=by)
        except InvalidInputError as error:
            failed = error
            continue
        if not _lacking(rows, target, y_of):
            return rows
        drawn = drawn or rows  # coarser strata may leave an event, or a grade, to each part
    if drawn:
        return drawn
    if failed and target.kind == "classes":
        raise failed
    what = f"groups of {grouped_by}" if groups is not None else "cases"
    raise InvalidInputError(
        f"split {split.name}: {target.name} has too few {what} with an outcome for {split.folds} folds and a val part; "
        "draw fewer folds"
    ) from failed


def _strata(target: Target, y: np.ndarray, known: np.ndarray, folds: int) -> Iterable[tuple[str, Callable[[int], str]]]:
    """How a split is said to be stratified, and row -> its stratum; the finest first."""
    if target.kind == "classes":
        yield "", lambda row: target.names[y[row]]
    elif target.kind == "ordinal":
        yield "", lambda row: target.names[y[row]]
        joined = _joined(y[known], len(target.names), folds)
        if len(set(joined)) < len(target.names):
            yield " by grade, rare ones with their neighbours", lambda row: f"{joined[y[row]]:03d}"
        yield " whatever the grade", lambda row: "any"
    elif target.kind == "value":
        for bins in VALUE_BINS:
            of = strata_of("value", y, known, bins=bins)
            yield f" by {count_of(bins, 'bin')} of {target.name}", lambda row, of=of: f"{of[row]:03d}"
    else:
        for bins in TIME_BINS:
            of = strata_of("survival", y, known, time_bins=bins)
            yield f" by event and {count_of(bins, 'bin')} of time", lambda row, of=of: f"{of[row]:03d}"
        yield " by event", lambda row: "event" if y[row, 1] else "censored"
        yield " whatever the event", lambda row: "any"


def _joined(grades: np.ndarray, n: int, folds: int) -> list[int]:
    """Grade -> its stratum: neighbours are one until it has a case for each fold, and one more for val."""
    strata, stratum, held = [], 0, 0
    for count in np.bincount(grades, minlength=n):
        strata.append(stratum)
        held += count
        if held > folds:
            stratum, held = stratum + 1, 0
    return [min(of_grade, max(stratum - 1, 0)) for of_grade in strata]


def _draw_labels(
    case_ids: list[str],
    y: np.ndarray,
    known: np.ndarray,
    split: Split,
    groups: Mapping[str, str] | None,
    grouped_by: str,
) -> Rows:
    labelled = [case_ids[row] for row in np.flatnonzero(known)]
    of_case = grouped(case_ids, groups, grouped_by, split) if groups is not None else {case: case for case in case_ids}
    members: dict[str, list[int]] = defaultdict(list)
    for row in np.flatnonzero(known):
        members[of_case[case_ids[row]]].append(int(row))
    names = sorted(members)
    if len(names) < 2 * split.folds:
        what = f"groups of {grouped_by}" if groups is not None else "cases"
        raise InvalidInputError(
            f"split {split.name}: {len(names)} {what}, too few for {split.folds} folds; draw fewer folds"
        )
    has = np.concatenate([y == 1, y == 0], axis=1).astype(float)
    counts = np.array([has[members[name]].sum(axis=0) for name in names])
    sizes = np.array([len(members[name]) for name in names], dtype=float)
    rng = np.random.default_rng(split.seed)
    fold_of = deal(counts, sizes, np.full(split.folds, 1 / split.folds), rng)
    by = f" by all labels at once{f', grouped by {grouped_by} ({len(names)} groups)' * (groups is not None)}"
    rows: Rows = []
    for fold in range(split.folds):
        rest = np.flatnonzero(fold_of != fold)
        shares = np.array([1 - split.val_fraction, split.val_fraction])
        in_val = deal(counts[rest], sizes[rest], shares, rng) == 1
        part_of_group = dict.fromkeys(names, "test") | {
            names[place]: "val" if val else "train" for place, val in zip(rest, in_val, strict=True)
        }
        part_of = {case: part_of_group.get(of_case[case], "train") for case in case_ids}
        rows += rows_of(split, fold, part_of, by, len(labelled))
    return rows


def _lacking(rows: Rows, target: Target, y_of: Mapping[str, Any]) -> list[CohortIssue]:
    """What parts of folds have none of, although a head needs it to be trained or judged."""
    members: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for row in rows:
        members[row["fold"], row["part"]].append(y_of[row["case_id"]])
    there = set(map(int, y_of.values())) if target.has_classes else set()
    said = []
    for fold in sorted({fold for fold, _ in members}):
        for part in PARTS:
            y = np.array(members.get((fold, part), [target.missing(1)[0]]))
            if lacks := _lacks(target, y[known_of(y)], there):
                said.append((f"{fold}", f"fold {fold} has {lacks} in {part}"))
    if not said:
        return []
    sentence = (
        f"{'; '.join(text for _, text in said)}: what needs it is not told there, so draw fewer folds or another seed"
    )
    return [CohortIssue("lacking folds", sentence, tuple(fold for fold, _ in said))]


def _lacks(target: Target, y: np.ndarray, there: set[int]) -> str:
    """What these outcomes have none of; '' for nothing. there: the classes or grades that some case has."""
    if not len(y):
        return "no case with an outcome"
    if target.kind == "survival":
        return "" if y[:, 1].any() else "no event"
    if target.kind == "value":
        return "" if len(np.unique(y)) > 1 else "one value alone"
    if target.kind == "multilabel":
        none = [name for name, column in zip(target.names, y.T, strict=True) if not {0.0, 1.0} <= set(column.tolist())]
        return f"not both of {' and of '.join(none)}" if none else ""
    absent = [name for index, name in enumerate(target.names) if index in there and index not in y]
    return f"no {' and no '.join(absent)}" if absent else ""
