"""Reads the tables that people bring, CSV or Parquet, as rows of text, each with its place for error messages."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a table: text by column ('' where empty), and where it stands."""

    values: dict[str, str]
    file_name: str
    number: int
    """Row number; the header of a CSV file is row 1, as in a spreadsheet."""

    @property
    def where(self) -> str:
        """Such as ``labels.csv, row 7``."""
        return f"{self.file_name}, row {self.number}"

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table that was read: its columns in order, and its rows."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[SourceRow, ...]

    def __iter__(self) -> Iterator[SourceRow]:
        return iter(self.rows)


def read_source(file: Path | str, required: Sequence[str]) -> SourceTable:
    """The table in `file` (.parquet, .tsv, else comma-separated UTF-8), which must have the `required` columns.

    Raises InvalidInputError naming the file, and the row where there is one.
    """
    file = Path(file)
    try:
        table = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    except FileNotFoundError as error:
        raise InvalidInputError(f"there is no file {file}; check the path") from error
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InvalidInputError(
            f"{file} cannot be read as a table ({str(error).splitlines()[0]}); save it as UTF-8 CSV or as Parquet"
        ) from error
    if len(set(table.columns)) < len(table.columns):
        twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
        raise InvalidInputError(f"{file} has the column {twice[0]!r} twice; rename one of them")
    for name in required:
        if name not in table.columns:
            raise InvalidInputError(
                f"{file} has no column {name!r}; it has {', '.join(table.columns) or 'none'} and needs "
                f"{', '.join(required)}"
            )
    return table


def _csv(file: Path) -> SourceTable:
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    with file.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle, delimiter=delimiter, strict=True)
        columns = tuple(name.strip() for name in next(reader, []))
        rows = []
        for fields in reader:
            if not any(text.strip() for text in fields):
                continue
            if len(fields) != len(columns):
                raise InvalidInputError(
                    f"{file.name}, row {reader.line_num} has {len(fields)} fields, the header has {len(columns)}; put "
                    "text with commas in quotes"
                )
            values = dict(zip(columns, map(str.strip, fields), strict=True))
            rows.append(SourceRow(values, file.name, reader.line_num))
    return SourceTable(file, columns, tuple(rows))


def _parquet(file: Path) -> SourceTable:
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    rows = [
        SourceRow({name: _text(value) for name, value in row.items()}, file.name, number)
        for number, row in enumerate(table.to_pylist(), start=1)
    ]
    return SourceTable(file, tuple(table.schema.names), tuple(rows))


def _text(value: object) -> str:
    """Text of a Parquet value: whole numbers without a fraction, as they would stand in a CSV file."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
