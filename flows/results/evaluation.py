"""Stored runs -> the paper's table: five input rows and the control, mean ± sd, and whether the gains are real."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.runs import Part, Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.results.effects import RowEffect, row_effects
from guidestore.heads.controls import CONTROLS
from guidestore.heads.input_rows import INPUT_ROWS
from guidestore.heads.metrics import drawn_metrics
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import Scores, load_runs, load_scores


@dataclass(frozen=True, slots=True)
class TableRow:
    """One input row of one target and mode: mean and sd of each metric over folds and seeds (and permutations of a
    control)."""

    target: str
    mode: str
    row: str
    control: str
    n: int
    mean: dict[str, float]
    sd: dict[str, float]

    @property
    def label(self) -> str:
        return CONTROLS[self.control].title.format(row=self.row) if self.control else self.row


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The table, what each guided row gained, and what a reader must know about them."""

    rows: tuple[TableRow, ...]
    effects: tuple[RowEffect, ...]
    notes: tuple[str, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        """Flat rows for CSV, JSON and Parquet; the columns of the effect are None in rows without guidance."""
        effects = {(effect.head.target, effect.head.mode, effect.head.row): effect for effect in self.effects}
        blank = dict.fromkeys(EFFECT_COLUMNS)
        flat = []
        for row in self.rows:
            effect = effects.get((row.target, row.mode, row.row)) if not row.control else None
            values = {
                f"{name}_{kind}": stats[name]
                for name in row.mean
                for kind, stats in (("mean", row.mean), ("sd", row.sd))
            }
            names = {"target": row.target, "mode": row.mode, "row": row.row, "control": row.control, "n": row.n}
            shown = {name: effect.as_row()[name] for name in EFFECT_COLUMNS} if effect else blank
            flat.append({**names, **values, **shown})
        return flat


EFFECT_COLUMNS = (
    *(
        f"{gain}{end}"
        for gain in ("gain_over_i", "gain_over_shuffled", "gain_over_self_training", "gap_closed")
        for end in ("", "_low", "_high")
    ),
    "verdict",
)


def evaluate(snapshot: Snapshot, ids: Iterable[str], part: Part = "test") -> Evaluation:
    """The table over the runs with these ids, from their stored metrics and predictions on `part`.

    Raises NotFoundInStoreError without runs.
    """
    runs = load_runs(snapshot, ids)
    rows = tabulate(runs, load_scores(snapshot, runs, part))
    order = [(row.target, row.mode, row.row) for row in rows]
    effects = row_effects(runs, load_predictions(snapshot, runs, part))
    effects.sort(key=lambda effect: order.index((effect.head.target, effect.head.mode, effect.head.row)))
    return Evaluation(rows, tuple(effects), tuple(_notes(runs, effects)))


def tabulate(runs: Iterable[Run], scores: Scores) -> tuple[TableRow, ...]:
    """The table of these runs; those that diverged make a row, but do not count in it."""
    groups: dict[tuple[str, str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.target, run.mode, run.row, run.control), []).append(run)
    targets = dict.fromkeys(target for target, *_ in groups)
    in_order = (
        (target, mode, row, control)
        for target in targets
        for mode in ("as-published", "matched")
        for row in INPUT_ROWS
        for control in ("", *CONTROLS)
    )
    return tuple(_table_row(names, groups[names], scores) for names in in_order if names in groups)


def _table_row(names: tuple[str, str, str, str], runs: Sequence[Run], scores: Scores) -> TableRow:
    good = [run for run in runs if run.status == "ok"]
    mean, sd = {}, {}
    for metric in drawn_metrics():
        values = [scores[run.id, metric] for run in good if (run.id, metric) in scores]
        mean[metric] = statistics.fmean(values) if values else math.nan
        sd[metric] = statistics.stdev(values) if len(values) > 1 else math.nan
    return TableRow(*names, len(good), mean, sd)


def _notes(runs: Sequence[Run], effects: Sequence[RowEffect]) -> list[str]:
    folds, seeds = {run.fold for run in runs}, {run.seed for run in runs}
    notes = [f"mean ± sd over {len(folds)} folds x {len(seeds)} seeds; the control also over its permutations"]
    if effects:
        notes += [
            "gains in balanced accuracy, 95 % intervals over cases (over shuffled pairs: over luck in training too)",
            "gap closed = gain over I / (S+I − I); – where the interval of S+I − I includes 0",
        ]
        notes += dict.fromkeys(effect.note for effect in effects if effect.note)
    guidance = {run.guidance for run in runs} - {""}
    decoders = {run.decoder for run in runs} - {"", "linear"}
    budgets = {run.labelled for run in runs}
    if max(map(len, (guidance, decoders, budgets))) > 1:
        notes.append(
            f"each row is a mean over {len(guidance)} guidance models, {len(decoders)} decoders and {len(budgets)} "
            "label budgets; name one with --guidance and --decoder, or use `guidestore sweep show`"
        )
    if any(run.of_unknown_encoders for run in runs):
        notes.append("what the encoders were trained on is unknown (imported codes)")
    diverged = sum(run.diverged for run in runs)
    if diverged:
        notes.append(f"{diverged} runs diverged and are left out; lower the learning rate or standardise")
    return notes
