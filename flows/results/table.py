"""Stored runs -> the paper's table: five input rows and the control, mean ± sd, and whether the gains are real."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.effects import RowEffect, effects_of
from guidestore.flows.results.predictions import Part
from guidestore.flows.results.runs import label_budget, load_runs, newest_runs
from guidestore.heads.controls import CONTROLS
from guidestore.heads.input_rows import INPUT_ROWS
from guidestore.heads.metrics import drawn_metrics


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

    def as_rows(self) -> list[dict]:
        """Flat rows for CSV, JSON and Parquet; the columns of the effect are None in rows without guidance."""
        effects = {(effect.target, effect.mode, effect.row): effect for effect in self.effects}
        blank = dict.fromkeys(EFFECT_COLUMNS)
        flat = []
        for row in self.rows:
            effect = effects.get((row.target, row.mode, row.row)) if not row.control else None
            values = {
                f"{name}_{kind}": stats[name]
                for name in row.mean
                for kind, stats in (("mean", row.mean), ("sd", row.sd))
            }
            place = {"target": row.target, "mode": row.mode, "row": row.row, "control": row.control, "n": row.n}
            shown = {name: effect.as_row()[name] for name in EFFECT_COLUMNS} if effect else blank
            flat.append({**place, **values, **shown})
        return flat


EFFECT_COLUMNS = (
    *(
        f"{gain}{end}"
        for gain in ("gain_over_i", "gain_over_shuffled", "gain_over_self_training", "gap_closed")
        for end in ("", "_low", "_high")
    ),
    "verdict",
)


def evaluate(root: Path | str, runs: Sequence[str], part: Part = "test", at: int | str | None = None) -> Evaluation:
    """The table over `runs` (ids), from their stored metrics and predictions on `part`.

    Raises NotFoundInStoreError without runs.
    """
    snapshot = EmbeddingStore.open(root).snapshot(at)
    facts, values = load_runs(snapshot, runs, part)
    rows = tabulate(facts, values)
    order = [(row.target, row.mode, row.row) for row in rows]
    effects = effects_of(snapshot, facts, part=part)
    effects.sort(key=lambda effect: order.index((effect.target, effect.mode, effect.row)))
    return Evaluation(rows, tuple(effects), tuple(_notes(facts, effects)))


def tabulate(facts: Sequence[dict], values: dict[tuple[str, str], float]) -> tuple[TableRow, ...]:
    """The table of run rows (schema ``runs``) and their metric values by (run, metric)."""
    modes = [mode for mode in ("as-published", "matched") if any(fact["mode"] == mode for fact in facts)]
    rows: list[TableRow] = []
    for target in dict.fromkeys(fact["target"] for fact in facts):
        for mode in modes:
            for row in INPUT_ROWS:
                for control in ("", *CONTROLS):
                    place = (target, mode, row, control)
                    chosen = [f for f in facts if (f["target"], f["mode"], f["row"], f["control"]) == place]
                    good = [fact for fact in chosen if fact["status"] == "ok"]
                    if chosen:
                        rows.append(_table_row(place, good, values))
    return tuple(rows)


def _table_row(
    place: tuple[str, str, str, str], facts: Sequence[dict], values: dict[tuple[str, str], float]
) -> TableRow:
    mean, sd = {}, {}
    for metric in drawn_metrics():
        found = [values[fact["run"], metric] for fact in facts if (fact["run"], metric) in values]
        mean[metric] = statistics.fmean(found) if found else math.nan
        sd[metric] = statistics.stdev(found) if len(found) > 1 else math.nan
    return TableRow(*place, len(facts), mean, sd)


def _notes(facts: Sequence[dict], effects: Sequence[RowEffect]) -> list[str]:
    units = {(fact["fold"], fact["seed"]) for fact in facts}
    folds, seeds = sorted({fold for fold, _ in units}), sorted({seed for _, seed in units})
    notes = [f"mean ± sd over {len(folds)} folds x {len(seeds)} seeds; the control also over its permutations"]
    if effects:
        notes += [
            "gains in balanced accuracy, 95 % intervals over cases (over shuffled pairs: over luck in training too)",
            "gap closed = gain over I / (S+I − I); – where the interval of S+I − I includes 0",
        ]
        notes += dict.fromkeys(effect.note for effect in effects if effect.note)
    models = {
        kind: {fact[kind] for fact in facts if fact[kind] not in ("", "linear")} for kind in ("guidance", "decoder")
    }
    budgets = {label_budget(fact) for fact in facts}
    if any(len(names) > 1 for names in models.values()) or len(budgets) > 1:
        notes.append(
            f"each row is a mean over {len(models['guidance'])} guidance models, {len(models['decoder'])} decoders and "
            f"{len(budgets)} label budgets; name one with --guidance and --decoder, or use `guidestore sweep show`"
        )
    if any("unknown" in fact["trained_on"] for fact in facts):
        notes.append("what the encoders were trained on is unknown (imported codes)")
    diverged = sum(fact["status"] == "diverged" for fact in facts)
    if diverged:
        notes.append(f"{diverged} runs diverged and are left out; lower the learning rate or standardise")
    return notes


def find_runs(root: Path | str, condition: Callable[[dict], bool], at: int | str | None = None) -> list[str]:
    """Ids of the newest run of each place (`flows.results.runs.newest_runs`) that fulfils the condition."""
    snapshot = EmbeddingStore.open(root).snapshot(at)
    return [run["run"] for run in newest_runs(snapshot, condition).values()]
