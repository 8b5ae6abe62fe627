"""The paper's tables as figures: bars of the rows, and bars of what guidance gained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.paper.table import Cell, Column, PaperTable
from guidestore.flows.report.figures import SAVED, drawing, save_figure, saved_style
from guidestore.flows.report.gains import fill_gains, gains_size
from guidestore.flows.work.colours import ROW_COLOURS
from guidestore.heads.metrics import metric_named

_BARS = ("I", "G(I)", "G(I)+I")
_CONTROL = ("#D9D9D9", "////")
_LINES = {"S+I": "-", "S": (0, (3, 1.5))}


BESIDE = 12
"""Columns that fit beside each other; more panels stand below each other."""


def draw(table: PaperTable, *paths: Path) -> None:
    """Bars of I, G(I), G(I)+I and the control per column, ± sd, under the lines of S and S+I: a panel per measure.

    Where both lines lie at the same height, that of S+I is on the left half. paths: .png, .svg or .pdf. Raises
    InvalidInputError for another suffix.
    """
    _check_suffixes(paths)
    figure, panels = _panels(table)
    form = table.form
    bars = [(form.rows[row], ROW_COLOURS[row], "") for row in _BARS]
    if form.control in table.rows:
        bars.append((form.control, *_CONTROL))
    width = 0.8 / len(bars)
    for measure, columns, panel in panels:
        for number, (name, colour, hatch) in enumerate(bars):
            xs = [x - 0.4 + (number + 0.5) * width for x in range(len(columns))]
            _bars(panel, xs, _values(table, name, measure, columns), width, name, colour, hatch)
        for side, (row, style) in enumerate(_LINES.items()):
            values = _values(table, form.rows[row], measure, columns)
            _levels(panel, values, form.rows[row], ROW_COLOURS[row], style, side)
        panel.set_ylim(0, 1.02)
        panel.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        runs = {cell.n for name, _, _ in bars for _, _, cell in _values(table, name, measure, columns) if cell}
        counts = " to ".join(map(str, sorted({min(runs - {0}, default=0), max(runs, default=0)})))
        panel.set_ylabel(f"mean ± sd over {counts} {'run' if counts == '1' else 'runs'}")
    _save(figure, panels[0][2], paths)


def draw_gains(table: PaperTable, *paths: Path) -> None:
    """What G(I)+I gained per column: over I, over the nearest control, over the best reference, with 95 % intervals.

    Columns whose effect is not known are left out. paths: .png, .svg or .pdf. Raises InvalidInputError for another
    suffix, and where no effect is known.
    """
    _check_suffixes(paths)
    name = table.form.rows["G(I)+I"]
    known = {column.title: table.effects.get((name, column.key)) for column in table.columns}
    told = {title: effect for title, effect in known.items() if effect is not None and effect.effect is not None}
    if not told:
        raise InvalidInputError(f"no gain of {name} can be told, so there is nothing to draw")
    with drawing(*gains_size(len(told)), saved=True) as figure:
        fill_gains(figure, list(told.values()), list(told))
        for path in paths:
            save_figure(figure, Path(path).with_suffix(""), (Path(path).suffix,))


_Panels = list[tuple[str, list[Column], Any]]


def _check_suffixes(paths: Sequence[Path]) -> None:
    for path in (path for path in paths if Path(path).suffix not in SAVED):
        raise InvalidInputError(f"{Path(path).name} is no name for a figure; end it in {', '.join(SAVED)}")


def _panels(table: PaperTable) -> tuple[Any, _Panels]:
    """A figure with a panel for each measure, and the columns that it shows."""
    from matplotlib.figure import Figure

    measures = list(dict.fromkeys(measure for column in table.columns for measure in column.measures))
    by_measure = [[column for column in table.columns if measure in column.measures] for measure in measures]
    widths = [max(2, len(columns)) for columns in by_measure]
    stacked = sum(widths) > BESIDE
    rows, across = (len(measures), max(widths)) if stacked else (1, sum(widths))
    figure = Figure(figsize=(max(7.0, 1.2 + 0.95 * across), 0.6 + 3.4 * rows), layout="constrained")
    ratios = {} if stacked else {"width_ratios": widths}
    row = list(figure.subplots(rows, len(measures) // rows, squeeze=False, gridspec_kw=ratios).flat)
    for measure, columns, panel in zip(measures, by_measure, row, strict=True):
        title = metric_named(measure).title
        panel.set_title(title[0].upper() + title[1:], fontsize=11)
        panel.set_xticks(range(len(columns)), [column.title.replace(" ", "\n") for column in columns], fontsize=9)
        panel.set_xlim(-0.6, (across if stacked else len(columns)) - 0.4)
        panel.set_axisbelow(True)
        panel.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(axis="x", length=0)
    return figure, list(zip(measures, by_measure, row, strict=True))


def _save(figure: Any, panel: Any, paths: Sequence[Path]) -> None:
    handles, labels = panel.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once, loc="outside lower center", ncols=len(once), frameon=False, fontsize=9)
    with saved_style():
        for path in paths:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            save_figure(figure, Path(path).with_suffix(""), (Path(path).suffix,))


def _values(table: PaperTable, row: str, measure: str, columns: Sequence[Column]) -> list[tuple[float, float, Cell]]:
    """(mean, sd, cell) per column; NaN where there is no run."""
    values = []
    for column in columns:
        cell = table.cell(row, column.key) if row in table.rows else None
        index = column.measures.index(measure)
        values.append((cell.mean[index], cell.sd[index], cell) if cell else (math.nan, math.nan, cell))
    return values


def _bars(
    panel: Any,
    xs: Sequence[float],
    values: Sequence[tuple[float, float, Cell | None]],
    width: float,
    name: str,
    colour: str,
    hatch: str,
) -> None:
    means = [mean for mean, _, _ in values]
    panel.bar(xs, means, width * 0.92, label=name, color=colour, hatch=hatch, edgecolor="#555555", linewidth=0.6)
    for x, (mean, sd, cell) in zip(xs, values, strict=True):
        if cell is not None and cell.n == 0:
            panel.text(x, 0.02, "diverged", rotation=90, ha="center", va="bottom", fontsize=7, color="#555555")
        elif math.isfinite(sd):
            panel.errorbar(x, mean, sd, color="#333333", capsize=2, linewidth=0.9)


def _levels(
    panel: Any, values: Sequence[tuple[float, float, Cell | None]], name: str, colour: str, style: Any, side: int
) -> None:
    """A line over one half of the bars of each column, once in the legend. side: 0 the left, 1 the right."""
    levels = [(x, mean) for x, (mean, _, _) in enumerate(values) if math.isfinite(mean)]
    if levels:
        xs, means = zip(*levels, strict=True)
        ends = [x - 0.45 * (1 - side) for x in xs], [x + 0.45 * side for x in xs]
        panel.hlines(means, *ends, colors=colour, linestyles=style, linewidth=1.6, label=name, clip_on=False)
