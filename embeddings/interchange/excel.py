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


def read_sheet(file: Path) -> tuple[list[str], list[Any], list[int], tuple[str, ...]]:
    """Header, columns of text, the row number of each row, and notes.

    Numbers are the shortest text that means them; one whose format is zeros alone (``000``) has its leading zeros.
    Raises InvalidInputError where openpyxl is missing, and on a formula that was never calculated.
    """
    try:
        from openpyxl import load_workbook  # pyright: ignore[reportMissingModuleSource, reportMissingImports]
    except ImportError as error:
        raise InvalidInputError(
            f"{file} is an Excel file, and reading it needs the package openpyxl; install guidestore[excel], or save "
            "the sheet as CSV"
        ) from error
    with zipfile.ZipFile(file) as archive:
        check_fits(file, 8 * sum(member.file_size for member in archive.infolist()))
    content = file.read_bytes()
    try:
        _check_order(content)
        # By their bytes: openpyxl goes by the suffix of a name.
        values_book = load_workbook(BytesIO(content), read_only=True, data_only=True)
        formulas_book = load_workbook(BytesIO(content), read_only=True, data_only=False)
        return _first_sheet(file, values_book, formulas_book)
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


def _first_sheet(
    file: Path, values_book: Any, formulas_book: Any
) -> tuple[list[str], list[Any], list[int], tuple[str, ...]]:
    values, formulas = values_book.worksheets[0], formulas_book.worksheets[0]
    for sheet in (values, formulas):
        sheet.reset_dimensions()  # what a file says of its size is often wrong, and would cut off rows and columns
    others = [sheet.title for sheet in values_book.worksheets[1:]]
    notes = (f"of {file.name} the first sheet, {values.title}, is read, not {', '.join(others)}",) if others else ()
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
            header = texts
            continue
        texts += [""] * (len(header) - len(texts))
        if any(texts[len(header) :]):
            raise InvalidInputError(f"{file.name}, row {number} has values right of the header; give them a name")
        rows.append(texts[: len(header)])
        numbers.append(number)
        if len(rows) == _BATCH_ROWS:
            batches.append([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])
            rows = []
    batches.append(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        or [pa.array([], pa.string())] * len(header)
    )
    while header and not header[-1] and not any(any(batch[len(header) - 1].to_pylist()) for batch in batches):
        header.pop()  # formatted cells without a value right of the table
    columns = [pa.chunked_array([batch[i] for batch in batches], pa.string()) for i in range(len(header))]
    return header, columns, numbers, notes


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
