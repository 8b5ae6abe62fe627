"""Bags and codes in one .pt, .npy or .npz file each, with coordinates beside where there are any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.arrays import read_npy, read_npz
from guidestore.embeddings.interchange.h5 import opened
from guidestore.embeddings.interchange.layout import Header, PeerItem
from guidestore.embeddings.interchange.pt import read_tensors
from guidestore.embeddings.interchange.tiles import (
    Tiles,
    array_blocks,
    code_width,
    coords_notes,
    dtype_notes,
    finite_code,
    form_of,
    kept_dtype,
    level0_coords,
    size_notes,
    stream,
)
from guidestore.embeddings.types import BagStream

NPZ_FEATURES = ("features", "feats", "embeddings", "arr_0")
"""Names of the features in a .npz file; the first that it has is meant."""


def values_of(path: Path) -> np.ndarray:
    """The one array of features in a .pt, .npy or .npz file; a list of (d,) tensors as (n, d). InvalidInputError."""
    if path.name.endswith(".npy"):
        return read_npy(path)
    if path.name.endswith(".npz"):
        arrays = read_npz(path)
        name = next((name for name in NPZ_FEATURES if name in arrays), None)
        if name is None:
            raise InvalidInputError(
                f"{path} holds {', '.join(arrays) or 'nothing'}, and none of {', '.join(NPZ_FEATURES)}"
            )
        return arrays[name]
    held = read_tensors(path)
    if isinstance(held, np.ndarray):
        return held
    if len({(part.shape, part.dtype) for part in held}) > 1 or held[0].ndim > 2:
        raise InvalidInputError(f"{path} holds a list of tensors of different shapes, and one shape is read")
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in held])


def coords_in(path: Path) -> np.ndarray:
    """Coordinates of a .npy, a .npz or an .h5 file that holds nothing else."""
    if path.name.endswith(".npy"):
        return read_npy(path)
    if path.name.endswith(".npz"):
        arrays = read_npz(path)
        if arrays.keys() >= {"x", "y"} and arrays["x"].shape == arrays["y"].shape:  # hs2p's
            index = arrays.get("tile_index", np.arange(2))
            if index.dtype.kind not in "iu" or not (np.diff(index.astype(np.int64)) > 0).all():
                raise InvalidInputError(
                    f"{path}: tile_index does not ascend, so the places are in another order than the tiles'"
                )
            return np.stack([arrays["x"], arrays["y"]], axis=-1)
        name = next((name for name in ("coords", "arr_0") if name in arrays), None)
        if name is None:
            raise InvalidInputError(f"{path} holds {', '.join(arrays) or 'nothing'}, and no coords")
        return arrays[name]
    with opened(path) as file:
        return file.matrix("coords").read()


@dataclass(frozen=True, slots=True, eq=False)
class TensorBag(PeerItem):
    """The bag of a slide in one file of a tensor or array, coordinates in another or none."""

    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    files: tuple[Path, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    """The first holds the features; others are joined to it."""
    coords: Path | None
    tiles: Callable[[], Tiles]
    places: Callable[[Path, np.ndarray, Tiles, float | None], tuple[np.ndarray | None, Tiles]] | None = None
    """As in `H5Bag`."""

    def _values(self) -> np.ndarray:
        parts = [values_of(path) for path in self.files]
        parts = [part[None] if part.ndim == 1 and part.size else part for part in parts]
        if len(parts) == 1:
            return parts[0]
        if len({part.shape[1:] for part in parts}) > 1:
            raise InvalidInputError(f"{self.files[0]} and others of slide {self.name} are of different widths")
        return np.concatenate(parts)

    def look(self) -> Header:
        values_nd, tiles = self._values(), self.tiles()
        n, d = form_of(self.files[0], "the array", values_nd.shape, values_nd.dtype)
        told: tuple[str, ...] = ()
        if self.coords is not None:
            stored = coords_in(self.coords)
            if stored.shape[:1] != (n,):
                raise InvalidInputError(
                    f"{self.coords} has {len(stored) if stored.ndim else 0:,} places, and {self.files[0].name} {n:,} "
                    "tiles; they must agree"
                )
            told = coords_notes(self.name, stored.dtype) if n else ()
        notes = (*tiles.notes, *told, *size_notes(self.name, tiles), *dtype_notes(self.name, values_nd.dtype))
        return Header(n, d, str(kept_dtype(values_nd.dtype)), tiles.facts, tiles.mpp, notes)

    def read(self, header: Header, mpp: float | None) -> BagStream:
        values_nd, tiles, dtype = self._values(), self.tiles(), np.dtype(header.dtype)
        coords_n2 = None
        if self.coords is not None:
            stored = coords_in(self.coords)
            if self.places is not None:
                coords_n2, tiles = self.places(self.coords, stored, tiles, mpp)
            else:
                coords_n2 = level0_coords(self.coords, stored, header.n, tiles)
        return stream(header, dtype, array_blocks(values_nd.reshape(header.n, header.d), dtype), coords_n2, tiles, mpp)


@dataclass(frozen=True, slots=True, eq=False)
class TensorCode(PeerItem):
    """The code of a slide or case in one file of a tensor or array."""

    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    files: tuple[Path, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    tiles: Callable[[], Tiles]

    def look(self) -> Header:
        values, tiles = values_of(self.files[0]), self.tiles()
        d = code_width(self.files[0], "the array", values.shape, values.dtype)
        return Header(int(d > 0), d, "float32", tiles.facts, tiles.mpp, tiles.notes)

    def read(self, header: Header, mpp: float | None) -> np.ndarray:
        return finite_code(self.files[0], values_of(self.files[0]))
