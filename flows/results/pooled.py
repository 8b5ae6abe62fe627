"""Several targets of one cohort as one question: the mean gain of a guided row over them, and one verdict.

Cases are drawn jointly: a case that a draw holds twice counts twice in every target. A run and its namesakes of the
other targets (same row, models, control, permutation, fold and seed) count as one run, whose metric is the mean of
theirs; what is said of a single target is then said of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Head, Run, RunPredictions
from guidestore.embeddings.words import count_of
from guidestore.flows.results.effects import INSTEAD, METRIC, ComparisonGroup, RowEffect, comparison_groups, main_metric
from guidestore.flows.results.few_cases import few_note
from guidestore.heads.significance import MARGIN, DrawnMetrics, GuidedRow, Rival, draw_metrics, guidance_effect
from guidestore.heads.significance.intervals import interval_of


def pooled_effects(
    runs: Iterable[Run],
    predictions: Mapping[str, RunPredictions],
    *,
    metric: str = "",
    margin: float = MARGIN,
) -> list[RowEffect]:
    """For each guided head that two targets or more have, its effect over all of them; metric: '' for the main one.

    The target of the heads is `N targets: A, B, …`. Raises InvalidInputError where no head has two targets.
    """
    groups: dict[Head, list[ComparisonGroup]] = {}
    with threadpool_limits(1):
        for group in comparison_groups(runs, predictions):
            groups.setdefault(replace(group.head, target=""), []).append(group)
        several = {head: members for head, members in groups.items() if len(members) > 1}
        if not several:
            raise InvalidInputError(
                "no guided head was trained for two targets or more, so there is nothing to pool; train it for several "
                "(`guidestore guide … --target A --target B`)"
            )
        return [_pooled(head, members, metric, margin) for head, members in several.items()]


def _pooled(head: Head, groups: Sequence[ComparisonGroup], metric: str, margin: float) -> RowEffect:
    usable, notes, narrow = [], [], True
    for group in groups:
        few, can_tell = few_note(group.common)
        if group.row is None or not can_tell:
            notes.append(f"{group.head.target} is left out: {group.note if group.row is None else few}")
        else:
            usable.append(group)
            narrow = narrow and bool(few)
            notes += [f"{group.head.target}: {few}"] if few else []
    names = ", ".join(group.head.target for group in usable)
    head = replace(head, target=f"{count_of(len(usable), 'target')}: {names}")
    if len(usable) < 2:
        return RowEffect(head, metric or METRIC, 0, 0, None, "; ".join(notes))
    if len({group.kind for group in usable}) > 1:
        notes.append("its targets are of different kinds, whose metrics have no common mean")
        return RowEffect(head, metric or METRIC, 0, 0, None, "; ".join(notes))
    metrics = {main_metric(group.common) for group in usable}
    metric = metric or (INSTEAD if INSTEAD in metrics else metrics.pop())
    cases = {case for group in usable for run in group.common for case in run.case_ids}
    try:
        drawn, row = _as_one(usable, metric, cases)
        effect = guidance_effect(drawn, metric, row, margin=margin, narrow=narrow)
        score = interval_of(drawn.row(metric, row.guided), f"{metric} of {head.row}")
    except InvalidInputError as error:
        return RowEffect(head, metric, len(cases), 0, None, "; ".join([*notes, str(error)]))
    n_units = len({drawn.units[drawn.runs[run]] for run in row.guided})
    return RowEffect(head, metric, len(cases), n_units, effect, "; ".join(notes), score)


def _as_one(groups: Sequence[ComparisonGroup], metric: str, cases: Iterable[str]) -> tuple[DrawnMetrics, GuidedRow]:
    """The runs of several targets as one run each, drawn, and the guided row of them."""
    tables = [draw_metrics(group.common, metrics=(metric,), drawn_from=cases) for group in groups]
    columns: list[dict[str, int]] = []
    for group, drawn in zip(groups, tables, strict=True):
        names = {run.id: _name(run) for run in group.members}
        columns.append({names[run]: column for run, column in drawn.runs.items()})
    shared = [name for name in columns[0] if all(name in others for others in columns)]
    of_targets = [
        drawn.values[metric][:, [of[name] for name in shared]] for drawn, of in zip(tables, columns, strict=True)
    ]
    places = [tuple(drawn.test_sets[of[name]] for drawn, of in zip(tables, columns, strict=True)) for name in shared]
    number = {place: i for i, place in enumerate(dict.fromkeys(places))}
    first, of_first = tables[0], columns[0]
    pooled = replace(
        first,
        runs={name: column for column, name in enumerate(shared)},
        units=tuple(first.units[of_first[name]] for name in shared),
        test_sets=tuple(number[place] for place in places),
        values={metric: np.mean(of_targets, axis=0)},
        n_cases=tuple(first.n_cases[of_first[name]] for name in shared),
    )
    return pooled, _row_of(groups, {*shared})


def _row_of(groups: Sequence[ComparisonGroup], shared: set[str]) -> GuidedRow:
    row = groups[0].row
    assert row is not None  # noqa: S101  (of its caller)
    names = {run.id: _name(run) for run in groups[0].members}

    def kept(ids: Iterable[str]) -> list[str]:
        return [names[run] for run in ids if names[run] in shared]

    def rivals(of: Sequence[Rival]) -> list[Rival]:
        return [Rival(rival.name, kept(rival.runs)) for rival in of if kept(rival.runs)]

    lacking = dict.fromkeys(name for group in groups if group.row for name in group.row.lacking)
    return GuidedRow(
        *(kept(row.guided), kept(row.inferior)),
        controls=rivals(row.controls),
        references=rivals(row.references),
        superior=kept(row.superior),
        s_plus_i=kept(row.s_plus_i),
        lacking=list(lacking),
        one_code_set=row.one_code_set,
        once_per_fold=row.once_per_fold,
        lends_luck=row.lends_luck,
    )


def _name(run: Run) -> str:
    """What a run shares with its namesakes of the other targets."""
    parts: tuple[Any, ...] = (run.row, run.guidance, run.decoder, run.control, run.permutation, *run.unit)
    return " ".join(map(repr, parts))
