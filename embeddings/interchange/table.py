"""Tables as people have them: CSV of any dialect, Excel, Parquet. One reader for labels, manifests and codes.

Text stays text: ids keep their leading zeros. What is a number is decided where numbers are asked for.
"""

from __future__ import annotations

import csv
import json
import math
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.dialect import bare, kind_of, sniff
from guidestore.embeddings.interchange.limits import check_columns, check_fits, check_list, reason_of
from guidestore.embeddings.interchange.parquet_size import parquet_size
from guidestore.embeddings.remote import fetched, shown

pc: Any = pyarrow.compute  # its functions are made at run time, unseen by type checkers

ID_COLUMN = "case_id"
MISSING = (
    *("NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "nan", "NaN", "-nan", "-NaN", "NAN", "NaT"),
    *("None", "NULL", "null", "Null", "-", "--", ".", "?", "-999", "-999.0", "-9999", "-9999.0"),
    *("Na", "N.A.", "n.a.", "#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"),
    *("#NV", "#WERT!", "#BEZUG!", "#ZAHL!", "#VALEUR!", "#NOM?", "#NOMBRE!", "#NUL!", "#N/D", "#N/A N/A"),
    *("#VALORE!", "#RIF!", "#NOME?", "#¡VALOR!", "#¡REF!", "#¿NOMBRE?", "#¡NUM!", "#¡DIV/0!", "#¡NULO!"),
    *("\\N", "(null)", "–", "—", "'--", "[Not Available]", "[Not Evaluated]", "[Unknown]", "[Not Reported]"),
    *(f".{letter}" for letter in string.ascii_letters),
    "._",
)
"""Words that mean "no value", as pandas, R, SQL, Excel of five languages, SPSS, SAS, Stata, TCGA and GDC write them. A
blank always does."""
DEFAULT = "default"
"""Among words that a user gives: those that are missing where nobody gives any."""
_SENTINELS = frozenset({"-999", "-999.0", "-9999", "-9999.0"})
MISSING_NUMBERS = tuple(word for word in MISSING if word not in _SENTINELS)
"""Of columns of numbers, where -999 may be a number."""
LARGEST_WHOLE = 2**53
"""Beyond it a float does not hold every whole number."""

_SAVED_INDEX = re.compile(r"(?:Unnamed: \d+(?:_level_\d+)?|__index_level_\d+__|__index__)?\Z")
_FLOAT_ID = re.compile(r"\d+\.0+\Z|\d(?:\.\d+)?[eE]\+\d+\Z")
_SUMMARIES = frozenset(
    (
        *("total", "totals", "subtotal", "sum", "mean", "average", "median", "std", "stdev", "sd"),
        *("summe", "gesamt", "gesamtergebnis", "mittelwert", "durchschnitt", "standardabweichung", "somme", "moyenne"),
        *("médiane", "ecart-type", "suma", "promedio", "media", "totale", "somma"),
    )
)
_LAST_ROWS = 5
"""In which a spreadsheet has its totals and means."""
REWRITTEN = "a number that a program has rewritten, and leading zeros are lost"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z|[+-]?(?:inf|infinity)\Z", re.IGNORECASE)
_POINT = r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_BATCH_CELLS = 1_000_000
_HEADER_ROWS = 50
"""Among which a header is looked for, where the first row has no ids' column."""
_LIST_ROWS = 2048
_BUFFER_BYTES = 1 << 20
_MOST_LOOKED_AT = 2000
"""Columns of row groups whose headers are read one by one: 0.1 ms each."""


def missing_words(given: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """Those that a user gave, with `default` in place of the word "default"."""
    return tuple(word for text in given for word in (default if text == DEFAULT else (text,)))


def means_missing(texts: Iterable[str], missing: Sequence[str]) -> set[str]:
    """Those of the texts that mean no value: blanks, words of `missing`, and its numbers however they are written."""
    words, codes = {"", *missing}, _numbers_among(missing)
    return {text for text in set(texts) if text in words or _number_of(text) in codes}


def _numbers_among(words: Sequence[str]) -> tuple[float, ...]:
    return tuple({number for word in words if not math.isnan(number := _number_of(word))})


def _number_of(text: str) -> float:
    """NaN of what is none."""
    return float(text.replace(",", ".")) if _NUMBER.match(text.replace(",", ".")) else math.nan


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table: text by column ('' where empty), and where it stands."""

    values: dict[str, str]
    file_name: str
    number: int

    @property
    def where(self) -> str:
        """Such as ``labels.csv, row 7``."""
        return f"{self.file_name}, row {self.number}"

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was read: columns of text (CSV, Excel) or of their own types (Parquet), no two of one name."""

    file: Path
    data: pa.Table
    row_numbers: np.ndarray
    """(n,) int64; the header of a CSV file is row 1, as in a spreadsheet."""
    saved_indexes: tuple[str, ...] = ()
    """Columns that only number the rows, or have no name: pandas' and R's row names. A nameless one is here called
    ``Unnamed: K``, as pandas does."""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.data.schema.names)

    def __len__(self) -> int:
        return self.data.num_rows

    def check_columns(self, required: Sequence[str]) -> None:
        """Raises InvalidInputError where one of the `required` is not there."""
        for name in required:
            if name not in self.columns:
                self._check_header(name)
                hint = "; --id-column NAME says which column holds the case ids" if name == ID_COLUMN else ""
                if len(self.columns) == 1 and name in re.split(r"[\s\W]+", self.columns[0]):
                    hint = "; separate fields by a comma, semicolon, tab or bar"
                if self.notes:
                    hint += f" ({'; '.join(self.notes)})"
                raise InvalidInputError(
                    f"{self.file} has no column {name!r}; it has {listed(self.columns) or 'none'} and needs "
                    f"{', '.join(required)}{hint}"
                )

    def _check_header(self, name: str) -> None:
        """Raises InvalidInputError where the first row is no header, since `name` stands in one below it."""
        for row, number in enumerate(self.row_numbers[:_HEADER_ROWS].tolist()):
            cells = [str(self.data[column][row].as_py()) for column in self.columns if self._is_text(column)]
            if any(name in map(_bare_cell, (cell, *re.split(r"[,;\t|]", cell))) for cell in cells):
                raise _header_below(self.file, name, number)

    def _is_text(self, column: str) -> bool:
        kind = self.data.schema.field(column).type
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)

    def check_rows(self) -> None:
        """Raises InvalidInputError where there is none."""
        if not len(self):
            raise InvalidInputError(f"{self.file} has a header and no rows; give a table with a row per case")

    def renamed(self, column: str, name: str) -> Table:
        """The table with another name of a column. Raises InvalidInputError where another has it."""
        if name in self.columns:
            raise InvalidInputError(f"{self.file} has the columns {column!r} and {name!r}; take one of them out")
        names = [name if old == column else old for old in self.columns]
        indexes = tuple(index for index in self.saved_indexes if index != column)
        return replace(self, data=self.data.rename_columns(names), saved_indexes=indexes)

    def where(self, row: int, column: str = "") -> str:
        """Such as ``labels.csv, row 7, column grade``."""
        return f"{self.file.name}, row {self.row_numbers[row]}" + (f", column {column}" if column else "")

    def texts(self, column: str) -> list[str]:
        """Text of a column: '' where empty, whole numbers without a fraction. Raises InvalidInputError on lists."""
        values = _plain(self.data[column])
        if pa.types.is_nested(values.type) or pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
            raise InvalidInputError(
                f"{self.file.name}, column {column}: {values.type} is neither text nor a number; take it out"
            )
        return [_text(value) for value in values.to_pylist()]

    def lists(self, column: str) -> Iterator[pa.Array]:
        """A column of lists from the Parquet file, some rows at a time: `data` has them without values.

        Raises InvalidInputError where it cannot be read.
        """
        import pyarrow.parquet as pq

        place = self.columns.index(column)
        try:
            with pq.ParquetFile(
                self.file, memory_map=False, page_checksum_verification=True, buffer_size=_BUFFER_BYTES
            ) as parquet:
                name = parquet.schema_arrow.names[place]
                for group in range(parquet.num_row_groups):
                    for batch in parquet.iter_batches(_LIST_ROWS, [group], [name], use_threads=False):
                        yield batch.column(0)
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            raise InvalidInputError(
                f"{self.file} cannot be read as a table ({reason_of(error)}); save it as UTF-8 CSV or as Parquet"
            ) from error

    def __iter__(self) -> Iterator[TableRow]:
        return iter(self.rows)

    @cached_property
    def rows(self) -> tuple[TableRow, ...]:
        """All rows as text, without columns of lists."""
        names = [name for name in self.columns if not pa.types.is_nested(self.data.schema.field(name).type)]
        columns = [self.texts(name) for name in names]
        numbers = self.row_numbers.tolist()
        return tuple(
            TableRow(dict(zip(names, values, strict=True)), self.file.name, number)
            for values, number in zip(zip(*columns, strict=True), numbers, strict=True)
        )

    def ids(self, column: str = ID_COLUMN) -> tuple[str, ...]:
        """Case ids as text. Raises InvalidInputError on an empty one, and on numbers with a fraction."""
        kind = self.data.schema.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
            shown = next((str(value) for value in self.data[column].to_pylist() if value is not None), "empty")
            raise InvalidInputError(
                f"{self.file.name}, column {column} holds {kind} (such as {shown}), and ids are text: 7.0 is no "
                "id, and leading zeros are lost; save the column as text"
            )
        if pa.types.is_temporal(kind):
            shown = next((str(value) for value in self.data[column].to_pylist() if value is not None), "empty")
            raise InvalidInputError(
                f"{self.file.name}, column {column} holds {kind} (such as {shown}), and ids are text; save the column "
                "as text, as it was before a program took it for dates"
            )
        ids = self.texts(column)
        summary = summary_among(ids)
        if summary is not None:
            raise InvalidInputError(f"{self.where(summary, column)} is {ids[summary]!r}, {NO_CASE}")
        for row, text in enumerate(ids):
            if not text or text in MISSING:
                said = f"has the id {text!r}" if text else "has no id"
                raise InvalidInputError(f"{self.where(row, column)} {said}; give each row the id of its case")
            if is_rewritten(text):
                raise InvalidInputError(
                    f"{self.where(row, column)} has the id {text}: {REWRITTEN}; save the column as text, as it was"
                )
        return tuple(ids)

    def chosen(self, taken: Sequence[str], dropped: Sequence[str], besides: Sequence[str]) -> tuple[str, ...]:
        """Columns but `besides` and saved indexes: those of `taken` (all if empty), without `dropped`, in their order.

        Both are names, or patterns such as ``original_*``. Raises InvalidInputError on one that no column has.
        """
        others = [name for name in self.columns if name not in besides]

        def meant(asked: Sequence[str]) -> set[str]:
            found: set[str] = set()
            for name in asked:
                hits = {name} & set(others) or {column for column in others if fnmatchcase(column, name)}
                if not hits:
                    raise InvalidInputError(f"{self.file.name} has no column {name!r}; it has {listed(self.columns)}")
                found |= hits
            return found

        gone = meant(dropped)
        left = meant(taken) if taken else set(others) - set(self.saved_indexes)
        return tuple(name for name in others if name in left - gone)

    def numbers(self, columns: Sequence[str], missing: Sequence[str] = MISSING_NUMBERS) -> np.ndarray:
        """(n, d) float64 of columns, NaN where empty or among `missing`; commas may be decimal points.

        Raises InvalidInputError naming row and column on what is no number, on whole numbers beyond 2**53, and where
        points and commas cannot both be decimal.
        """
        values_nd = np.empty((len(self), len(columns)))
        commas, points = _Seen(), _Seen()
        for d, name in enumerate(columns):
            if pa.types.is_decimal(self.data[name].type):
                self._check_decimals(name)
            values = _plain(self.data[name])
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                values_nd[:, d] = self._parsed(name, values, missing, commas, points)
            elif pa.types.is_null(values.type):
                values_nd[:, d] = np.nan
            elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
                values_nd[:, d] = self._floats(name, values)
            else:
                raise InvalidInputError(
                    f"{self.file.name}, column {name}: {values.type} is not numeric; leave it out with --drop '{name}'"
                )
        if commas.where and points.where:
            raise InvalidInputError(
                f"{commas.where} is {commas.text} and {points.where} is {points.text}: only one of comma and point can "
                "be the decimal sign; write all numbers in one way"
            )
        if commas.where and commas.only_thousands:
            raise InvalidInputError(
                f"{commas.where} is {commas.text}: the comma may mean thousands or a fraction; write numbers without "
                "thousands signs and with a decimal point"
            )
        if codes := _numbers_among(missing):
            values_nd[np.isin(values_nd, codes)] = np.nan
        return values_nd

    def _check_decimals(self, name: str) -> None:
        """Raises InvalidInputError at a whole number beyond 2**53."""
        values = self.data[name]
        for row in np.flatnonzero(np.abs(values.cast(pa.float64()).to_numpy()) >= LARGEST_WHOLE).tolist():
            value = values[row].as_py()
            if abs(value) > LARGEST_WHOLE and value == int(value):
                raise _too_large(self.where(row, name), str(value))

    def _floats(self, name: str, values: pa.ChunkedArray) -> np.ndarray:
        if pa.types.is_integer(values.type):
            span = pc.min_max(values).as_py()
            for bound in span.values():
                if bound is not None and abs(bound) > LARGEST_WHOLE:
                    raise _too_large(f"{self.file.name}, column {name}", str(bound))
        return values.cast(pa.float64()).to_numpy()

    def _parsed(
        self, name: str, values: pa.ChunkedArray, missing: Sequence[str], commas: _Seen, points: _Seen
    ) -> np.ndarray:
        empty = pc.is_in(values, value_set=pa.array(["", *missing], values.type))
        values = pc.if_else(pc.or_kleene(empty, values.is_null()), pa.scalar(None, values.type), values)
        with_comma = pc.match_substring_regex(values, _COMMA)
        if pc.any(with_comma).as_py():
            self._see(commas, name, values, with_comma)
            commas.only_thousands &= bool(
                pc.all(pc.match_substring_regex(values.filter(with_comma), _THOUSANDS)).as_py()
            )
            values = pc.if_else(with_comma, pc.replace_substring(values, ",", "."), values)
            with_point = pc.and_not(pc.match_substring_regex(values, _POINT), with_comma)
        else:
            with_point = pc.match_substring_regex(values, _POINT)
        if pc.any(with_point).as_py():
            self._see(points, name, values, with_point)
        try:
            floats = values.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            floats = np.array([self._number(name, row, text) for row, text in enumerate(values.to_pylist())])
        for row in np.flatnonzero(np.abs(floats) >= LARGEST_WHOLE):
            text = values[int(row)].as_py()
            if text.lstrip("+-").isdigit() and abs(int(text)) > LARGEST_WHOLE:
                raise _too_large(self.where(int(row), name), text)
        return floats

    def _number(self, name: str, row: int, text: str | None) -> float:
        if text is None:
            return math.nan
        if not _NUMBER.match(text):
            shown = text if len(text) <= 40 else text[:37] + "..."
            raise InvalidInputError(
                f"{self.where(row, name)}: {shown!r} is no number; correct it, or leave the column out with "
                f"--drop '{name}'"
            )
        return float(text)

    def _see(self, seen: _Seen, name: str, values: pa.ChunkedArray, mask: pa.ChunkedArray) -> None:
        if not seen.where:
            row = pc.index(mask, True).as_py()
            seen.where, seen.text = self.where(row, name), str(values[row].as_py())


@dataclass(slots=True)
class _Seen:
    """The first number with a decimal sign of a kind."""

    where: str = ""
    text: str = ""
    only_thousands: bool = True


def read_table(
    file: Path | str, required: Sequence[str] = (), *, id_column: str = ID_COLUMN, may_be_empty: bool = False
) -> Table:
    """The table in `file`, of whatever kind its content is, which must have the `required` columns and a row.

    file: a path, or a URL (embeddings.remote). Raises InvalidInputError naming the file, and row or column where there
    is one.
    """
    with fetched(file) as local:
        table = _read(local, id_column)
        table.check_columns(required)
        if not may_be_empty:
            table.check_rows()
    return replace(table, file=Path(shown(file)))


def _read(file: Path, id_column: str) -> Table:
    kind = kind_of(file)
    try:
        if kind == "parquet":
            return _read_parquet(file)
        if kind == "excel":
            from guidestore.embeddings.interchange.excel import read_sheet

            return _of_text(file, *read_sheet(file, id_column))
        if kind == "text":
            return _read_csv(file, id_column)
        raise InvalidInputError(f"{file} is a {kind} file and no table; give CSV, Excel or Parquet")
    except (OSError, EOFError, UnicodeError, csv.Error, ValueError, pa.ArrowException) as error:
        raise InvalidInputError(
            f"{file} cannot be read as a table ({reason_of(error)}); save it as UTF-8 CSV or as Parquet"
        ) from error


def is_rewritten(text: str) -> bool:
    """Whether an id is a number as programs write it that take ids for numbers: ``12.0``, ``1E+05``."""
    return _FLOAT_ID.match(text) is not None


NO_CASE = "which sums up the rows above and is no case; take the row out"


def summary_among(ids: Sequence[str]) -> int | None:
    """The place of an id such as ``Total`` or ``Mean`` in the last rows, as below tables of a spreadsheet."""
    first = max(len(ids) - _LAST_ROWS, 1)
    return next((place for place in range(first, len(ids)) if ids[place].casefold() in _SUMMARIES), None)


def _bare_cell(text: str) -> str:
    return bare(text).strip('"')


def _header_below(file: Path, name: str, number: int) -> InvalidInputError:
    return InvalidInputError(
        f"{file.name} has its header, with the column {name!r}, in row {number}; take out the rows above it, for the "
        "header is the first row"
    )


def words(texts: Sequence[str] | None) -> tuple[str, ...]:
    """The words of ``A,B`` and of repeated texts; one that holds a comma stands in quotes."""
    return tuple(word.strip() for fields in csv.reader(texts or ()) for word in fields if word.strip())


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first names, and that there are more."""
    return ", ".join(names[:most]) + (f", … ({len(names)})" if len(names) > most else "")


def _read_csv(file: Path, id_column: str) -> Table:
    dialect = sniff(file, id_column)
    with file.open(encoding=dialect.encoding, newline="") as handle:
        reader = _Rows(file, csv.reader(handle, delimiter=dialect.delimiter, strict=True, skipinitialspace=True))
        for _ in range(dialect.skip):
            next(reader, None)
        header = next((fields for fields in reader if any(map(str.strip, fields))), [])
        check_columns(file, len(header))
        batches: list[list[pa.Array]] = []
        numbers: list[int] = []
        rows: list[list[str]] = []
        for fields in reader:
            if len(fields) != len(header):
                if not any(map(str.strip, fields)):
                    continue
                is_above = len(numbers) < _HEADER_ROWS and id_column not in map(_bare_cell, header)
                if is_above and id_column in map(_bare_cell, fields):
                    raise _header_below(file, id_column, reader.line_num)
                raise InvalidInputError(
                    f"{file.name}, row {reader.line_num} has {len(fields)} fields, the header has {len(header)}; put "
                    "text that holds the delimiter in quotes, and give each column a name"
                )
            if not any(map(str.strip, fields)):
                continue
            rows.append(fields)
            numbers.append(reader.line_num)
            if len(rows) * len(header) >= _BATCH_CELLS:
                batches.append(_text_columns(rows))
                rows = []
    batches.append(_text_columns(rows) or [pa.array([], pa.string()) for _ in header])
    columns = [pa.chunked_array([batch[i] for batch in batches], pa.string()) for i in range(len(header))]
    return _of_text(file, header, columns, numbers, dialect.notes)


class _Rows:
    """The rows of a text file, whose damage is told with its row."""

    def __init__(self, file: Path, reader: Any) -> None:
        self._file, self._reader = file, reader

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._reader)
        except csv.Error as error:
            raise InvalidInputError(
                f"{self._file.name}, row {self.line_num} cannot be read as a table ({reason_of(error)}); "
                "separate fields by a comma, semicolon, tab or bar, and double the quotes within quoted text"
            ) from error

    @property
    def line_num(self) -> int:
        return self._reader.line_num


def _text_columns(rows: list[list[str]]) -> list[pa.Array]:
    return [pc.utf8_trim_whitespace(pa.array(values, pa.string())) for values in zip(*rows, strict=True)]


def _of_text(
    file: Path, header: Sequence[str], columns: Sequence[Any], numbers: Sequence[int], notes: tuple[str, ...]
) -> Table:
    names = [bare(name) or f"Unnamed: {i}" for i, name in enumerate(header)]
    _check_once(file, names)
    data = pa.table(list(columns), names=names) if names else pa.table({})
    indexes = tuple(name for name in names if _SAVED_INDEX.match(name))
    return Table(file, data, np.array(numbers, dtype=np.int64), indexes, notes)


def _read_parquet(file: Path) -> Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, memory_map=False, page_checksum_verification=True) as parquet:
        meta = parquet.metadata
        check_columns(file, meta.num_columns)
        # Of its columns a row group is not asked: on some damaged footers pyarrow ends the process then.
        groups = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
        check_fits(file, max(sum(groups), 8 * meta.num_rows * meta.num_columns))
        schema = parquet.schema_arrow
    _check_once(file, schema.names)
    # Flat columns have a value a row each: where there are thousands of them, that bounds them well enough.
    if any(map(pa.types.is_nested, schema.types)) or meta.num_columns * len(groups) <= _MOST_LOOKED_AT:
        size = parquet_size(file)
        check_fits(file, size.decoded_bytes)
        check_list(file, size.values_per_row)
    data = _read_columns(file, schema)
    indexes = {name for name in schema.names if _SAVED_INDEX.match(name)} | _pandas_indexes(schema)
    names = [name or f"Unnamed: {i}" for i, name in enumerate(schema.names)]
    data = data.rename_columns(names)
    saved = tuple(name for name, before in zip(names, schema.names, strict=True) if before in indexes)
    return Table(file, data, np.arange(1, data.num_rows + 1), saved)


def _read_columns(file: Path, schema: pa.Schema) -> pa.Table:
    """All columns; those that are neither numbers nor text without their values. See `Table.lists`.

    A text that a dictionary holds once may stand in every row: its size is known before it is copied there. Raises
    InvalidInputError where that does not fit.
    """
    import pyarrow.parquet as pq

    read = [field.name for field in schema if _is_readable(field.type)]
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    data = pa.table({})
    with pq.ParquetFile(file, memory_map=False, page_checksum_verification=True, read_dictionary=texts) as parquet:
        rows = parquet.metadata.num_rows
        if read:
            data = parquet.read(None if len(read) == len(schema) else read)
    check_fits(file, data.nbytes + sum(_spread_bytes(column) for column in data.columns))
    columns = [
        data[field.name].cast(field.type)
        if field.name in texts
        else data[field.name]
        if field.name in read
        else _unread(field.type, rows)
        for field in schema
    ]
    for field, column in zip(schema, columns, strict=True):
        _check_utf8(file, field.name, column)
    return pa.table(columns, names=schema.names)


def _check_utf8(file: Path, name: str, column: pa.ChunkedArray) -> None:
    """Raises InvalidInputError where what a Parquet file says is text is none: some writers copy bytes of cp1252."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(
            f"{file}, column {name} holds text that is not UTF-8; decode it (as cp1252, say) before it is written"
        ) from error


def _is_readable(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_nested(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _unread(kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    """A column without its values; of lists of one length as one of any, for nulls of the former take their room."""
    return pa.chunked_array([pa.nulls(rows, pa.list_(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind)])


def _spread_bytes(column: pa.ChunkedArray) -> int:
    """Bytes of the texts of a dictionary once each stands in its rows."""
    if not pa.types.is_dictionary(column.type):
        return 0
    total = 0
    for chunk in column.chunks:
        if pa.types.is_string(chunk.dictionary.type) or pa.types.is_large_string(chunk.dictionary.type):
            total += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices).cast(pa.int64())).as_py() or 0
    return total


def _pandas_indexes(schema: pa.Schema) -> set[str]:
    """Columns that were the index of a DataFrame, but one that is the case id."""
    try:
        said = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
        return {name for name in said if isinstance(name, str) and name != ID_COLUMN}
    except (ValueError, AttributeError, TypeError):
        return set()


def _check_once(file: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidInputError(f"{file} has the column {name!r} twice; rename one of them, or take it out")
        seen.add(name)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values of a dictionary (a pandas or polars category) in place of their numbers; text without blanks around it."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        if pa.types.is_string_view(kind.value_type):  # a polars category, which Arrow decodes by no kernel
            texts = [(chunk.indices, chunk.dictionary.cast(pa.large_string())) for chunk in values.chunks]
            kind = pa.dictionary(kind.index_type, pa.large_string())
            values = pa.chunked_array([pa.DictionaryArray.from_arrays(*text) for text in texts], kind)
        values = values.cast(kind.value_type)
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return pc.utf8_trim_whitespace(values)
    return values


def _text(value: object) -> str:
    """Whole numbers without a fraction, as they would stand in a CSV file."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _too_large(where: str, text: str) -> InvalidInputError:
    column = where.rpartition("column ")[2]
    return InvalidInputError(
        f"{where}: {text} is beyond 2^53, which a float does not hold exactly; it looks like an id or a time, so leave "
        f"it out with --drop '{column}'"
    )
