"""Zip files of arrays (``.pt``, ``.npz``), filled a part at a time: neither torch nor a whole bag is needed."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from guidestore.embeddings.interchange.halves import as_float32

_ALIGNED = 64
"""Bytes that values begin at a multiple of, as torch's do: it maps them without a copy."""
_TENSOR = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu%btQK\x00%b%b\x89ccollections\nOrderedDict\n)RtR."
)
"""``data.pkl`` of one float32 tensor as torch.save writes it (protocol 2, no memos), which `weights_only` allows."""


def write_tensor(file: Path, shape: Sequence[int], parts: Iterable[np.ndarray]) -> None:
    """A float32 tensor of one axis or more that torch.load reads, mapped or not; `parts` are its rows, of any float."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    sizes, steps = (b"(" + b"".join(map(_whole, values)) + b"t" for values in (shape, strides))
    with zipfile.ZipFile(file, "x") as archive:
        _add(archive, "archive/data.pkl", _TENSOR % (_whole(math.prod(shape)), sizes, steps))
        _add(archive, "archive/byteorder", b"little")
        _add(archive, "archive/data/0", b"", math.prod(shape) * 4, map(as_float32, parts))
        _add(archive, "archive/version", b"3\n")


def _whole(number: int) -> bytes:
    """Pickled: four bytes, or eight where they are too few."""
    return b"J" + struct.pack("<i", number) if number < 2**31 else b"\x8a\x08" + struct.pack("<q", number)


class NpzArray(NamedTuple):
    """An array of an ``.npz``, its rows in parts."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    parts: Iterable[np.ndarray]


def write_npz(file: Path, arrays: Iterable[NpzArray]) -> None:
    """Arrays that `numpy.load` reads without pickle; each is filled before the next is asked for."""
    with zipfile.ZipFile(file, "x") as archive:
        for name, shape, dtype, parts in arrays:
            head = io.BytesIO()
            told: dict[str, Any] = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(head, told)
            _add(archive, f"{name}.npy", head.getvalue(), math.prod(shape) * dtype.itemsize, parts)


def _add(archive: zipfile.ZipFile, name: str, head: bytes, size: int = 0, parts: Iterable[np.ndarray] = ()) -> None:
    """A member of `head` and then `size` bytes of values; always of the same date, so that exports do not differ."""
    info = zipfile.ZipInfo(name)
    info.file_size = len(head) + size  # from about 2 GB on, `open` writes a header that has 20 bytes more
    header = 30 + len(name) + 4 + (20 if info.file_size * 1.05 > zipfile.ZIP64_LIMIT else 0)
    padding = -(archive.start_dir + header) % _ALIGNED
    info.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
    with archive.open(info, "w") as handle:
        handle.write(head)
        for part in parts:
            handle.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8))
