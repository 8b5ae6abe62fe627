"""Answers as tables: for pandas, polars and Arrow, and to be looked at.

What names a case is shown only where it was asked for by its name: a notebook is passed on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.words import count_of
from guidestore.flows.work.printable import printable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ID_COLUMNS = ("case_id", "image_id", "path", "files")
"""Columns that name a patient, or a file that may."""
_SHOWN_ROWS, _SHOWN_ITEMS, _MOST_CHARACTERS = 20, 4, 60


class Table:
    """Rows that something answered, as an Arrow table. `len` counts them.

    `df()`, `arrow()` and `pl()` give all of it; whatever takes Arrow's C stream (pandas, polars, DuckDB, narwhals)
    takes the table itself. Printed, and in a notebook, the first rows are shown, without the columns that name a case
    or a file of one, unless a query asked for them by name.

    >>> table = store.code_sets("digits")
    >>> table.columns[:3]
    ['name', 'cohort', 'modality']
    >>> sorted(table.df()["d"])
    [16, 64]
    >>> [row["cases"] for row in table.rows()]
    [1797, 1797]
    """

    def __init__(
        self,
        arrow: pa.Table,
        *,
        asked: Sequence[str] = (),
        notes: Sequence[str] = (),
        repr_rows: bool = True,
        notes_name_cases: bool = False,
    ) -> None:
        """asked: columns of ids that are to be shown. notes: sentences that a reader must know. repr_rows: whether
        `repr` shows values: of an answer to SQL it cannot be told what they are. notes_name_cases: whether notes may,
        so that they are counted and not shown until they are asked for."""
        self._arrow = arrow
        self._asked = frozenset(asked)
        self.notes = tuple(notes)
        self._repr_rows, self._notes_name_cases = repr_rows, notes_name_cases

    @classmethod
    def of_rows(
        cls,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[str] = (),
        *,
        asked: Sequence[str] = (),
        notes: Sequence[str] = (),
        notes_name_cases: bool = False,
    ) -> Table:
        """Of flat rows. columns: () for those of the longest row. asked, notes, notes_name_cases: as of the class."""
        import pyarrow as pa

        names = list(columns or max(rows, key=len, default={}))
        arrays = {name: [row.get(name) for row in rows] for name in names}
        return cls(pa.table(arrays), asked=asked, notes=notes, notes_name_cases=notes_name_cases)

    # In other libraries ----------------------------------------------------------------------------------------------

    def df(self, *, copy: bool = False) -> pd.DataFrame:
        """As a pandas DataFrame. Numbers without gaps are not copied, and so cannot be written in place; `copy` is
        for those who want to."""
        frame = self._arrow.to_pandas(split_blocks=True)
        return frame.copy() if copy else frame

    def arrow(self) -> pa.Table:
        """As a pyarrow.Table; nothing is copied."""
        return self._arrow

    def pl(self) -> Any:
        """As a polars DataFrame; nothing is copied. Raises InvalidInputError where polars is not installed."""
        try:
            import polars
        except ImportError as error:
            raise InvalidInputError(
                "polars is not installed here: `pip install polars`, or take .df() or .arrow()"
            ) from error
        try:
            return polars.from_arrow(self._arrow)
        except polars.exceptions.PolarsError as error:
            why = str(error).splitlines()[0]
            raise InvalidInputError(f"polars cannot hold this table ({why}); take .df() or .arrow()") from error

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._arrow.__arrow_c_stream__(requested_schema)

    def rows(self) -> list[dict[str, Any]]:
        """As Python values, a dict a row."""
        return self._arrow.to_pylist()

    # Its shape -------------------------------------------------------------------------------------------------------

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return self._arrow.column_names

    def __len__(self) -> int:
        return self._arrow.num_rows

    def __getitem__(self, column: str) -> list[Any]:
        """The values of a column. Raises InvalidInputError."""
        if column not in self.columns:
            raise InvalidInputError(f"the table has no column {column!r}; it has {', '.join(self.columns)}")
        return self._arrow[column].to_pylist()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Its rows, as of `rows`."""
        return iter(self.rows())

    # To be looked at -------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        if not self._repr_rows:
            columns = ", ".join(f"{field.name} {field.type}" for field in self._arrow.schema)
            return printable(f"Table of {count_of(len(self), 'row')}: {columns}; print() shows them")
        return self._text(())

    def __str__(self) -> str:
        return self._text(self._asked)

    def _text(self, asked: Sequence[str] | frozenset[str]) -> str:
        names, cells = self._cells(asked)
        widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(names)]
        numeric = [self._is_number(name) for name in names]
        lines = [
            "  ".join(
                cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)
            )
            for row in [names, *cells]
        ]
        return "\n".join([*(line.rstrip() for line in map(printable, lines)), *self._below(asked)])

    def _repr_html_(self) -> str:
        names, cells = self._cells(self._asked)
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        align = ["right" if self._is_number(name) else "left" for name in names]
        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:{a}">{escape(cell)}</td>' for a, cell in zip(align, row, strict=True))
            + "</tr>"
            for row in cells
        )
        below = "".join(f"<div>{escape(line)}</div>" for line in self._below(self._asked))
        return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"

    def _hidden(self, asked: Sequence[str] | frozenset[str]) -> list[str]:
        return [name for name in self.columns if name in ID_COLUMNS and name not in asked]

    def _cells(self, asked: Sequence[str] | frozenset[str]) -> tuple[list[str], list[list[str]]]:
        hidden = self._hidden(asked)
        names = [name for name in self.columns if name not in hidden]
        shown = self._arrow.select(names).slice(0, _SHOWN_ROWS).to_pylist()
        return names, [[cell_text(row[name]) for name in names] for row in shown]

    def _below(self, asked: Sequence[str] | frozenset[str]) -> Iterator[str]:
        if len(self) > _SHOWN_ROWS:
            yield f"… and {count_of(len(self) - _SHOWN_ROWS, 'more row')}"
        if hidden := self._hidden(asked):
            yield f"not shown, as it names cases or files: {', '.join(hidden)}"
        if self.notes and self._notes_name_cases:
            yield f"{count_of(len(self.notes), 'note')}, which may name cases: .notes has them"
            return
        yield from (printable(note) for note in self.notes)

    def _is_number(self, name: str) -> bool:
        import pyarrow as pa

        kind = self._arrow.schema.field(name).type
        return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def cell_text(value: Any) -> str:
    """A value as a cell of a table for the eye."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(cell_text, value[:_SHOWN_ITEMS]))}{', …' if len(value) > _SHOWN_ITEMS else ''}]"
    text = str(value).replace("\n", " ")
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
