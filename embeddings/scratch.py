"""Arrays that need not fit into memory: large ones lie in a file without a name, little of it in memory at once."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from guidestore.embeddings.errors import StorageError

LARGE_BYTES = 1 << 28
BLOCK_BYTES = 1 << 25


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array to be filled; from LARGE_BYTES on in the folder of temporary files.

    Raises StorageError where that is full.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # a disk that fills up under a mapped file ends the process
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise StorageError(
                f"{tempfile.gettempdir()} has no room for {size / 2**30:.1f} GiB ({error.strerror}); set TMPDIR to a "
                "folder that has"
            ) from error
        return np.memmap(file, dtype, "r+", shape=shape)


def blocks(array_nd: np.ndarray, rows: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows of an array at a time: where, and a view of them. What lies in a file leaves memory after each.

    rows: how many; 0: as many as BLOCK_BYTES are.
    """
    step = rows or max(BLOCK_BYTES * len(array_nd) // max(array_nd.nbytes, 1), 1)
    for start in range(0, len(array_nd), step):
        place = slice(start, start + step)
        yield place, array_nd[place]
        release(array_nd)


def release(array_nd: np.ndarray) -> None:
    """Lets what lies in a file leave memory; it is read again where it is asked for."""
    mapped = getattr(array_nd, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
