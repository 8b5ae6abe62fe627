"""The first sheet of an Excel file (.xlsx) as text. Needs openpyxl, the extra `excel`."""

from __future__ import annotations

import datetime
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import check_columns, check_fits

_ZEROS = re.compile(r"0+\Z")
_PLACE = re.compile(rb"<(?:\w+:)?(?:row|c)\s(?:[^>]*?\s)?r=[\"']([A-Z]*)(\d+)[\"']")
"""Of a row or a cell within a sheet's XML."""
_MOST_ROWS = 1_048_576
"""Of a sheet, as Excel has it."""
_BATCH_ROWS = 10_000
_DATES = (datetime.date, datetime.time, datetime.timedelta)
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?\bref="([^"]+)"')
_HIDDEN = {tag: re.compile(rb"<(?:\w+:)?" + tag + rb'\s[^>]*?\bhidden="(?:1|true)"') for tag in (b"row", b"col")}


def read_sheet(file: Path, id_column: str = "") -> tuple[list[str], list[Any], list[int], tuple[str, ...]]:
    """Header, columns of text, the row number of each row, and notes.

    Numbers are the shortest text that means them; one whose format is zeros alone (``000``) has its leading zeros.
    Raises InvalidInputError where openpyxl is missing, on a formula that was never calculated, on merged cells, and on
    dates in the column of ids.
    """
    try:
        from openpyxl import load_workbook  # pyright: ignore[reportMissingModuleSource, reportMissingImports]
    except ImportError as error:
        raise InvalidInputError(
            f"{file} is an Excel file, and reading it needs the package openpyxl; install guidestore[excel], or save "
            "the sheet as CSV"
        ) from error
    try:
        with zipfile.ZipFile(file) as archive:
            check_fits(file, 8 * sum(member.file_size for member in archive.infolist()))
        content = file.read_bytes()
        _check_order(content)
        # By their bytes: openpyxl goes by the suffix of a name.
        values_book = load_workbook(BytesIO(content), read_only=True, data_only=True)
        formulas_book = load_workbook(BytesIO(content), read_only=True, data_only=False)
        with zipfile.ZipFile(file) as archive:
            xml = archive.read(_first(values_book)._worksheet_path.lstrip("/"))
        return _first_sheet(file, values_book, formulas_book, xml, id_column)
    except (InvalidInputError, MemoryError):
        raise
    except Exception as error:  # a damaged workbook raises what openpyxl and its parser happen to
        raise ValueError(f"no readable workbook: {error}") from error


def _check_order(content: bytes) -> None:
    """Raises ValueError where rows or cells are not in order: openpyxl would leave those out, in silence."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for name in archive.namelist():
            if not name.startswith("xl/worksheets/") or not name.endswith(".xml"):
                continue
            before = (0, 0, b"")
            for found in _PLACE.finditer(archive.read(name)):
                column, row = found[1], int(found[2])
                place = (row, len(column), column)
                if place <= before or row > _MOST_ROWS:
                    raise ValueError(f"in {name} row {row:,} stands out of its place")
                before = place


def _first(book: Any) -> Any:
    return book.worksheets[0]


def _first_sheet(
    file: Path, values_book: Any, formulas_book: Any, xml: bytes, id_column: str
) -> tuple[list[str], list[Any], list[int], tuple[str, ...]]:
    values, formulas = values_book.worksheets[0], formulas_book.worksheets[0]
    for sheet in (values, formulas):
        sheet.reset_dimensions()  # what a file says of its size is often wrong, and would cut off rows and columns
    others = [sheet.title for sheet in values_book.worksheets[1:]]
    shown = values.title if values.sheet_state == "visible" else f"{values.title} (hidden)"
    notes = (f"of {file.name} the first sheet, {shown}, is read, not {', '.join(others)}",) if others else ()
    if what := _hidden(xml):
        notes += (f"{file.name} has hidden {what}, which are read like the others",)
    at_header, place = 0, -1
    header: list[str] = []
    numbers: list[int] = []
    batches: list[list[pa.Array]] = []
    rows: list[list[str]] = []
    for number, (cells, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), start=1):
        texts = [_text(file, cell, other) for cell, other in zip(cells, written, strict=True)]
        if not any(texts):
            continue
        if not header:
            check_columns(file, len(texts))
            header, at_header = texts, number
            place = texts.index(id_column) if id_column in texts else -1
            continue
        if id_column and place < 0 and id_column in texts:
            raise InvalidInputError(
                f"{file.name} has its header, with the column {id_column!r}, in row {number}; take out the rows above "
                "it, for the header is the first row"
            )
        if 0 <= place < len(cells) and isinstance(cells[place].value, _DATES):
            raise InvalidInputError(
                f"{file.name}, row {number}, column {id_column} is a date ({texts[place]}), and ids are text: Excel "
                "takes 1-3 for one; save the column as text, as it was"
            )
        texts += [""] * (len(header) - len(texts))
        if any(texts[len(header) :]):
            raise InvalidInputError(f"{file.name}, row {number} has values right of the header; give them a name")
        rows.append(texts[: len(header)])
        numbers.append(number)
        if len(rows) == _BATCH_ROWS:
            batches.append([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])
            rows = []
    if at_header and (place >= 0 or not id_column):
        _check_merged(file, xml, at_header, len(header))
    batches.append(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        or [pa.array([], pa.string())] * len(header)
    )
    while header and not header[-1] and not any(any(batch[len(header) - 1].to_pylist()) for batch in batches):
        header.pop()  # formatted cells without a value right of the table
    columns = [pa.chunked_array([batch[i] for batch in batches], pa.string()) for i in range(len(header))]
    return header, columns, numbers, notes


def _hidden(xml: bytes) -> str:
    """What of a sheet is hidden: rows, columns, both, or ''."""
    kinds = [kind for kind, tag in (("rows", b"row"), ("columns", b"col")) if _HIDDEN[tag].search(xml)]
    return " and ".join(kinds)


def _check_merged(file: Path, xml: bytes, first_row: int, columns: int) -> None:
    """Raises InvalidInputError at merged cells of the table, of which only the first has a value."""
    from openpyxl.utils.cell import range_boundaries  # pyright: ignore[reportMissingModuleSource]

    for match in _MERGED.finditer(xml):
        name = match[1].decode("ascii", "replace")
        left, top, _, _ = (bound or 1 for bound in range_boundaries(name))
        if ":" in name and top >= first_row and left <= columns:
            raise InvalidInputError(
                f"{file.name}, cells {name} are merged, so that only the first has the value; unmerge them, and write "
                "it into each cell that it is meant for"
            )


def _text(file: Path, cell: Any, written: Any) -> str:
    value = cell.value
    if value is None:
        if isinstance(written.value, str) and written.value.startswith("="):
            raise InvalidInputError(
                f"{file.name}, cell {cell.coordinate} is a formula that was never calculated; open the file in Excel "
                "and save it, or save it as CSV"
            )
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and _ZEROS.match(cell.number_format or ""):
        return str(value).zfill(len(cell.number_format))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value).strip()
