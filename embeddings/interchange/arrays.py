"""numpy's files, judged by their headers before their values are read, never unpickled."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from guidestore.embeddings import scratch
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import check_columns, check_fits, reason_of

_DAMAGED = (
    *(ValueError, OSError, EOFError, KeyError, SyntaxError, TypeError, MemoryError, OverflowError, RuntimeError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error),
    SystemError,  # of Python's tokenizer, by which numpy reads some headers
)


def read_npy(file: Path) -> np.ndarray:
    """The array in a .npy file. Raises InvalidInputError on objects, and on a shape that the file is not as long as."""
    with _told(file), file.open("rb") as handle:
        return _array(file, handle, file.stat().st_size)


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The arrays in a .npz file by name. Raises InvalidInputError on objects, damage, and sizes that memory lacks."""
    with _told(file), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        check_fits(file, sum(member.file_size for member in members))
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise InvalidInputError(f"{file} holds the array {name!r} twice; save it again")
            with archive.open(member) as handle:
                arrays[name] = _array(file, handle, member.file_size)
                if handle.read(1):  # at the end zipfile compares the checksum
                    raise ValueError(f"{name} is longer than its header says")
        return arrays


def _array(file: Path, handle: IO[bytes], size: int) -> np.ndarray:
    version = np.lib.format.read_magic(handle)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not read")
    shape, fortran, dtype = read(handle)
    if dtype.hasobject:
        raise InvalidInputError(f"{file} holds pickled objects, which are not read; save plain arrays")
    if any(length < 0 for length in shape):
        raise ValueError(f"its header claims the shape {shape}")
    count = 1
    for length in shape:
        count *= length
    held = size - handle.tell()
    if count * dtype.itemsize != held:
        raise ValueError(f"its header claims {shape} {dtype}, {count * dtype.itemsize:,} bytes, and it holds {held:,}")
    if len(shape) == 2:
        check_columns(file, shape[1])
    check_fits(file, count * dtype.itemsize)
    values = scratch.empty((count,), dtype)
    for _, block in scratch.blocks(values):
        left = memoryview(block.view(np.uint8))
        while left:
            got = handle.readinto(left)  # pyright: ignore[reportAttributeAccessIssue]
            if not got:
                raise EOFError("it ends before its values do")
            left = left[got:]
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


@contextmanager
def _told(file: Path) -> Iterator[Any]:
    """What numpy and zipfile raise on damaged files, as InvalidInputError."""
    try:
        yield
    except InvalidInputError:
        raise
    except _DAMAGED as error:
        said = "its header is damaged" if isinstance(error, SystemError) else reason_of(error)
        raise InvalidInputError(
            f"{file} cannot be read as a numeric array: {said}; save it again, without pickle"
        ) from error
