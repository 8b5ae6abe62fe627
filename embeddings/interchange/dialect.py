"""What kind a file is, by its first bytes, and how a text file is written: its encoding and its delimiter."""

from __future__ import annotations

import codecs
import csv
import itertools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import reason_of

type Kind = Literal["text", "parquet", "excel", "npz", "npy"]

_SAMPLE_CHARS = 65_536
_SAMPLE_ROWS = 50
_BLOCK_BYTES = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as that of UTF-16 does, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_REFUSED = (
    (b"\xd0\xcf\x11\xe0", "is an old Excel file (.xls); save it as .xlsx or CSV"),
    (b"\x1f\x8b", "is compressed (gzip); unpack it first"),
    (b"BZh", "is compressed (bzip2); unpack it first"),
    (b"\xfd7zXZ", "is compressed (xz); unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd); unpack it first"),
    (b"ARROW1", "is an Arrow (Feather) file; save it as Parquet"),
    (b"\x89HDF", "is an HDF5 file, which is no table; import the folder that it lies in, or save it as Parquet or CSV"),
    (b"%PDF", "is a PDF; save the table as CSV"),
    (b"\x80\x04", "is a pickle, which can run code when it is read; save it as Parquet or CSV"),
    (b"\x80\x05", "is a pickle, which can run code when it is read; save it as Parquet or CSV"),
)


def kind_of(file: Path) -> Kind:
    """What the file is, by its content, whatever its name says.

    Raises InvalidInputError where it is not there, cannot be read, or is of a kind that is not.
    """
    try:
        with file.open("rb") as handle:
            head = handle.read(64)
    except FileNotFoundError as error:
        raise InvalidInputError(f"there is no file {file}; check the path") from error
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}; give a file that you may read") from error
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK"):
        return _kind_of_archive(file)
    for magic, what in _REFUSED:
        if head.startswith(magic):
            raise InvalidInputError(f"{file} {what}")
    return "text"


def _kind_of_archive(file: Path) -> Kind:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvalidInputError(f"{file} is a damaged archive ({reason_of(error)}); copy or save it again") from error
    if any(name.startswith("xl/") for name in names):
        return "excel"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise InvalidInputError(f"{file} is a zip archive, and no Excel or npz file; unpack it first")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table of text is written."""

    encoding: str
    """Name of a Python codec."""
    delimiter: str
    skip: int = 0
    """Lines before the header: Excel's ``sep=;``."""
    notes: tuple[str, ...] = ()
    """What the reader should know of how it was taken."""


def sniff(file: Path, id_column: str) -> Dialect:
    """The dialect of a text file, whose header should have `id_column`.

    UTF-8, UTF-16 and UTF-32 by their marks, UTF-16 without one by its zeros, else UTF-8, else Windows cp1252 (said in
    the notes). Comma, semicolon, tab or bar: what makes the id a column of its own and the rows even. Raises
    InvalidInputError on binary files and on mixed encodings; UnicodeDecodeError, OSError.
    """
    encoding, notes = _encoding(file)
    with file.open(encoding=encoding, newline="") as handle:
        sample = handle.read(_SAMPLE_CHARS)
    lines = sample.splitlines(keepends=True)
    if len(sample) == _SAMPLE_CHARS and len(lines) > 1:
        lines.pop()  # it may be cut
    first = lines[0].strip().strip('"') if lines else ""
    if first.lower().startswith("sep=") and len(first) == 5:
        return Dialect(encoding, first[4], 1, notes)
    preferred = "\t,;|" if file.suffix.lower() in (".tsv", ".tab") else ",;\t|"
    return Dialect(encoding, max(preferred, key=lambda delimiter: _likely(lines, delimiter, id_column)), 0, notes)


def _likely(lines: list[str], delimiter: str, id_column: str) -> tuple[bool, bool, float, int]:
    """The larger, the more this is the delimiter."""
    try:
        rows = list(itertools.islice(filter(None, csv.reader(lines, delimiter=delimiter)), _SAMPLE_ROWS))
    except csv.Error:
        return False, False, 0.0, 0
    header = [name.strip() for name in rows[0]] if rows else []
    even = [len(row) == len(header) for row in rows[1:]]
    return id_column in header, len(header) > 1, sum(even) / len(even) if even else 0.0, len(header)


def _encoding(file: Path) -> tuple[str, tuple[str, ...]]:
    with file.open("rb") as handle:
        head = handle.read(4096)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, ()
    if b"\0" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        if min(even, odd) * 10 < max(even, odd) and max(even, odd) * 8 > len(head) * 3:
            return ("utf-16-le" if odd > even else "utf-16-be"), ()
        raise InvalidInputError(f"{file} is a binary file of an unknown kind; save it as UTF-8 CSV or as Parquet")
    decoder = codecs.getincrementaldecoder("utf-8")()
    beyond_ascii = False
    with file.open("rb") as handle:
        for block in iter(lambda: handle.read(_BLOCK_BYTES), None):
            try:
                beyond_ascii |= not decoder.decode(block, final=not block).isascii()
            except UnicodeDecodeError as error:
                if beyond_ascii or not block.decode("utf-8", errors="ignore").isascii():
                    wrong = error.object[error.start]
                    raise InvalidInputError(
                        f"{file} is UTF-8 in one place and something else in another (byte {wrong:#x}); save it whole "
                        "as UTF-8"
                    ) from error
                return "cp1252", (f"{file.name} is not UTF-8 and was read as Windows text (cp1252)",)
            if not block:
                break
    return "utf-8", ()
