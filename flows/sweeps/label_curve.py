"""The label-budget curve of a sweep: what labels buy for row I, the guided head and its controls, under I's ceiling."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.effects import METRIC, RowEffect, decoder_of_one_code
from guidestore.flows.results.predictions import Part, load_predictions
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.ranking import Ranked, look_at_test, rank_sweep, related_runs, sweep_runs
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.controls import SELF_TRAINING
from guidestore.heads.input_rows import I
from guidestore.heads.significance import Interval, draw_metrics, interval_of, on_common_cases

_LINES = {
    "guided": ("#009E73", "-", "o"),
    "I": ("#0072B2", "-", "s"),
    "shuffled pairs": ("#999999", "--", "^"),
    "self-training": ("#CC79A7", ":", "v"),
}
"""Line -> colour (Okabe and Ito), style and marker."""
_ACROSS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One line at one label budget."""

    line: str
    """guided, I, shuffled pairs or self-training."""
    labelled: int | str
    n_labels: float
    """Labelled train cases that row I saw, a mean over folds."""
    score: Interval


@dataclass(frozen=True, slots=True)
class LabelCurve:
    """One guided head at all its budgets."""

    effect: RowEffect
    """Of one of the budgets: it names the head."""
    metric: str
    part: Part
    points: tuple[Point, ...]
    ceiling: Interval | None
    """Row I with all labels; None where the sweep does not have it."""

    def as_rows(self) -> list[dict[str, Any]]:
        """Flat, for tables, CSV and Parquet; the ceiling is its own line."""
        head = {name: getattr(self.effect, name) for name in ("target", "mode", "row", "guidance", "decoder")}
        points = [(point.line, point.labelled, point.n_labels, point.score) for point in self.points]
        if self.ceiling:
            points.append(("I, all labels", "all", max(point.n_labels for point in self.points), self.ceiling))
        return [
            {**head, "line": line, "labelled": labelled, "labels": n, self.metric: score.value}
            | {"low": score.low, "high": score.high}
            for line, labelled, n, score in points
        ]


def label_curves(
    root: Path | str,
    sweep: SweepFile,
    *,
    metric: str = METRIC,
    heads: int = 4,
    test: bool = False,
    progress: Progress = no_progress,
) -> list[LabelCurve]:
    """The curves of the `heads` heads that are best on val at their smallest budget. test: on test, which is counted.

    Raises GuidestoreError, and InvalidInputError for a sweep of one label budget.
    """
    if len(sweep.labelled) < 2:
        raise InvalidInputError(
            f"sweep {sweep.name} has one label budget; give it several, as `labelled: [50, 100, all]`, and run it again"
        )
    store = EmbeddingStore.open(root)
    found = sweep_runs(store, sweep)
    ranked = rank_sweep(root, sweep, metric=metric)
    # The smallest budget is where guidance has most to give.
    smallest = min((b for b in sweep.labelled if b != "all"), default="all")
    best = [one for one in ranked if one.labelled == smallest][:heads]
    if not best:
        raise InvalidInputError(f"sweep {sweep.name} has no head at the label budget {smallest}; run it first")
    drawn = [one for one in ranked if any(_head(one) == _head(chosen) for chosen in best)]
    if test:
        facts = look_at_test(store, sweep, found, drawn, f"label curve of {len(best)} heads", progress)
    else:
        facts = related_runs(found, drawn)
    part: Part = "test" if test else "val"
    predictions = load_predictions(store.snapshot(), facts, part)
    curves = []
    for chosen in best:
        budgets = {one.labelled: one for one in drawn if _head(one) == _head(chosen)}
        curves.append(_curve(budgets, facts, found.budgets, predictions, metric, part))
    return curves


def _head(one: Ranked) -> tuple[str, ...]:
    names = ("target", "mode", "inferior", "superior", "row", "guidance", "decoder")
    return tuple(getattr(one.effect, name) for name in names)


def _curve(
    budgets: Mapping[int | str, Ranked],
    facts: Sequence[dict],
    budget_of: Mapping[str, int | str],
    predictions: Mapping[str, RunPredictions],
    metric: str,
    part: Part,
) -> LabelCurve:
    points, ceiling = [], None
    for budget in sorted(budgets, key=lambda b: float("inf") if b == "all" else float(b)):
        effect = budgets[budget].effect
        members = [f for f in facts if budget_of[f["run"]] == budget and f["run"] in predictions]
        lines = _lines(effect, members)
        runs = on_common_cases([predictions[run] for ids in lines.values() for run in ids])
        draws = draw_metrics(runs, metrics=(metric,))
        seen = [fact["n_train"] for fact in members if fact["run"] in lines["I"]]
        n_labels = statistics.fmean(seen) if seen else float(budget)
        for line, ids in lines.items():
            if ids:
                score = interval_of(draws.row(metric, ids), f"{metric} of {line}")
                points.append(Point(line, budget, n_labels, score))
                ceiling = score if (line, budget) == ("I", "all") else ceiling
    return LabelCurve(next(iter(budgets.values())).effect, metric, part, tuple(points), ceiling)


def _lines(effect: RowEffect, members: Sequence[dict]) -> dict[str, list[str]]:
    """Line -> its runs."""
    own = [
        f for f in members if (f["row"], f["guidance"], f["decoder"]) == (effect.row, effect.guidance, effect.decoder)
    ]
    plain = [f for f in members if f["row"] == I and f["target"] == effect.target]
    same = [f for f in plain if f["decoder"] == decoder_of_one_code(effect.decoder)] or plain
    return {
        "guided": [f["run"] for f in own if not f["control"]],
        "I": [f["run"] for f in same],
        "shuffled pairs": [f["run"] for f in own if f["control"] == "shuffled"],
        "self-training": [f["run"] for f in own if f["control"] == SELF_TRAINING],
    }


def draw_curves(curves: Sequence[LabelCurve], path: Path) -> None:
    """A panel per head: the score against the number of labels, bars for the 95 % intervals, a band for the ceiling.

    path: .png or .svg. Raises InvalidInputError for another suffix.
    """
    from matplotlib.figure import Figure

    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise InvalidInputError(f"{Path(path).name} is no name for a figure; end it in .png or .svg")
    across = min(_ACROSS, len(curves))
    down = -(-len(curves) // across)
    figure = Figure(figsize=(5.6 * across, 0.8 + 3.6 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    handles: dict[str, Any] = {}
    for panel, curve in zip(panels, curves, strict=False):
        _draw(panel, curve)
        found, names = panel.get_legend_handles_labels()
        handles |= zip(names, found, strict=True)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw(panel: Any, curve: LabelCurve) -> None:
    effect = curve.effect
    if curve.ceiling:
        panel.axhspan(curve.ceiling.low, curve.ceiling.high, color="#0072B2", alpha=0.08, linewidth=0)
        panel.axhline(curve.ceiling.value, color="#0072B2", linewidth=1, linestyle=(0, (6, 3)), label="I, all labels")
    budgets = sorted({(point.n_labels, str(point.labelled)) for point in curve.points})
    for shift, (line, (colour, style, marker)) in enumerate(_LINES.items()):
        points = [point for point in curve.points if point.line == line]
        if not points:
            continue
        xs = [point.n_labels * 1.015 ** (shift - 1.5) for point in points]  # beside each other, on a log axis
        values = [point.score.value for point in points]
        ends = [[p.score.value - p.score.low for p in points], [p.score.high - p.score.value for p in points]]
        panel.errorbar(
            xs, values, ends, color=colour, linestyle=style, marker=marker, markersize=4, capsize=2, label=line
        )
    panel.set_xscale("log")
    panel.set_xticks([n for n, _ in budgets], [name for _, name in budgets])
    panel.minorticks_off()
    of_guidance = f" of {effect.guidance}" if effect.guidance else ""
    panel.set_title(f"{effect.target}: {effect.row}{of_guidance}\n{effect.decoder}", fontsize=9)
    panel.set_xlabel("labelled train cases")
    panel.set_ylabel(f"{curve.metric.replace('_', ' ')} on {curve.part}")
    panel.set_axisbelow(True)
    panel.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    panel.spines[["top", "right"]].set_visible(False)
