"""How answers are shown: tables for the eye, on a terminal or as Markdown; csv, json or parquet for programs.

A table on a terminal keeps to its width (`layout`); in a pipe each row is one line and nothing is cut off.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain, islice
from textwrap import indent
from typing import Any, Literal

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.work.printable import printable

Kind = Literal["table", "csv", "json", "parquet", "markdown"]
FOR_EYES = ("table", "markdown")
"""Formats that are read: rounded, with titles and notes. The others hold every column as it is."""
MAX_TABLE_ROWS = 200
"""A terminal shows no more; in a pipe, and in the other formats, all there are."""
_MEASURED_ROWS = 1000
"""Of a pipe: by which the columns are set."""


def show_rows(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], format_: str, title: str = "", *, more: int = 0
) -> None:
    """Prints rows to standard output in `format_`. Raises InvalidInputError for binary output to a terminal.

    more: rows that there are beyond these, which a table says.
    """
    values = [tuple(row.get(name) for name in columns) for row in rows]
    if format_ in FOR_EYES:
        print_table(columns, values, format_, title, more=more)
    elif format_ in STREAMED:
        STREAMED[format_](columns, [values])
    else:
        import pyarrow as pa

        by_name = {name: _of_one_kind([_plain(row[place]) for row in values]) for place, name in enumerate(columns)}
        show_arrow(pa.table({name: pa.array(column) for name, column in by_name.items()}), format_)


def show_arrow(table: Any, format_: str, title: str = "", *, more: int = 0) -> None:
    """`show_rows` of an Arrow table, or of what has its `column_names` and `to_pylist`."""
    if format_ == "parquet":
        if sys.stdout.isatty():
            raise InvalidInputError("parquet is binary: send it into a file, as in `… --format parquet > out.parquet`")
        import pyarrow.parquet as pq

        _check_for_parquet(table.schema)
        sys.stdout.flush()
        pq.write_table(table, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    show_rows(table.to_pylist(), table.column_names, format_, title, more=more)


def _check_for_parquet(schema: Any) -> None:
    """Raises InvalidInputError for columns that Parquet has no type for: an interval, a union."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowNotImplementedError as error:
            raise InvalidInputError(
                f"Parquet has no type for column {field.name!r} ({field.type}): cast it, as in `SELECT a::VARCHAR`, or "
                "use --format csv"
            ) from error


def show_done(
    sentences: Iterable[str], rows: Sequence[dict[str, Any]], format_: str, columns: Sequence[str] = ()
) -> None:
    """What a command did: sentences on a terminal and in pipes, rows in the other formats.

    columns: of the rows, where there may be none.
    """
    if format_ == "table":
        for sentence in sentences:
            print(printable(sentence))
    else:
        show_rows(rows, columns or list(dict.fromkeys(name for row in rows for name in row)), format_)


def show_csv(columns: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]) -> None:
    """Prints rows as CSV, batch by batch; in a pipe or file as UTF-8, whatever else the environment says."""
    seen = printable if sys.stdout.isatty() else str
    if seen is str and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
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


def show_markdown(columns: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]) -> None:
    """Prints rows as a table of Markdown, rounded as for the eye, batch by batch."""
    print(_piped(map(str, columns)))
    aligned = False
    for batch in batches:
        rows = list(batch)
        if not aligned:
            print(_piped("---:" if right else "---" for right in _numeric(columns, rows)))
            aligned = True
        for row in rows:
            print(_piped(map(as_text, row)))
    if not aligned:
        print(_piped("---" for _ in columns))


def show_plain(columns: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]) -> None:
    """Prints rows in lines without an end, for a pipe; the columns are set by the first thousand."""
    from rich.cells import cell_len

    from guidestore.flows.cli.layout import GAP, as_lines, verdict_first

    rows = chain.from_iterable(batches)
    first = list(islice(rows, _MEASURED_ROWS))
    order, right = verdict_first(columns), _numeric(columns, first)
    names, right = [_one_line(columns[place]) for place in order], [right[place] for place in order]
    measured = [[_one_line(as_text(row[place])) for place in order] for row in first]
    for line in as_lines(names, measured, numeric=right, width=None):
        print(line)
    widths = [max(cell_len(row[place]) for row in [names, *measured]) for place in range(len(names))]
    for row in rows:
        cells = [_one_line(as_text(row[place])) for place in order]
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        set_ = [gap + cell if r else cell + gap for cell, gap, r in zip(cells, blanks, right, strict=True)]
        print((" " * GAP).join(set_).rstrip())


STREAMED = {"csv": show_csv, "json": show_json, "markdown": show_markdown}
"""Formats whose rows are printed as they come."""


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    format_: str,
    title: str = "",
    *,
    more: int = 0,
    most_lines: int = 2,
    below: bool = False,
) -> None:
    """Prints a table for the eye: `table`, or `markdown`. Values are rounded to four digits; text is as it is."""
    if title:
        print_text(title if format_ == "table" else f"**{_unmarked(title)}**\n")
    if format_ == "markdown":
        show_markdown(columns, [rows])
        print()
        return
    width = terminal_width()
    if width is None:
        show_plain(columns, [rows])
    else:
        from guidestore.flows.cli.layout import as_lines, verdict_first

        order, right = verdict_first(columns), _numeric(columns, rows)
        cells = [[_untabbed(as_text(row[place])) for place in order] for row in rows[:MAX_TABLE_ROWS]]
        names, right = [_untabbed(columns[place]) for place in order], [right[place] for place in order]
        how = {"bold": bold, "rule": "─", "most_lines": most_lines, "below": below}
        for line in as_lines(names, cells, numeric=right, width=width, **how):
            print(line)
        more += max(0, len(rows) - MAX_TABLE_ROWS)
    if more:
        print_text(f"… and {more} more rows; --format csv|json|parquet gives all")


def print_text(text: str, *, spaces: int = 0) -> None:
    """Prints a sentence: on a terminal in whole words, `spaces` from the left."""
    from guidestore.flows.cli.layout import wrapped

    width, text = terminal_width(), printable(text)
    for line in text.split("\n") if width is None else wrapped(text, max(width - spaces, 20)):
        print(f"{' ' * spaces}{line}")


def terminal_width() -> int | None:
    """Of the terminal that standard output is, in characters; None of a pipe or a file."""
    if not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def bold(text: str) -> str:
    """The text in bold, where standard output is a terminal that has it."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "dumb")
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def _numeric(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[bool]:
    """Of each column, whether it stands to the right: numbers do, and text that begins as one does."""
    kinds = (int, float, Decimal)
    return [any(isinstance(row[place], kinds) for row in rows) for place in range(len(columns))]


def as_text(value: Any) -> str:
    """A value as tables show it: four digits of a number, four numbers of a list."""
    if value is None:
        return ""
    if isinstance(value, float | Decimal):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        most = 4 if sys.stdout.isatty() else len(value)
        shown = ", ".join(as_text(item) for item in value[:most])
        return f"[{shown}{', …' if len(value) > most else ''}]"
    return str(value)


def _untabbed(text: str) -> str:
    return printable(text).replace("\t", "\\t")


def _one_line(text: str) -> str:
    return _untabbed(text).replace("\n", "\\n")


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_unmarked, cells))} |"


def _unmarked(text: str) -> str:
    """Text that means nothing to Markdown."""
    escaped = "".join(f"\\{sign}" if sign in "\\|`*<>[]" else sign for sign in printable(text))
    return escaped.replace("\n", "<br>")


def _of_one_kind(values: list[Any]) -> list[Any]:
    """A column as Parquet has it: what holds numbers and text (50 labels, or "all") is text."""
    if any(isinstance(value, str) for value in values):
        return [value if value is None or isinstance(value, str) else str(value) for value in values]
    return values


def _plain(value: Any) -> Any:
    """As JSON has it: numbers are numbers, what is none is null, other things are text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)  # whole, where a float has 15 digits
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    item = getattr(value, "item", None)  # numpy's
    return _plain(item()) if callable(item) else str(value)
