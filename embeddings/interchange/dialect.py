"""What kind a file is, by its first bytes, and how a text file is written: its encoding and its delimiter."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
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
    (b"\x1f\x8b", "is compressed (gzip); unpack it first"),
    (b"BZh", "is compressed (bzip2); unpack it first"),
    (b"\xfd7zXZ", "is compressed (xz); unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd); unpack it first"),
    (b"ARROW1", "is an Arrow (Feather) file; save it as Parquet"),
    (b"\x89HDF", "is an HDF5 file, which is no table; import the folder that it lies in, or save it as Parquet or CSV"),
    (b"%PDF", "is a PDF; save the table as CSV"),
    *(
        (bytes((0x80, protocol)), "is a pickle, which can run code when it is read; save it as Parquet or CSV")
        for protocol in (2, 3, 4, 5)
    ),
    (b"PARE", "is an encrypted Parquet file; save it without encryption"),
    (b"\xff\xff\xff\xff", "is an Arrow stream; save it as Parquet"),
    (b"Obj\x01", "is an Avro file; save it as Parquet"),
    (b"ORC", "is an ORC file; save it as Parquet"),
    (b"HEADER RECORD*******", "is a SAS transport file (.xpt); export it as CSV"),
    (b"$FL", "is an SPSS file (.sav); export it as CSV"),
    (b"<stata_dta>", "is a Stata file (.dta); export it as CSV"),
    (b"RDX", "is a file of R's save(); write the table by write.csv"),
    (b"RDA", "is a file of R's save(); write the table by write.csv"),
    (b"MATLAB 5.0", "is a MATLAB file (.mat); write the table by writetable as CSV"),
    (b"SQLite format 3", "is an SQLite database; export the table as CSV"),
    (b"version https://git-lfs", "is a pointer of Git LFS in place of the file; fetch it by git lfs pull"),
)
_ARCHIVES = (
    ("workbook.bin", "is a binary Excel file (.xlsb); save it as .xlsx or CSV"),
    ("content.xml", "is an OpenDocument file (.ods); save it as .xlsx or CSV"),
    ("data.pkl", "is a PyTorch file; save its tensors as npz"),
)
_OLD_EXCEL, _PASSWORD = b"\xd0\xcf\x11\xe0", "EncryptedPackage".encode("utf-16-le")
_STATA = (b"l", b"n", b"o", b"q", b"r", b"s")
_SAS = b"\xc2\xea\x81\x60"
_MOST_SEARCHED = 1 << 26
_MARKUP = re.compile(rb"\s*<(?:!doctype html|html|table|meta|head|\?xml)\b", re.IGNORECASE)
_JSON = re.compile(rb'\s*(?:\[\s*[\[{"]|\{\s*")')


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
    if head.startswith(_OLD_EXCEL):
        with file.open("rb") as handle:
            is_locked = _PASSWORD in handle.read(_MOST_SEARCHED)
        what = "has a password; save it without one" if is_locked else "is an old Excel file (.xls)"
        raise InvalidInputError(f"{file} {what}{'' if is_locked else '; save it as .xlsx or CSV'}")
    if head[:1] in _STATA and head[1:3] in (b"\1\1", b"\2\1"):
        raise InvalidInputError(f"{file} is a Stata file (.dta); export it as CSV")
    if head[12:16] == _SAS:
        raise InvalidInputError(f"{file} is a SAS file (.sas7bdat); export it as CSV")
    if _MARKUP.match(head.removeprefix(codecs.BOM_UTF8)):
        raise InvalidInputError(
            f"{file} is HTML or XML, as some programs write under the name .xls; open it in a spreadsheet program and "
            "save it as .xlsx or CSV"
        )
    if _JSON.match(head.removeprefix(codecs.BOM_UTF8)):
        raise InvalidInputError(f"{file} is JSON; save it as CSV or Parquet")
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
    if any(name.startswith("xl/") for name in names) and "xl/workbook.bin" not in names:
        return "excel"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    for name, what in _ARCHIVES:
        if any(held == name or held.endswith(f"/{name}") for held in names):
            raise InvalidInputError(f"{file} {what}")
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
    first = lines[0].strip('"\r\n\ufeff') if lines else ""
    if first.lower().startswith("sep=") and len(first) == 5:
        return Dialect(encoding, first[4], 1, notes)
    preferred = "\t,;|" if file.suffix.lower() in (".tsv", ".tab") else ",;\t|"
    return Dialect(encoding, max(preferred, key=lambda delimiter: _likely(lines, delimiter, id_column)), 0, notes)


def bare(name: str) -> str:
    """A name of a column without blanks and marks of UTF-8 around it: files that were joined have one more."""
    return name.strip().strip("\ufeff").strip()


def _likely(lines: list[str], delimiter: str, id_column: str) -> tuple[bool, bool, float, int]:
    """The larger, the more this is the delimiter."""
    try:
        rows = list(
            itertools.islice(filter(None, csv.reader(lines, delimiter=delimiter, skipinitialspace=True)), _SAMPLE_ROWS)
        )
    except csv.Error:
        return False, False, 0.0, 0
    header = [bare(name) for name in rows[0]] if rows else []
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
