"""Stored runs -> the paper's table: five input rows and the control, mean ± sd, and the share of the gap closed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embeddings.errors import NotFoundInStoreError
from embeddings.store import EmbeddingStore

METRICS = ("balanced_accuracy", "f1_micro", "auroc")
"""Columns of the table: the paper's two, and AUROC (macro, one against the rest)."""

CONTROL_LABEL = "{row}, shuffled pairs"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One input row of one mode: mean and sd of each metric over folds and seeds (and permutations of a control)."""

    mode: str
    row: str
    control: str
    n: int
    mean: dict[str, float]
    sd: dict[str, float]

    @property
    def label(self) -> str:
        return CONTROL_LABEL.format(row=self.row) if self.control else self.row


@dataclass(frozen=True, slots=True)
class Gap:
    """Share of the S+I minus I gap that a guided row closed, '–' where the gap's own interval includes 0."""

    mode: str
    row: str
    control: str
    share: str
    gain: float
    """Mean of (row − I) in balanced accuracy, over folds and seeds."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The table, the gaps, and what a reader must know about them."""

    rows: tuple[TableRow, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]

    def as_rows(self) -> list[dict]:
        """Flat rows for CSV, JSON and Parquet."""
        gaps = {(gap.mode, gap.row, gap.control): gap for gap in self.gaps}
        flat = []
        for row in self.rows:
            gap = gaps.get((row.mode, row.row, row.control))
            values = {
                f"{name}_{kind}": stats[name]
                for name in row.mean
                for kind, stats in (("mean", row.mean), ("sd", row.sd))
            }
            flat.append(
                {
                    "mode": row.mode,
                    "row": row.row,
                    "control": row.control,
                    "n": row.n,
                    **values,
                    "gain_over_i": gap.gain if gap else None,
                    "gap_closed": gap.share if gap else None,
                }
            )
        return flat


def evaluate(root: Path, runs: Sequence[str], part: str = "test", at: int | str | None = None) -> Evaluation:
    """The table over `runs` (ids), from their stored metrics on `part`. Raises NotFoundInStoreError without runs."""
    snapshot = EmbeddingStore.open(root).snapshot(at)
    wanted = pa.array(list(dict.fromkeys(runs)), pa.string())
    facts = snapshot.rows("runs").filter(pc.field("run").isin(wanted)).to_pylist()
    if not facts:
        raise NotFoundInStoreError("there are no such runs to evaluate; train some with `guidestore guide`")
    stored = snapshot.rows("metrics").filter(pc.field("run").isin(wanted) & (pc.field("part") == part)).to_pylist()
    values = {(row["run"], row["metric"]): row["value"] for row in stored}
    return tabulate(facts, values)


def tabulate(facts: Sequence[dict], values: dict[tuple[str, str], float]) -> Evaluation:
    """The table of run rows (schema ``runs``) and their metric values by (run, metric)."""
    from heads.input_rows import ALL_ROWS, GUIDED_ROWS

    modes = [mode for mode in ("as-published", "matched") if any(fact["mode"] == mode for fact in facts)]
    rows: list[TableRow] = []
    gaps: list[Gap] = []
    for mode in modes:
        for row in ALL_ROWS:
            for control in ("", "shuffled") if row in GUIDED_ROWS else ("",):
                chosen = [f for f in facts if (f["mode"], f["row"], f["control"]) == (mode, row, control)]
                good = [fact for fact in chosen if fact["status"] == "ok"]
                if chosen:
                    rows.append(_table_row(mode, row, control, good, values))
        gaps += _gaps(mode, facts, values)
    return Evaluation(tuple(rows), tuple(gaps), tuple(_notes(facts)))


def _table_row(
    mode: str, row: str, control: str, facts: Sequence[dict], values: dict[tuple[str, str], float]
) -> TableRow:
    mean, sd = {}, {}
    for metric in METRICS:
        found = [values[fact["run"], metric] for fact in facts if (fact["run"], metric) in values]
        mean[metric] = statistics.fmean(found) if found else math.nan
        sd[metric] = statistics.stdev(found) if len(found) > 1 else math.nan
    return TableRow(mode, row, control, len(facts), mean, sd)


def _gaps(mode: str, facts: Sequence[dict], values: dict[tuple[str, str], float]) -> list[Gap]:
    """Over the folds and seeds that have all three rows; a control counts with the mean of its permutations."""
    from heads.input_rows import GUIDED_ROWS
    from heads.metrics import gap_closed

    def by_unit(row: str, control: str) -> dict[tuple[int, int], float]:
        found: dict[tuple[int, int], list[float]] = {}
        for fact in facts:
            if (fact["mode"], fact["row"], fact["control"]) == (mode, row, control) and fact["status"] == "ok":
                value = values.get((fact["run"], "balanced_accuracy"))
                if value is not None:
                    found.setdefault((fact["fold"], fact["seed"]), []).append(value)
        return {unit: statistics.fmean(group) for unit, group in found.items()}

    inferior, both = by_unit("I", ""), by_unit("S+I", "")
    gaps = []
    for row in GUIDED_ROWS:
        for control in ("", "shuffled"):
            guided = by_unit(row, control)
            units = sorted(set(inferior) & set(both) & set(guided))
            if units:
                columns = [[table[unit] for unit in units] for table in (inferior, both, guided)]
                gain = statistics.fmean(g - i for i, _, g in zip(*columns, strict=True))
                gaps.append(Gap(mode, row, control, str(gap_closed(*columns)), gain))
    return gaps


def _notes(facts: Sequence[dict]) -> list[str]:
    units = {(fact["fold"], fact["seed"]) for fact in facts}
    folds, seeds = sorted({fold for fold, _ in units}), sorted({seed for _, seed in units})
    notes = [
        f"mean ± sd over {len(folds)} folds x {len(seeds)} seeds; the control also over its permutations",
        "gap closed = (row − I) / (S+I − I) in balanced accuracy; – where the interval of S+I − I includes 0",
    ]
    if any("unknown" in fact["trained_on"] for fact in facts):
        notes.append("what the encoders were trained on is unknown (imported codes)")
    diverged = sum(fact["status"] == "diverged" for fact in facts)
    if diverged:
        notes.append(f"{diverged} runs diverged and are left out; lower the learning rate or standardise")
    return notes


def find_runs(root: Path, condition: Callable[[dict], bool], at: int | str | None = None) -> list[str]:
    """Ids of the newest run for each (cohort, target, split, fold, code sets, row, mode, heads, control, seed)."""
    snapshot = EmbeddingStore.open(root).snapshot(at)
    newest: dict[tuple, dict] = {}
    for run in snapshot.rows("runs").to_pylist():
        if condition(run):
            stems = [run[side].partition("@")[0] for side in ("inferior", "superior")]
            names = (
                "cohort",
                "target",
                "split",
                "fold",
                "row",
                "mode",
                "guidance",
                "decoder",
                "control",
                "permutation",
            )
            place = (*stems, *(run[name] for name in names), run["seed"])
            if place not in newest or newest[place]["snapshot"] <= run["snapshot"]:
                newest[place] = run
    return [run["run"] for run in newest.values()]
