"""The paper's tables as figures: bars of the rows, and bars of what guidance gained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.paper.table import Cell, Column, PaperTable
from guidestore.flows.work.colours import ROW_COLOURS
from guidestore.heads.metrics import metric_named

_BARS = ("I", "G(I)", "G(I)+I")
_CONTROL = ("#D9D9D9", "////")
_LINES = {"S+I": "-", "S": (0, (3, 1.5))}


BESIDE = 12
"""Columns that fit beside each other; more panels stand below each other."""


def draw(table: PaperTable, path: Path) -> None:
    """Bars of I, G(I), G(I)+I and the control per column, ± sd, under the lines of S and S+I: a panel per measure.

    path: .png or .svg. Raises InvalidInputError for another suffix.
    """
    figure, panels = _panels(table, path)
    form = table.form
    bars = [(form.rows[row], ROW_COLOURS[row], "") for row in _BARS]
    if form.control in table.rows:
        bars.append((form.control, *_CONTROL))
    width = 0.8 / len(bars)
    for measure, columns, panel in panels:
        for number, (name, colour, hatch) in enumerate(bars):
            xs = [x - 0.4 + (number + 0.5) * width for x in range(len(columns))]
            _bars(panel, xs, _values(table, name, measure, columns), width, name, colour, hatch)
        for row, style in _LINES.items():
            _levels(panel, _values(table, form.rows[row], measure, columns), form.rows[row], ROW_COLOURS[row], style)
        panel.set_ylim(0, 1)
        panel.set_ylabel("mean ± sd")
    _save(figure, panels[0][2], path)


def draw_gains(table: PaperTable, path: Path) -> None:
    """What G(I)+I gained over I per column, with its 95 % interval, beside what the shuffled control gained.

    Columns whose effect is not known are left empty. path: .png or .svg. Raises InvalidInputError for another suffix.
    """
    name = table.form.rows["G(I)+I"]
    figure, panels = _panels(table, path, {effect.metric for effect in table.effects.values()})
    for _, columns, panel in panels:
        for x, column in enumerate(columns):
            known = table.effects.get((name, column.key))
            if known is None or known.effect is None:
                continue
            gain = known.effect.gain_over_i.gain
            control = gain.value - known.effect.gain_over_shuffled.gain.value
            colour, edge = ROW_COLOURS["G(I)+I"], {"edgecolor": "#555555", "linewidth": 0.6}
            panel.bar(x - 0.2, gain.value, 0.38, label=name, color=colour, **edge)
            ends = [[gain.value - gain.low], [gain.high - gain.value]]
            panel.errorbar(x - 0.2, gain.value, ends, color="#333333", capsize=2, linewidth=0.9)
            grey, hatch = _CONTROL
            panel.bar(x + 0.2, control, 0.38, label=table.form.control, color=grey, hatch=hatch, **edge)
        panel.axhline(0, color="#333333", linewidth=0.8)
        panel.set_ylabel(f"gain over {table.form.rows['I']}, 95 % interval")
    _save(figure, panels[0][2], path)


_Panels = list[tuple[str, list[Column], Any]]


def _panels(table: PaperTable, path: Path, wanted: set[str] | None = None) -> tuple[Any, _Panels]:
    """A figure with a panel for each measure (of `wanted`), and the columns that it shows."""
    from matplotlib.figure import Figure

    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise InvalidInputError(f"{Path(path).name} is no name for a figure; end it in .png or .svg")
    measures = [
        measure
        for measure in dict.fromkeys(measure for column in table.columns for measure in column.measures)
        if wanted is None or measure in wanted
    ]
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


def _save(figure: Any, panel: Any, path: Path) -> None:
    handles, labels = panel.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once, loc="outside lower center", ncols=len(once), frameon=False, fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


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


def _levels(panel: Any, values: Sequence[tuple[float, float, Cell | None]], name: str, colour: str, style: Any) -> None:
    """A line over the bars of each column, once in the legend."""
    levels = [(x, mean) for x, (mean, _, _) in enumerate(values) if math.isfinite(mean)]
    if levels:
        xs, means = zip(*levels, strict=True)
        ends = [x - 0.45 for x in xs], [x + 0.45 for x in xs]
        panel.hlines(means, *ends, colors=colour, linestyles=style, linewidth=1.6, label=name)
