"""How answers are shown: tables on a terminal, csv, json or parquet for pipes."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any, Literal

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.work.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from guidestore.flows.results.effects import RowEffect
    from guidestore.flows.results.evaluation import EvaluatedBlock, Evaluation
    from guidestore.flows.results.families import Family

Format = Literal["table", "csv", "json", "parquet"]
MAX_TABLE_ROWS = 200
"""A terminal shows no more; the other formats give all."""


def show_rows(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], format_: str, title: str = "", *, more: int = 0
) -> None:
    """Prints rows to standard output in `format_`. Raises InvalidInputError for binary output to a terminal.

    more: rows that there are beyond these, which a table says.
    """
    if format_ == "table":
        _table(rows, columns, title, more)
    elif format_ in STREAMED:
        STREAMED[format_](columns, [[tuple(row.get(name) for name in columns) for row in rows]])
    else:
        import pyarrow as pa

        show_arrow(pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows]), format_)


def show_arrow(table: Any, format_: str, title: str = "", *, more: int = 0) -> None:
    """`show_rows` of an Arrow table, or of what has its `column_names` and `to_pylist`."""
    if format_ == "parquet":
        import pyarrow.parquet as pq

        if sys.stdout.isatty():
            raise InvalidInputError("parquet is binary: send it into a file, as in `… --format parquet > out.parquet`")
        pq.write_table(table, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    show_rows(table.to_pylist(), table.column_names, format_, title, more=more)


def show_csv(columns: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]) -> None:
    """Prints rows as CSV, batch by batch."""
    seen = printable if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([seen(name) for name in columns])
    for batch in batches:
        for row in batch:
            values = [json.dumps(_plain(v)) if isinstance(v, list | tuple | dict) else v for v in row]
            writer.writerow([seen(v) if isinstance(v, str) else v for v in values])


def show_json(columns: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]) -> None:
    """Prints rows as a JSON array of objects, batch by batch."""
    before = "[\n"
    for batch in batches:
        for row in batch:
            of_names = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
            sys.stdout.write(before + indent(json.dumps(of_names, indent=1), " "))
            before = ",\n"
    print("[]" if before == "[\n" else "\n]")


STREAMED = {"csv": show_csv, "json": show_json}
"""Formats whose rows are printed as they come."""


def _console(width: int) -> Console:
    """Of standard output. Names are text: brackets and colons in them mean nothing. width: of a pipe, in characters."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False)


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str], title: str, more: int) -> None:
    from rich.table import Table

    table = Table(title=printable(title) or None, title_justify="left")
    numeric = {name for name in columns if any(isinstance(row.get(name), int | float) for row in rows)}
    for name in columns:
        table.add_column(printable(name), justify="right" if name in numeric else "left", overflow="fold")
    for row in rows[:MAX_TABLE_ROWS]:
        table.add_row(*(printable(_cell(row.get(name))) for name in columns))
    console = _console(200)
    console.print(table)
    more += max(0, len(rows) - MAX_TABLE_ROWS)
    if more:
        console.print(f"… and {more} more rows; --format csv|json|parquet gives all", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        shown = ", ".join(_cell(item) for item in value[:4])
        return f"[{shown}{', …' if len(value) > 4 else ''}]"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def paper_table(evaluation: Evaluation, title: str) -> None:
    """Prints the tables of an `Evaluation` in the paper's form, and what each guided row gained."""
    console = _console(140)
    console.print(printable(title), highlight=False)
    for of_block in evaluation.blocks:
        console.print(f"\n{printable(of_block.block.title)}", highlight=False)
        console.print(_rows_table(of_block))
        if of_block.effects:
            console.print(_effects_table(of_block.effects, evaluation.family))
    for note in evaluation.notes:
        console.print(f"  {printable(note)}", highlight=False)


def _rows_table(of_block: EvaluatedBlock) -> Table:
    from rich.table import Table

    from guidestore.heads.metrics import drawn_metrics

    metrics = drawn_metrics(of_block.block.runs[0].kind)
    table = Table()
    for name in ("input", *(metric.short for metric in metrics.values()), "runs"):
        table.add_column(name, justify="left" if name == "input" else "right", no_wrap=name != "input")
    for row in of_block.rows:
        scores = (_spread(row.mean[name], row.sd[name]) for name in metrics)
        table.add_row(printable(row.label), *scores, str(row.n))
    return table


def _effects_table(effects: Sequence[RowEffect], family: Family) -> Table:
    from rich.table import Table

    from guidestore.flows.results.effects import spread

    table = Table(title="Is it guidance?", title_justify="left")
    for name in ("input", "verdict", "gain over I", "nearest control", "best reference", "gap closed", "p, Holm"):
        left = name in ("input", "verdict")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for of_head in effects:
        effect = of_head.effect
        if effect is None:
            table.add_row(of_head.head.row, of_head.verdict, *["–"] * 5)
            continue
        nearest, reference = (
            f"{gain.rival.name}\n{spread(gain.over)}" if gain else "–"
            for gain in (effect.nearest_control, effect.nearest_reference)
        )
        closed = spread(effect.gap_closed, ".0%")
        p = f"{family.p_values[of_head.head]:.3f}"
        table.add_row(of_head.head.row, of_head.verdict, spread(effect.gain_over_i), nearest, reference, closed, p)
    return table


def _spread(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "–"
    text = f"{mean:.3f}"
    return text if math.isnan(sd) else f"{text} ± {sd:.3f}"
