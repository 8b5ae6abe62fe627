"""Is the gain of each guided row real? From stored predictions, over the runs of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.runs import Head, Run, RunPredictions
from guidestore.flows.results.few_cases import few_note, one_grade_note
from guidestore.flows.results.gates import CLOSED, gate_note, is_closed
from guidestore.flows.work.reporting import Progress, counted, no_progress
from guidestore.heads.controls import CONTROLS, DECIDING, SHUFFLED
from guidestore.heads.input_rows import INPUT_ROWS, REFERENCE, S_PLUS_I, I, S, controls_of
from guidestore.heads.metrics import AUROC, BALANCED_ACCURACY, main_metric_of, metric_named
from guidestore.heads.rows.job import LEARNS_LABELS
from guidestore.heads.significance import (
    MARGIN,
    Comparison,
    GuidanceEffect,
    GuidedRow,
    Interval,
    Rival,
    draw_metrics,
    guidance_effect,
    interval_of,
    on_common_cases,
)
from guidestore.heads.significance.comparison import OVER_FOLDS
from guidestore.heads.significance.training_luck import MIN_FOLDS

METRIC = AUROC.name
"""The main metric of classes: in which verdicts are given, heads ranked and champions chosen, where nothing else is
asked. (Of other kinds: heads.metrics.main_metric_of.)"""
INSTEAD = BALANCED_ACCURACY.name
"""The main metric of classes where some test set lacks one, so that AUROC is not defined."""
ONE_DRAW = (
    "one permutation: luck in training is not covered, so `guidance helps` is not said; ask for more permutations"
)
INSTEAD_OF_AUROC = "a test set lacks a class, so balanced accuracy decides, not AUROC"
GAINS = ("gain_over_i", "gain_over_reference", *(f"gain_over_{name.replace(' ', '_')}" for name in DECIDING))
"""Columns of gains; each has its ends beside it."""


def is_guided(head: Head) -> bool:
    """Whether a head is one that a verdict is given of."""
    row = INPUT_ROWS.get(head.row)
    return row is not None and bool(row.controls) and not head.control


def main_metric(predictions: Iterable[RunPredictions]) -> str:
    """That of the kind of target; of classes AUROC, or balanced accuracy where the cases of some run lack a class."""
    predictions = list(predictions)
    kind = predictions[0].kind if predictions else "classes"
    if kind != "classes":
        return main_metric_of(kind).name
    complete = all(len(np.unique(run.labels)) == run.n_classes for run in predictions)
    return METRIC if complete else INSTEAD


@dataclass(frozen=True, slots=True)
class RowEffect:
    """What one guided row gained in one metric, over all its folds and seeds."""

    head: Head
    """The guided head."""
    metric: str
    n_cases: int
    """Different test cases."""
    n_units: int
    """(split, fold, seed) that all rows have."""
    effect: GuidanceEffect | None
    """None where it cannot be said, and `note` says why."""
    note: str = ""
    score: Interval | None = None
    """The metric of the guided row itself, its mean over units."""
    told: str = "–"
    """In place of a verdict where there is no effect."""

    @property
    def verdict(self) -> str:
        return self.effect.verdict if self.effect else self.told

    def as_row(self) -> dict[str, Any]:
        """Flat, for CSV, JSON and Parquet: gains with the ends of their 95 % intervals, and the verdict."""
        effect = self.effect
        nearest, reference = (effect.nearest_control, effect.nearest_reference) if effect else (None, None)
        over = [effect.over(name) for name in DECIDING] if effect else [None] * len(DECIDING)
        gains = (effect and effect.gain_over_i, reference and reference.over, *over)
        flat: dict[str, Any] = {}
        for name, comparison in zip(GAINS, gains, strict=True):
            flat |= ends_of(name, comparison.gain if comparison else None)
        flat["nearest_control"] = nearest.rival.name if nearest else None
        flat["nearest_reference"] = reference.rival.name if reference else None
        flat |= ends_of("superior_gain", effect.superior_gain.gain if effect and effect.superior_gain else None)
        flat |= ends_of("gap_closed", effect.gap_closed if effect else None)
        over_i = effect.gain_over_i.gain if effect else None
        flat["smallest_gain_shown"] = over_i.smallest_shown if over_i and over_i.low < over_i.high else None
        flat["interval_by"] = effect.gain_over_i.method if effect else None
        head = self.head
        return {
            "target": head.target,
            "mode": head.mode,
            "row": head.row,
            "inferior": str(head.inferior or ""),
            "superior": str(head.superior or ""),
            "guidance": head.guidance,
            "decoder": head.decoder,
            "metric": self.metric,
            "n_cases": self.n_cases,
            **flat,
            "p_helps": effect.p_helps if effect else None,
            "verdict": self.verdict,
            "note": self.note,
        }


def ends_of(name: str, interval: Interval | None) -> dict[str, float | None]:
    """A figure and the ends of its interval as three columns."""
    values = (interval.value, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def spread(interval: Interval | Comparison | None, form: str = "+.3f") -> str:
    """``+0.031 [+0.004, +0.058]``; ``–`` for None."""
    if interval is None:
        return "–"
    if isinstance(interval, Comparison):
        interval = interval.gain
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def row_effects(
    runs: Iterable[Run],
    predictions: Mapping[str, RunPredictions],
    *,
    metrics: Sequence[str] = (),
    margin: float = MARGIN,
    progress: Progress = no_progress,
) -> list[RowEffect]:
    """The effects of all guided heads among `runs`, in their order.

    metrics: of heads.metrics, each gives an effect of every head whose kind of target it is for; (): the main metric
    (`main_metric`). margin: the smallest gain that counts. A head is held against runs of its target, split,
    mode, code sets and label budget. Only runs with predictions count, and of them the units (split, fold, seed) that
    the guided row, row I, and all references and controls that were run have. S and S+I join where they have these
    units and cases too: otherwise the gap stays open. The cases of one head are drawn once for all its rows.
    """
    runs = list(runs)
    guided = len({run.head for run in runs if run.id in predictions and is_guided(run.head)})
    with threadpool_limits(1):
        return [
            group.effect_in(metric, margin)
            for group in counted(comparison_groups(runs, predictions), guided, "verdicts", progress)
            for metric in metrics or ("",)
            if not metric or group.kind in metric_named(metric).kinds
        ]


def comparison_groups(runs: Iterable[Run], predictions: Mapping[str, RunPredictions]) -> Iterator[ComparisonGroup]:
    """Each guided head among `runs` that have predictions, with what it is held against."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.id in predictions:
            # References for row I are trained anew in every mode.
            scope = _scope(run.head) if run.row != REFERENCE else (REFERENCE, *_scope(replace(run.head, mode="")))
            groups.setdefault(scope, []).append(run)
    for members in groups.values():
        for head in dict.fromkeys(run.head for run in members if is_guided(run.head)):
            of_any_mode = groups.get((REFERENCE, *_scope(replace(head, mode=""))), [])
            yield ComparisonGroup(head, [*members, *of_any_mode], predictions)


def _scope(head: Head) -> tuple[Any, ...]:
    """What a guided head shares with all that it is held against."""
    return head.cohort, head.target, head.split, head.mode, head.inferior, head.superior, head.labelled


def same_scope(head: Head, other: Head) -> bool:
    """Whether two heads are of one target, split, mode, pair of code sets and label budget."""
    return _scope(head) == _scope(other)


@dataclass
class ComparisonGroup:
    """A guided head and what it is held against, cut to the units and cases that can be compared."""

    head: Head
    members: Sequence[Run]
    """All runs of its scope that have predictions."""
    predictions: Mapping[str, RunPredictions]
    row: GuidedRow | None = field(init=False)
    """In the units that all needed parts have; None where there are none."""
    common: list[RunPredictions] = field(init=False)
    """Of all runs of `row`, on the cases that those of a unit have in common."""
    n_units: int = 0
    note: str = ""
    """What is missing."""

    def __post_init__(self) -> None:
        models = (self.head.row, self.head.guidance, self.head.decoder)
        own = [run for run in self.members if (run.row, run.guidance, run.decoder) == models]
        guided, inferior = [run.id for run in own if not run.control], self._reference(I)
        controls = _controls(own)
        references: dict[str, list[str]] = {}
        for run in self.members:
            if run.row == REFERENCE:
                references.setdefault(run.decoder, []).append(run.id)
        needed = [guided, inferior, *controls.values(), *references.values()]
        units = set.intersection(*({self.predictions[run].unit for run in ids} for ids in needed))
        shuffled = SHUFFLED in controls
        if not units or not shuffled:
            lack = "no shuffled control" if not shuffled else "no fold and seed in common with what it is held against"
            lack = "no row I" if not inferior else lack
            self.note = f"{self.head.row} has {lack}, so its gain cannot be told from capacity"
            self.row, self.common = None, []
            return

        def within(ids: Iterable[str]) -> list[str]:
            return [run for run in ids if self.predictions[run].unit in units]

        guided = within(guided)
        superior, both = (self._covering(within(self._reference(row)), guided) for row in (S, S_PLUS_I))
        if not both and self._reference(S_PLUS_I):
            self.note = f"gap open: {S_PLUS_I} was not tested on all folds, seeds and cases of {self.head.row}"
        self.row = GuidedRow(
            *(guided, within(inferior)),
            controls=[Rival(name, within(ids)) for name, ids in controls.items()],
            references=[Rival(name, within(ids)) for name, ids in references.items()],
            superior=superior,
            s_plus_i=both,
            lacking=self._lacking(own, bool(references)),
            one_code_set=self.head.inferior is not None and self.head.inferior == self.head.superior,
            once_per_fold=self.head.mode == "as-published",
            lends_luck="z_I" in INPUT_ROWS[self.head.row].reads,
        )
        self.n_units = len(units)
        row = self.row
        parts = (guided, row.inferior, superior, both, *(rival.runs for rival in (*row.controls, *row.references)))
        self.common = on_common_cases([self.predictions[run] for ids in parts for run in ids])

    @property
    def kind(self) -> TargetKind:
        """Of the target."""
        return self.members[0].kind

    def _lacking(self, own: Sequence[Run], has_references: bool) -> list[str]:
        """What a verdict needs and was not run: a control, each kind of one that has several, or the references."""
        through_labels = any(LEARNS_LABELS in run.training for run in own)
        due = controls_of(self.head.row, mode=self.head.mode, through_labels=through_labels)
        run, lacking = _controls(own), []
        for control in (CONTROLS[name] for name in due if name in DECIDING):
            missing = [name for name in control.with_kinds if name not in run]
            lacking += [control.name] if len(missing) == len(control.with_kinds) else missing
        return lacking if has_references or REFERENCE not in INPUT_ROWS else [*lacking, REFERENCE]

    def _reference(self, row: str) -> list[str]:
        """Runs of row I, S or S+I: of the same decoder where there are such. As published, I is the stored classifier,
        and G(I) reads with that of S: then all there are."""
        runs = [run for run in self.members if run.row == row and not run.control]
        for decoder in (self.head.decoder, decoder_of_one_code(self.head.decoder)):
            of_decoder = [run.id for run in runs if run.decoder == decoder]
            if of_decoder:
                return of_decoder
        return [run.id for run in runs]

    def _covering(self, ids: Sequence[str], guided: Sequence[str]) -> list[str]:
        """These runs, if they have all units of the guided row, each with its cases; else none."""
        have = {run.unit: set(run.case_ids) for run in map(self.predictions.__getitem__, ids)}
        covers = all(set(run.case_ids) <= have.get(run.unit, set()) for run in map(self.predictions.get, guided) if run)
        return list(ids) if covers else []

    def effect_in(self, metric: str, margin: float) -> RowEffect:
        """metric: '' for the main one."""
        if self.row is None:
            return RowEffect(self.head, metric or main_metric_of(self.kind).name, 0, 0, None, self.note)
        asked, metric = metric, metric or main_metric(self.common)
        n_cases = len({case for run in self.common for case in run.case_ids})
        few, enough = few_note(self.common)
        few = few or one_grade_note(run for run in self.common if run.run in {*self.row.guided, *self.row.inferior})
        if not enough and self.kind == "survival":
            return RowEffect(self.head, metric, n_cases, self.n_units, None, few)
        try:
            drawn = draw_metrics(self.common, metrics=(metric,))
            effect = guidance_effect(drawn, metric, self.row, margin=margin, enough=enough, narrow=bool(few))
            score = interval_of(drawn.row(metric, self.row.guided), f"{metric} of {self.head.row}")
        except InvalidInputError as error:  # a class without test cases: the metric is not defined
            return RowEffect(self.head, metric, n_cases, self.n_units, None, str(error))
        guided = [run for run in self.members if run.id in self.row.guided]
        if guided and all(map(is_closed, guided)):
            return RowEffect(self.head, metric, n_cases, self.n_units, None, self.note, score, told=CLOSED)
        luck = "" if effect.gain_over_shuffled.luck else ONE_DRAW
        if not luck and effect.gain_over_i.luck is None and self.n_units < MIN_FOLDS:
            luck = "one seed: the gain over I does not cover luck in training"
        by = effect.gain_over_i.method
        folds = f"gain over I by {by}, which is wider than the bootstrap" if by == OVER_FOLDS else ""
        instead = "" if asked or metric != INSTEAD else INSTEAD_OF_AUROC
        note = "; ".join(filter(None, (self.note, few, gate_note(guided), luck, folds, instead)))
        return RowEffect(self.head, metric, n_cases, self.n_units, effect, note, score)


def _controls(own: Sequence[Run]) -> dict[str, list[str]]:
    """Control, with its kind where it has several -> runs; of those that decide, in the order of tables."""
    found: dict[str, list[str]] = {}
    for run in sorted(own, key=lambda run: run.permutation):
        if run.control in DECIDING:
            found.setdefault(CONTROLS[run.control].name_of(run.permutation), []).append(run.id)
    return dict(sorted(found.items(), key=lambda item: DECIDING.index(item[0].partition(",")[0])))


def decoder_of_one_code(decoder: str) -> str:
    """The name of a decoder without the fusion of its two codes: what the rows of one code have."""
    return decoder.partition(", fusion=")[0]
