"""HDF5 of other tools, opened so that a file is its own bytes alone; its headers are judged before its values are read.

Links to elsewhere (external, soft), data kept in other files (virtual and external data sets) and filters that would
load a plug-in are refused; nothing that Python objects could come from is read.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import reason_of

BLOCK_BYTES = 32 * 2**20
"""Of features that are in memory at once; more only where a file's own chunk is larger."""
MOST_CHUNK_BYTES = 2**30
"""A compressed chunk is in memory as a whole."""
_MOST_VALUES = 1024
"""Of an attribute: those of the tools have two at most."""
_MOST_NAMES = 10_000
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset, and h5py's own lzf."""
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError, UnicodeError)


class H5File:
    """An open file. Made by `opened`."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path, self._root = path, root

    def names(self, group: str = "") -> tuple[str, ...]:
        """What lies in the root, or in a group; sorted."""
        place = self._at(group) if group else self._root
        if len(place) > _MOST_NAMES:
            raise InvalidInputError(f"{self.path} holds {len(place):,} things in one group; give files of other tools")
        return tuple(sorted(place))

    def __contains__(self, name: str) -> bool:
        head, _, rest = name.partition("/")
        return head in self._root and (not rest or (self.is_group(head) and name in self._root))

    def is_group(self, name: str) -> bool:
        import h5py

        return isinstance(self._at(name), h5py.Group)

    def attributes(self, name: str = "") -> dict[str, Any]:
        """Those of the root, or of a data set or group: text, whole numbers, floats and lists of them.

        ``None`` where the file says the text 'None', as TRIDENT writes it. Others are left out.
        """
        import h5py

        found: dict[str, Any] = {}
        attributes = (self._at(name) if name else self._root).attrs
        for key in list(attributes)[:_MOST_VALUES]:
            header = attributes.get_id(key)
            if int(np.prod(header.shape or (), dtype=np.int64)) > _MOST_VALUES or h5py.check_ref_dtype(header.dtype):
                continue
            value = attributes[key]
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iufSb":
                value = value.tolist()
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if isinstance(value, str | int | float | list):
                found[key] = None if value == "None" else value
        return found

    def matrix(self, name: str) -> Matrix:
        """A data set, whose values are read by `Matrix`. Raises InvalidInputError where it is none of numbers."""
        import h5py

        place = self._at(name)
        if not isinstance(place, h5py.Dataset):
            raise InvalidInputError(f"{self.path}: {name} is a group and no array")
        if place.is_virtual or place.external:
            raise InvalidInputError(
                f"{self.path}: the values of {name} lie in other files, which are not followed; copy them into one"
            )
        if place.dtype.kind not in "fiub" or place.dtype.itemsize > 8 or place.shape is None:
            raise InvalidInputError(f"{self.path}: {name} is {place.dtype} of shape {place.shape}, and no numbers")
        return Matrix(self.path, name, place)

    def _at(self, name: str) -> Any:
        """The object of that name, reached by hard links alone."""
        import h5py

        place = self._root
        for part in name.split("/"):
            if not isinstance(place, h5py.Group) or part not in place:
                held = ", ".join(list(self._root)[:8]) or "nothing"
                raise InvalidInputError(f"{self.path} holds no {name!r}; it holds {held}")
            if not isinstance(place.get(part, getlink=True), h5py.HardLink):
                raise InvalidInputError(
                    f"{self.path}: {name!r} is a link to elsewhere, which is not followed; copy what it means into the "
                    "file"
                )
            place = place[part]
        return place


class Matrix:
    """A data set of numbers: its form by its header, its rows block by block."""

    def __init__(self, path: Path, name: str, dataset: Any) -> None:
        self._path, self._name, self._data = path, name, dataset
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype: np.dtype = dataset.dtype.newbyteorder("=")

    def check_whole(self) -> None:
        """Raises InvalidInputError where values are missing, which HDF5 would fill in with zeros, or cannot be read."""
        if not np.prod(self.shape, dtype=np.float64):
            return
        size = int(np.prod([float(length) for length in self.shape])) * self.dtype.itemsize
        settings = self._data.id.get_create_plist()
        filters = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
        chunks = self._data.chunks
        if not set(filters) <= _FILTERS:
            raise InvalidInputError(
                f"{self._path}: {self._name} is compressed by a plug-in (filter {max(filters)}); save it with gzip or "
                "without compression"
            )
        if chunks is None:
            lacking = self._data.id.get_storage_size() < size
        else:
            wanted = np.prod([-(-length // chunk) for length, chunk in zip(self.shape, chunks, strict=True)])
            lacking = self._data.id.get_num_chunks() < wanted
            if float(np.prod(chunks, dtype=np.float64)) * self.dtype.itemsize > MOST_CHUNK_BYTES:
                raise InvalidInputError(
                    f"{self._path}: a chunk of {self._name} has the shape {chunks}; save it in smaller ones"
                )
        if lacking:
            raise InvalidInputError(
                f"{self._path}: {self._name} says {self.shape} and was not written whole; make the file again"
            )

    def read(self) -> np.ndarray:
        """All values at once, in native byte order: of codes and coordinates."""
        plain = self._plain_chunks() if len(self.shape) == 2 and self.shape[0] else None
        with _told(self._path):
            return np.asarray(self._data[()], self.dtype) if plain is None else self._gathered(plain, 0, self.shape[0])

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows of an (n, d) array in order, at most BLOCK_BYTES at a time, or a chunk where that is more."""
        n, d = self.shape
        rows = max(BLOCK_BYTES // max(d * self.dtype.itemsize, 1), 1)
        if self._data.chunks:
            rows = max(rows // self._data.chunks[0] * self._data.chunks[0], self._data.chunks[0])
        plain = self._plain_chunks()
        for start in range(0, n, rows):
            stop = min(start + rows, n)
            with _told(self._path):
                if plain is None:
                    yield np.asarray(self._data[start:stop], self.dtype)
                else:
                    yield self._gathered(plain, start, stop)

    def _plain_chunks(self) -> np.ndarray | None:
        """(chunks,) where each lies in the file, of chunks of whole rows that are stored as they are; None of others.

        HDF5 takes ten times as long for TRIDENT's chunks of one row.
        """
        chunks = self._data.chunks
        if chunks is None or chunks[1] != self.shape[1] or self._data.dtype != self.dtype:
            return None
        if self._data.id.get_create_plist().get_nfilters() or not self._data.dtype.isnative:
            return None
        found: list[Any] = []
        with _told(self._path):
            self._data.id.chunk_iter(found.append)
        if not found or self._data.file.userblock_size:  # then places do not count from the file's first byte
            return None
        corners, masks, places, sizes = zip(*found, strict=True)
        size, end = chunks[0] * chunks[1] * self.dtype.itemsize, self._path.stat().st_size
        offsets = np.full(-(-self.shape[0] // chunks[0]), -1, np.int64)
        rows = np.fromiter((corner[0] for corner in corners), np.int64, len(found)) // chunks[0]
        if any(masks) or set(sizes) != {size} or not 0 <= rows.min() <= rows.max() < len(offsets):
            return None
        offsets[rows] = places
        return offsets if 0 <= offsets.min() <= offsets.max() <= end - size else None

    def _gathered(self, offsets: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop), where `start` is the first of a chunk."""
        chunk_rows = self._data.chunks[0]
        size = chunk_rows * self.shape[1] * self.dtype.itemsize
        wanted = offsets[start // chunk_rows : -(-stop // chunk_rows)]
        values = np.empty((len(wanted), size), np.uint8)
        cuts = np.flatnonzero(np.diff(wanted) != size) + 1
        with self._path.open("rb", buffering=0) as handle:
            for first, last in itertools.pairwise([0, *cuts.tolist(), len(wanted)]):  # chunks that lie side by side
                if os.preadv(handle.fileno(), [values[first:last]], int(wanted[first])) != (last - first) * size:
                    raise OSError("it ends before its values do")
        return values.reshape(-1).view(self.dtype).reshape(-1, self.shape[1])[: stop - start]


@contextmanager
def opened(path: Path) -> Iterator[H5File]:
    """Opens an HDF5 file for reading. Raises InvalidInputError where it is none, or is damaged."""
    import h5py

    with _told(path), h5py.File(path, "r", locking=False) as root:
        yield H5File(path, root)


def is_h5(path: Path) -> bool:
    """Whether the file begins as HDF5 does."""
    try:
        with path.open("rb") as handle:
            return handle.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def check_none(broken: Sequence[Path]) -> None:
    """Raises InvalidInputError naming the first of files that do not begin as HDF5 does, beside others that do."""
    if broken:
        raise InvalidInputError(f"{broken[0]} is no HDF5 file, or an unfinished one; make it again")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What HDF5 raises on damaged files, as InvalidInputError."""
    try:
        yield
    except InvalidInputError:
        raise
    except _DAMAGE as error:
        raise InvalidInputError(
            f"{path} cannot be read as HDF5 ({reason_of(error)}); copy it again, or make it again"
        ) from error


def first_of(names: Sequence[str], file: H5File) -> str | None:
    """The first of some names that the file has."""
    return next((name for name in names if name in file), None)
