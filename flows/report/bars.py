"""Each input row's metrics as bars, with 95 % intervals over the test cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.report.figures import Picture, mark_bar
from guidestore.flows.report.sections import Section
from guidestore.flows.report.tables import NOTHING
from guidestore.flows.results.evaluation import tabulate
from guidestore.flows.work.colours import CONTROL_COLOUR, INK, ROW_COLOURS
from guidestore.heads.significance import DrawnMetrics, Interval, draw_metrics
from guidestore.heads.significance.intervals import interval_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE_CHARS = 60
"""Of all panels beside each other; longer titles reach into the next."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The picture, None where nothing is drawn; its rows as numbers and as text (label, a cell per metric); notes."""

    picture: Picture | None
    told: tuple[BarRow, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BarRow:
    """One row of the figure."""

    label: str
    row: str
    control: str
    intervals: dict[str, Interval]
    """By metric; what is undefined is not in it."""


def bars_of(section: Section) -> Bars:
    """The bars of one section, from its stored predictions."""
    if not section.predictions:
        return Bars(None, (), (), ("No run here has stored predictions of labelled test cases, so nothing is drawn.",))
    try:
        rows, notes = bar_rows_of(section)
    except InvalidInputError as error:
        return Bars(None, (), (), (f"No intervals: {error}.",))
    cells = [tuple(_cell(row.intervals.get(metric)) for metric in section.metrics) for row in rows]
    labels = [row.label for row in rows]
    return Bars(_draw(section, rows), tuple(rows), tuple(zip(labels, cells, strict=True)), tuple(dict.fromkeys(notes)))


def bar_rows_of(section: Section) -> tuple[list[BarRow], list[str]]:
    """The rows of the figure, and notes. Raises InvalidInputError where no interval can be told."""
    drawn = draw_metrics(list(section.predictions.values()), metrics=tuple(section.metrics))
    rows: list[BarRow] = []
    notes: list[str] = []
    for table_row in tabulate(section.runs, section.scores, section.metric):
        runs = [run.run for run in section.of(table_row.runs)]
        if not runs:
            notes.append(f"{table_row.label} has no test predictions.")
            continue
        intervals = {}
        for name, metric in section.metrics.items():
            try:
                intervals[name] = _interval(drawn, name, runs)
            except InvalidInputError:
                label = table_row.label
                notes.append(f"{metric.title} of {label} is not defined: a class has no test cases, or too few.")
        rows.append(BarRow(table_row.label, table_row.row, table_row.control, intervals))
    notes.append(f"95 % intervals from {drawn.draws} draws of the test cases, seed {drawn.seed}; heads as trained.")
    return rows, notes


def _interval(drawn: DrawnMetrics, metric: str, runs: list[str]) -> Interval:
    return interval_of(drawn.row(metric, runs), metric)


def _cell(interval: Interval | None) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]" if interval else NOTHING


def _draw(section: Section, rows: list[BarRow]) -> Picture:
    first = next(iter(section.metrics.values()))
    told = "; ".join(f"{row.label} {_cell(row.intervals.get(first.name))}" for row in rows)
    size_in = (8.0, 0.75 + 0.3 * len(rows))
    return Picture("bars", size_in, f"Bars: {first.title} of {told}", lambda figure: fill_bars(figure, section, rows))


def fill_bars(figure: Figure, section: Section, rows: Sequence[BarRow]) -> None:
    """A panel per metric."""
    metrics = section.metrics
    panels = figure.subplots(1, len(metrics), sharey=True)
    for (name, metric), panel in zip(metrics.items(), panels, strict=True):
        for y, row in enumerate(rows):
            if name in row.intervals:
                _bar(panel, y, row, row.intervals[name])
        if metric.chance is not None:
            panel.axvline(metric.chance(len(section.classes)), color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        panel.set_title(metric.title if len(metric.title) <= _TITLE_CHARS // len(metrics) else metric.short, loc="left")
        if metric.better == "higher" and metric.from_0_to_1:  # else an error, in units of its own
            low = min((of.low for row in rows if (of := row.intervals.get(name))), default=0.0)
            panel.set_xlim(min(0.0, max(-1.0, low)), 1)  # R², rank and kappa may lie below 0
            if low >= 0:
                panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_yticks(range(len(rows)), [row.label for row in rows])
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")


def _bar(panel: Any, y: int, row: BarRow, interval: Interval) -> None:
    colour = CONTROL_COLOUR if row.control else ROW_COLOURS.get(row.row, CONTROL_COLOUR)
    # A bar in the page's ink at full strength would hide its own whisker.
    (bar,) = panel.barh(y, interval.value, 0.72, color=colour, alpha=0.55, hatch="////" if row.control else "")
    mark_bar(bar)
    panel.plot([interval.low, interval.high], [y, y], color=INK, linewidth=1.3, solid_capstyle="butt")
    panel.plot([interval.value], [y], marker="|", color=INK, markersize=7)
