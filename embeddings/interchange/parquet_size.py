"""How much memory a Parquet file will take, by its footer and the headers of its pages, before a value is read.

A page of a few bytes may stand for 2^31 values of one row, and a footer may say of it what it likes. pyarrow passes the
headers of pages on to nobody, and ends the process where a damaged footer is asked for its columns, so both are read
here: they are Thrift's compact protocol (parquet.thrift of apache/parquet-format).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_TAIL_BYTES = 8
"""Length of the footer, and `PAR1`."""
_HEADER_BYTES = (2**9, 2**20)
"""In which a page's header ends, mostly and always: statistics in it may be long texts."""
_MOST_DEPTH = 16
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 4}
"""Bytes of a value in memory by its physical type; of texts that of their length, as their letters stand in a page."""
_LEVEL_BYTES = 4
"""Of a value within a list: how deep it lies, and whether it begins a list."""


@dataclass(frozen=True, slots=True)
class ParquetSize:
    """What a file holds."""

    decoded_bytes: int
    """That the values of all columns take at least; texts that a dictionary holds are counted once."""
    values_per_row: int
    """In the column of the most, on average over a row group."""


def parquet_size(file: Path) -> ParquetSize:
    """By its headers.

    Raises ValueError or EOFError for what is no Parquet file, or a damaged one, OSError.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        handle.seek(max(size - _TAIL_BYTES, 0))
        tail = handle.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or length + _TAIL_BYTES > size:
            raise ValueError("it has no footer of Parquet")
        handle.seek(size - _TAIL_BYTES - length)
        footer = _Compact(handle.read(length)).struct()
        total = most = 0
        try:
            for group in map(_fields, _list(footer.get(4))):
                for column in _list(group.get(1)):
                    taken, values = _of_column(handle, size, _fields(_fields(column).get(3)))
                    total, most = total + taken, max(most, values // max(group.get(3, 1), 1))
        except TypeError as error:  # a list where a number stands, or the other way round
            raise ValueError("its footer is damaged") from error
    return ParquetSize(total, most)


def _of_column(handle: BinaryIO, size: int, column: dict[int, Any]) -> tuple[int, int]:
    """Bytes and values of a column of a row group: the larger of what the footer says and what its pages say."""
    width = _WIDTHS.get(column.get(1, 6), 4) + _LEVEL_BYTES
    values = column.get(5, 0)
    starts = [place for place in (column.get(11), column.get(9)) if isinstance(place, int) and place > 0]
    if not starts:
        return values * width, values
    pages = list(_pages(handle, size, min(starts), column.get(7, 0)))
    taken = sum(max(page_bytes, in_page * width) for page_bytes, in_page in pages)
    return max(values * width, taken), max(values, sum(in_page for _, in_page in pages))


def _pages(handle: BinaryIO, size: int, start: int, length: int) -> Iterator[tuple[int, int]]:
    """Uncompressed bytes of each page of a column, and values; of a dictionary none."""
    place, end = start, min(start + length, size)
    while place < end:
        header, header_bytes = _header(handle, place)
        values = sum(_fields(header.get(number)).get(1, 0) for number in (5, 8))  # data of version 1 and 2
        if min(header.get(2, -1), header.get(3, -1), values) < 0:
            raise ValueError("a page has no length")
        yield header[2], values
        place += header_bytes + header[3]


def _header(handle: BinaryIO, place: int) -> tuple[dict[int, Any], int]:
    few, most = _HEADER_BYTES
    for length in (few, most):
        handle.seek(place)
        reader = _Compact(handle.read(length))
        try:
            return reader.struct(), reader.place
        except EOFError:
            continue
    raise ValueError("the header of a page has no end")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _fields(value: Any) -> dict[int, Any]:
    return value if isinstance(value, dict) else {}


class _Compact:
    """Reads structs as number of a field -> int, list or struct; of what is no such thing nothing is kept."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _MOST_DEPTH:
            raise ValueError("its headers nest too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._whole()
            case 7:
                return self._skip(8)
            case 8:
                return self._skip(self._varint())
            case 9 | 10:
                head = self._byte()
                count = self._varint() if head >> 4 == 15 else head >> 4
                if depth > _MOST_DEPTH or count > len(self._data):
                    raise ValueError("its headers hold an impossible list")
                return [self._value(head & 15, depth + 1) for _ in range(count)]
            case 11:
                count = self._varint()
                kinds = self._byte() if count else 0
                for _ in range(min(count, len(self._data)) if kinds else 0):
                    self._value(kinds >> 4, depth + 1)
                    self._value(kinds & 15, depth + 1)
                return None
            case 12:
                return self.struct(depth)
            case _:
                raise ValueError(f"its headers hold a value of the unknown kind {kind}")

    def _byte(self) -> int:
        if self.place >= len(self._data):
            raise EOFError("its headers end too early")
        self.place += 1
        return self._data[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its headers hold an impossible number")

    def _whole(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, length: int) -> None:
        self.place += length
        if self.place > len(self._data):
            raise EOFError("its headers end too early")
