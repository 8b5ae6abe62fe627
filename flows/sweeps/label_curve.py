"""The label-budget curve of a sweep: what labels buy for row I, the guided head and its controls, under I's ceiling."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Head, LabelBudget, Part, Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.effects import decoder_of_one_code, main_metric, same_scope
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.ranking import look_at_test, ranked_on_val, related_runs, sweep_runs
from guidestore.flows.work.colours import CONTROL_COLOUR, OKABE_ITO, ROW_COLOURS
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.controls import OWN, SHUFFLED
from guidestore.heads.input_rows import GUIDED_PLUS_I, I
from guidestore.heads.metrics import asked_metric
from guidestore.heads.significance import Interval, draw_metrics, interval_of, on_common_cases
from guidestore.warehouse.predictions import load_predictions

_LINES = {
    "guided": (ROW_COLOURS[GUIDED_PLUS_I], "-", "o"),
    "I": (ROW_COLOURS[I], "-", "s"),
    "shuffled pairs": (CONTROL_COLOUR, "--", "^"),
    "teacher on I": (OKABE_ITO["purple"], ":", "v"),
}
"""Line -> colour, style and marker."""
_ACROSS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One line at one label budget."""

    line: str
    """guided, I, shuffled pairs or a teacher on I."""
    labelled: LabelBudget
    n_labels: float
    """Labelled train cases that row I saw, a mean over folds."""
    score: Interval


@dataclass(frozen=True, slots=True)
class LabelCurve:
    """One guided head at all its budgets."""

    head: Head
    """At one of the budgets."""
    metric: str
    part: Part
    points: tuple[Point, ...]
    ceiling: Interval | None
    """Row I with all labels; None where the sweep does not have it."""

    def as_rows(self) -> list[dict[str, Any]]:
        """Flat, for tables, CSV and Parquet; the ceiling is its own line."""
        head = {name: getattr(self.head, name) for name in ("target", "mode", "row", "guidance", "decoder")}
        points = [(point.line, point.labelled, point.n_labels, point.score) for point in self.points]
        if self.ceiling:
            points.append(("I, all labels", "all", max(point.n_labels for point in self.points), self.ceiling))
        return [
            {**head, "line": line, "labelled": labelled, "labels": n, self.metric: score.value}
            | {"low": score.low, "high": score.high}
            for line, labelled, n, score in points
        ]


def label_curves(
    store: EmbeddingStore,
    sweep: SweepFile,
    *,
    metric: str = "",
    heads: int = 4,
    test: bool = False,
    progress: Progress = no_progress,
) -> list[LabelCurve]:
    """The curves of the `heads` heads that are best on val at their smallest budget. metric: "" for the main. test: on
    test, which is counted.

    Raises GuidestoreError, and InvalidInputError for a sweep of one label budget.
    """
    if len(sweep.labelled) < 2:
        raise InvalidInputError(
            f"sweep {sweep.name} has one label budget; give it several, as `labelled: [50, 100, all]`, and run it again"
        )
    sweep = with_first_name(store, sweep)
    runs = sweep_runs(store, sweep)
    metric = asked_metric(metric)
    ranked = ranked_on_val(store.snapshot(), runs, metric)
    # The smallest budget is where guidance has most to give.
    smallest = min((budget for budget in sweep.labelled if budget != "all"), default="all")
    best = [of_head.effect.head for of_head in ranked if of_head.effect.head.labelled == smallest][:heads]
    if not best:
        raise InvalidInputError(f"sweep {sweep.name} has no head at the label budget {smallest}; run it first")
    drawn = [of_head for of_head in ranked if replace(of_head.effect.head, labelled=smallest) in best]
    if test:
        members = look_at_test(store, sweep, runs, drawn, f"label curve of {len(best)} heads", progress)
    else:
        members = related_runs(runs, drawn)
    part: Part = "test" if test else "val"
    predictions = load_predictions(store.snapshot(), members, part)
    with_predictions = [run for run in members if run.id in predictions]
    budgets = {of_head.effect.head for of_head in drawn}
    curves = []
    for chosen in best:
        of_head = [head for head in budgets if replace(head, labelled=smallest) == chosen]
        of_head.sort(key=lambda head: float("inf") if head.labelled == "all" else float(head.labelled))
        curves.append(_curve(of_head, with_predictions, predictions, metric or main_metric(predictions.values()), part))
    return curves


def _curve(
    heads: Sequence[Head],
    members: Sequence[Run],
    predictions: Mapping[str, RunPredictions],
    metric: str,
    part: Part,
) -> LabelCurve:
    """heads: the same at each of its budgets, ascending."""
    points, ceiling = [], None
    for head in heads:
        lines = _lines(head, [run for run in members if same_scope(run.head, head)])
        ids = {line: [run.id for run in runs] for line, runs in lines.items()}
        common = on_common_cases([predictions[id_] for of_line in ids.values() for id_ in of_line])
        draws = draw_metrics(common, metrics=(metric,))
        seen = [run.n_train for run in lines["I"]]
        n_labels = statistics.fmean(seen) if seen else float(head.labelled)
        for line, of_line in ids.items():
            if of_line:
                score = interval_of(draws.row(metric, of_line), f"{metric} of {line}")
                points.append(Point(line, head.labelled, n_labels, score))
                ceiling = score if (line, head.labelled) == ("I", "all") else ceiling
    return LabelCurve(heads[0], metric, part, tuple(points), ceiling)


def _lines(head: Head, members: Sequence[Run]) -> dict[str, list[Run]]:
    """Line -> its runs."""
    models = (head.row, head.guidance, head.decoder)
    own = [run for run in members if (run.row, run.guidance, run.decoder) == models]
    plain = [run for run in members if run.row == I]
    return {
        "guided": [run for run in own if not run.control],
        "I": [run for run in plain if run.decoder == decoder_of_one_code(head.decoder)] or plain,
        "shuffled pairs": [run for run in own if run.control == SHUFFLED],
        "teacher on I": [run for run in own if run.control == OWN],
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
        artists, names = panel.get_legend_handles_labels()
        handles |= zip(names, artists, strict=True)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw(panel: Any, curve: LabelCurve) -> None:
    if curve.ceiling:
        panel.axhspan(curve.ceiling.low, curve.ceiling.high, color=_LINES["I"][0], alpha=0.08, linewidth=0)
        panel.axhline(
            curve.ceiling.value, color=_LINES["I"][0], linewidth=1, linestyle=(0, (6, 3)), label="I, all labels"
        )
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
    head = curve.head
    of_guidance = f" of {head.guidance}" if head.guidance else ""
    panel.set_title(f"{head.target}: {head.row}{of_guidance}\n{head.decoder}", fontsize=9)
    panel.set_xlabel("labelled train cases")
    panel.set_ylabel(f"{curve.metric.replace('_', ' ')} on {curve.part}")
    panel.set_axisbelow(True)
    panel.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    panel.spines[["top", "right"]].set_visible(False)
