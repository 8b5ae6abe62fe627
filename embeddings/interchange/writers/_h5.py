"""HDF5 files of one slide, filled a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from guidestore.embeddings.errors import InvalidInputError


@contextmanager
def new_h5(file: Path) -> Iterator[Any]:
    """An open `h5py.File` that is new. Raises InvalidInputError where h5py is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise InvalidInputError(
            "this layout is HDF5 and h5py is not installed; install it (pip install h5py)"
        ) from error
    with h5py.File(file, "w") as opened:
        yield opened


def dataset(opened: Any, name: str, shape: tuple[int, ...], dtype: DTypeLike, attributes: Mapping[str, Any]) -> Any:
    """A new data set, in one piece on disk: a tile, a range and the whole are read at the same speed."""
    made = opened.create_dataset(name, shape, dtype=np.dtype(dtype))
    for key, value in attributes.items():
        made.attrs[key] = value
    return made
