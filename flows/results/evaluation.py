"""Stored runs -> the paper's tables: input rows and controls, mean ± sd, and whether the gains are real."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.runs import Head, Part, Run, RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.words import count_of
from guidestore.flows.results.blocks import Block, block_effects, blocks_of
from guidestore.flows.results.effects import GAINS, RowEffect
from guidestore.flows.results.families import Family, family_of
from guidestore.flows.results.own_scores import with_metric
from guidestore.flows.results.training_warnings import training_warnings
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.checks import check_number
from guidestore.heads.controls import CONTROLS
from guidestore.heads.input_rows import GD, INPUT_ROWS, KD, TABLE_ROWS
from guidestore.heads.metrics import asked_metric, drawn_metrics, main_metric_of, metric_named
from guidestore.heads.significance import MARGIN
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import Scores, load_runs, load_scores


@dataclass(frozen=True, slots=True)
class TableRow:
    """One input row of a table: mean and sd of each metric over folds and seeds (and permutations of a control)."""

    head: Head
    """Of permutation -1 where a control counts over all of its own, else which of its kinds it is."""
    label: str
    """As tables print it; with its models where the table has several heads of the row."""
    runs: tuple[str, ...]
    """Ids of the runs that it is over: those that diverged are left out."""
    mean: dict[str, float]
    """Of each metric of the kind of target."""
    sd: dict[str, float]
    kind: TargetKind = "classes"
    """Of the target."""

    @property
    def target(self) -> str:
        return self.head.target

    @property
    def mode(self) -> str:
        return self.head.mode

    @property
    def row(self) -> str:
        return self.head.row

    @property
    def control(self) -> str:
        return self.head.control

    @property
    def n(self) -> int:
        return len(self.runs)


@dataclass(frozen=True, slots=True)
class EvaluatedBlock:
    """One table, and what each of its guided rows gained."""

    block: Block
    rows: tuple[TableRow, ...]
    effects: tuple[RowEffect, ...]

    def as_rows(self, family: Family) -> list[dict[str, Any]]:
        """Flat rows; the columns of the effect are None in rows without guidance."""
        effects = {effect.head: effect for effect in self.effects}
        blank = dict.fromkeys(EFFECT_COLUMNS)
        flat = []
        for row in self.rows:
            effect = effects.get(row.head)
            values = {
                f"{name}_{kind}": stats[name]
                for name in row.mean
                for kind, stats in (("mean", row.mean), ("sd", row.sd))
            }
            own = {"row": row.row, "control": row.control, "label": row.label, "row_decoder": row.head.decoder}
            shown = {name: effect.as_row()[name] for name in EFFECT_COLUMNS} if effect else blank
            shown |= {"p_holm": family.p_values.get(row.head) if effect else None}
            flat.append({"block": self.block.number, **self.block.keys(), **own, "n": row.n, **values, **shown})
        return flat


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The tables, and what a reader must know about them."""

    blocks: tuple[EvaluatedBlock, ...]
    family: Family
    """Of all guided rows."""
    notes: tuple[str, ...]

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """Of all blocks, each once."""
        return tuple({row.head: row for block in self.blocks for row in block.rows}.values())

    @property
    def effects(self) -> tuple[RowEffect, ...]:
        """Of all blocks, each once."""
        return tuple({effect.head: effect for block in self.blocks for effect in block.effects}.values())

    def as_rows(self) -> list[dict[str, Any]]:
        """Flat rows of the same columns for CSV, JSON and Parquet, block by block: `block`, `guidance`, `decoder`,
        `fusion`, … say of which table a row is, `row_decoder` what it was itself read with (as published a stored
        classifier)."""
        rows = [row for block in self.blocks for row in block.as_rows(self.family)]
        columns = list(dict.fromkeys(name for row in rows for name in row))  # targets of other kinds have other metrics
        return [{name: row.get(name) for name in columns} for row in rows]


EFFECT_COLUMNS = (
    "metric",
    "n_cases",
    *(f"{gain}{end}" for gain in (*GAINS, "superior_gain", "gap_closed") for end in ("", "_low", "_high")),
    *("nearest_control", "nearest_reference", "smallest_gain_shown", "interval_by", "p_helps", "verdict"),
)


def evaluate(
    snapshot: Snapshot,
    ids: Iterable[str],
    part: Part = "test",
    *,
    metric: str = "",
    margin: float = MARGIN,
    progress: Progress = no_progress,
) -> Evaluation:
    """The tables over the runs with these ids, from their stored metrics and predictions on `part`.

    metric: in which gains and verdicts are given; '' for the main one. margin: the smallest gain that counts. Raises
    NotFoundInStoreError without runs, InvalidInputError for a metric that there is not.
    """
    runs, scores, predictions = scored(snapshot, ids, part)
    return evaluation_of(runs, scores, predictions, metric=metric, margin=margin, progress=progress)


def scored(
    snapshot: Snapshot, ids: Iterable[str], part: Part = "test"
) -> tuple[list[Run], Scores, Mapping[str, RunPredictions]]:
    """The runs with these ids, and their stored metrics and predictions. Raises NotFoundInStoreError without runs."""
    runs = load_runs(snapshot, ids)
    return runs, load_scores(snapshot, runs, part), load_predictions(snapshot, runs, part)


def _without(metric: str, runs: Sequence[Run]) -> str:
    """Which targets are of kinds that the metric is not for; raises InvalidInputError where all are."""
    lacking = {run.target: run.kind for run in runs if metric and run.kind not in metric_named(metric).kinds}
    if not lacking:
        return ""
    named = ", ".join(f"{target} ({kind})" for target, kind in lacking.items())
    of = " and ".join(sorted(metric_named(metric).kinds))
    if all(run.target in lacking for run in runs):
        able = ", ".join(dict.fromkeys(main_metric_of(run.kind).name for run in runs))
        raise InvalidInputError(
            f"metric {metric} is for {of}, and these runs foretell {named}; ask for {able}, or for none"
        )
    return f"{metric} is for {of}, so gains of {named} are left out"


def judging_metric(metric: Any, margin: float) -> str:
    """The name of what verdicts are given in ('' for the main metric), from that gain on; to be asked before anything
    is trained or looked at. metric: as of `heads.metrics.asked_metric`. Raises InvalidInputError."""
    check_number(margin, "smallest effect", 0)
    return asked_metric(metric)


def evaluation_of(
    runs: Sequence[Run],
    scores: Scores,
    predictions: Mapping[str, RunPredictions],
    *,
    metric: str = "",
    margin: float = MARGIN,
    progress: Progress = no_progress,
) -> Evaluation:
    """The tables over these runs, from their scores and predictions on one part; otherwise as `evaluate`."""
    metric = judging_metric(metric, margin)
    scores = with_metric(scores, predictions, metric)
    other = _without(metric, runs)
    blocks = blocks_of(runs)
    asked = (metric,) if metric else ()
    effects = block_effects(blocks, predictions, metrics=asked, margin=margin, progress=progress)
    told = tuple(
        EvaluatedBlock(block, tabulate(block.runs, scores, metric), tuple(_in_order(effects[block.number])))
        for block in blocks
    )
    every = [effect for block in told for effect in block.effects]
    family = family_of(every)
    notes = [*_notes(runs, every), *filter(None, [other, family.sentence])]
    return Evaluation(told, family, tuple(notes))


def _in_order(effects: Iterable[RowEffect]) -> list[RowEffect]:
    """In the order of tables."""
    return sorted(effects, key=lambda effect: TABLE_ROWS.index(effect.head.row))


def tabulate(runs: Iterable[Run], scores: Scores, metric: str = "") -> tuple[TableRow, ...]:
    """The table of these runs; those that diverged make a row, but do not count in it. Heads are never averaged.

    metric: one of one's own that is shown too."""
    heads: dict[Head, list[Run]] = {}
    for run in runs:
        heads.setdefault(over_draws(run.head), []).append(run)
    targets = list(dict.fromkeys(head.target for head in heads))
    rows, controls = list(INPUT_ROWS), ["", *CONTROLS]
    in_order = sorted(
        (head for head in heads if head.row in rows and head.control in controls),
        key=lambda head: (
            targets.index(head.target),
            head.mode != "as-published",
            rows.index(head.row),
            controls.index(head.control),
            head.permutation,
        ),
    )
    names = Counter(map(row_label, in_order))
    return tuple(
        _table_row(head, row_label(head, names[row_label(head)] > 1), heads[head], scores, metric) for head in in_order
    )


def over_draws(head: Head) -> Head:
    """What the draws of a control share; where it has kinds, each is its own."""
    control = CONTROLS.get(head.control)
    return replace(head, permutation=control.kind(head.permutation) if control else -1)


def row_label(head: Head, with_models: bool = False) -> str:
    """How tables call a head of `over_draws`."""
    label = head.row
    if head.control:
        control = CONTROLS[head.control]
        label = control.title.format(row=head.row)
        if kind := control.kind_name(head.permutation):
            label += f": {kind}"
    models = ", ".join(filter(None, (head.guidance, head.decoder)))
    return f"{label} ({models})" if with_models else label


def _table_row(head: Head, label: str, runs: Sequence[Run], scores: Scores, asked: str) -> TableRow:
    good = tuple(run.id for run in runs if run.status == "ok")
    mean, sd = {}, {}
    for metric in drawn_metrics(runs[0].kind, asked):
        values = [scores[run, metric] for run in good if (run, metric) in scores]
        mean[metric] = statistics.fmean(values) if values else math.nan
        sd[metric] = statistics.stdev(values) if len(values) > 1 else math.nan
    return TableRow(head, label, good, mean, sd, runs[0].kind)


def _title(metric: str) -> str:
    return metric_named(metric).title


def _notes(runs: Sequence[Run], effects: Sequence[RowEffect]) -> list[str]:
    folds, seeds = {run.fold for run in runs}, {run.seed for run in runs}
    over = f"{count_of(len(folds), 'fold')} x {count_of(len(seeds), 'seed')}"
    notes = [f"mean ± sd over {over}; the control also over its permutations"]
    if effects:
        notes += [
            f"gains in {' and '.join(dict.fromkeys(_title(effect.metric) for effect in effects))}, 95 % intervals over "
            "cases and luck in training",
            "gap closed = gain over I / (S+I − I); – where the interval of S+I − I includes 0",
        ]
        gains = [of_head.effect.gain_over_i.gain for of_head in effects if of_head.effect]
        shown = [gain.smallest_shown for gain in gains if gain.low < gain.high]  # a gain alike in all draws shows none
        if shown:
            notes.append(f"smallest gain over I that these cases show (power 80 %): {min(shown):.3f}")
        of_effects = dict.fromkeys(effect.note for effect in effects if effect.note)
        notes += [note for note in of_effects if not any(note in other for other in of_effects if other != note)]
    if any(run.of_unknown_encoders for run in runs):
        notes.append("what the encoders were trained on is unknown (imported codes)")
    notes += teacher_notes(runs)
    notes += training_warnings(runs)
    diverged = sum(run.diverged for run in runs)
    if diverged:
        notes.append(f"{diverged} runs diverged and are left out; lower the learning rate or standardise")
    return notes


def teacher_notes(runs: Sequence[Run]) -> list[str]:
    """Where a teacher was not allowed to teach, and where it taught what it had seen the label of."""
    sentences = []
    gated = [run for run in runs if not run.control and "guidance_gate" in run.training]
    for target, row in dict.fromkeys((run.target, run.row) for run in gated):
        of_row = [run for run in gated if (run.target, run.row) == (target, row)]
        closed = sum(not run.training["guidance_gate"] for run in of_row)
        if closed:
            sentences.append(
                f"{target}, {row}: the teacher was not allowed to teach in {closed} of {len(of_row)} runs, which are "
                "therefore I"
            )
    in_sample = [row for row in (KD, GD) if any(run.row == row and run.mode == "as-published" for run in runs)]
    if in_sample:
        sentences.append(
            f"{' and '.join(in_sample)} as-published: taught in-sample, by a stored D_S that has seen the labels of "
            "the cases it teaches; in mode matched teachers are cross-fitted"
        )
    return sentences
