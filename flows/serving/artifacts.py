"""What a flow run shows in the UI: tables, Markdown and figures, from plain results. Cases appear by id alone."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from guidestore.flows.paper.figures import draw
from guidestore.flows.paper.table import PaperTable
from guidestore.flows.results.effects import RowEffect, spread
from guidestore.flows.results.evaluation import Evaluation, TableRow
from guidestore.flows.serving.figure_files import address_of
from guidestore.flows.work.colours import CONTROL_COLOUR, ROW_COLOURS
from guidestore.heads.input_rows import REFERENCE
from guidestore.heads.metrics import drawn_metrics

MOST_ROWS = 500
"""A page shows no more; SQL gives all."""


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """A table artifact. key: small letters, digits and dashes."""
    shown = [{name: _plain(value) for name, value in row.items()} for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        description += f" The first {MOST_ROWS} of {len(rows)} rows."
    create_table_artifact(shown, key=key, description=description)


def show_quarantine(key: str, cases: Iterable[str]) -> None:
    """The cases that could not be read; why, which names their files, is in the store."""
    more = '`guidestore sql "FROM quarantine"` says why each could not be encoded; the others went on.'
    show_table(key, [{"case": case} for case in cases], more)


def show_markdown(key: str, text: str, description: str) -> None:
    """A Markdown artifact."""
    create_markdown_artifact(text, key=key, description=description)


def show_figure(key: str, figure: Any, description: str) -> None:
    """A matplotlib figure as an image artifact."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    _show_png(key, data.getvalue(), description)


def show_paper_table(key: str, table: PaperTable) -> None:
    """A table of the paper as Markdown, and its figure."""
    from guidestore.flows.paper.table import to_markdown

    show_markdown(key, to_markdown(table), table.form.name)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "table.png"
        draw(table, file)
        _show_png(f"{key}-figure", file.read_bytes(), f"{table.form.name} as bars, mean ± sd.")


def _show_png(key: str, data: bytes, description: str) -> None:
    create_image_artifact(address_of(data), key=key, description=description)


def result_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    """The rows of a table, with the gains and the verdict of the guided ones, which come first."""
    effects = {effect.head: effect for effect in evaluation.effects}
    # The answer first: a page shows ten rows.
    ordered = sorted(
        evaluation.rows, key=lambda row: (row.head not in effects, bool(row.control), row.row == REFERENCE)
    )
    # R(I) are the references; the page has no room to say it.
    return [result_row(row, effects.get(row.head), row.label.replace("(reference, ", "(")) for row in ordered]


def result_row(row: TableRow, decided: RowEffect | None, label: str) -> dict[str, str]:
    """One row of that table."""
    scores = {metric.short: _mean_sd(row.mean[name], row.sd[name]) for name, metric in drawn_metrics(row.kind).items()}
    effect = decided.effect if decided else None
    nearest = effect.nearest_control if effect else None
    # The page of a table has room for four columns of these widths; it scrolls to the others.
    return {
        "verdict": decided.verdict if decided else "",
        "input": label,
        "gain over I": spread(effect.gain_over_i) if effect else "",
        "over control": spread(nearest.over) if nearest else "",
        "nearest control": nearest.rival.name if nearest else "",
        **scores,
        "gap closed": (spread(effect.gap_closed, ".0%") if effect else ""),
        "runs": str(row.n),
    }


def bars(evaluation: Evaluation, title: str) -> Any:
    """A matplotlib figure: each row in the first metric of the target's kind, mean ± sd over folds and seeds."""
    from matplotlib.figure import Figure

    metric, told = next(iter(drawn_metrics(evaluation.rows[0].kind).items()))
    figure = Figure(figsize=(7.0, 0.9 + 0.38 * len(evaluation.rows)), layout="constrained")
    panel = figure.subplots()
    for line, row in enumerate(evaluation.rows):
        colour = CONTROL_COLOUR if row.control else ROW_COLOURS.get(row.row, CONTROL_COLOUR)
        error = row.sd[metric] if math.isfinite(row.sd[metric]) else 0.0
        panel.barh(line, row.mean[metric], xerr=error, color=colour, height=0.7, capsize=2, ecolor="#333333")
    panel.set_yticks(range(len(evaluation.rows)), [row.label for row in evaluation.rows])
    panel.invert_yaxis()
    panel.set_xlim(min(0.0, panel.get_xlim()[0]), 1)  # R² and kappa may lie below 0
    panel.set_xlabel(f"{told.title} on test, mean ± sd")
    panel.set_title(title, fontsize=10, parse_math=False)
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table in Markdown; what a cell holds is text, never markup."""
    if not rows:
        return "(none)\n"
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_text(row.get(name)) for name in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(value: Any) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return "".join(f"&#{ord(sign)};" if sign in "|<>&*_`[]$\\\n" else sign for sign in shown)


def _mean_sd(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _plain(value: Any) -> Any:
    """What JSON has."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
