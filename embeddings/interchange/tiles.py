"""What all layouts of tiles have in common: what may be features and coordinates, and a bag in HDF5."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.grids import usual_gap
from guidestore.embeddings.interchange.h5 import H5File, opened
from guidestore.embeddings.interchange.layout import Header, PeerItem
from guidestore.embeddings.interchange.limits import MOST_COLUMNS
from guidestore.embeddings.types import BagStream, as_float32_codes

MOST_TILES = 20_000_000
"""Of a slide; the largest have a few hundred thousand."""
_LARGEST_PX = 2**31 - 1
MPP_RANGE = (0.02, 100.0)
"""um per pixel that a slide may have, from a 500x scan to a thumbnail; others are of another unit."""
_SAME = 0.01
"""Share by which x and y of a size may differ: a level is rounded to whole pixels in each."""
OFF = 0.03
"""Share by which tiles may lie apart from their size: STAMP rounds a tile up to whole pixels."""
FEWEST_TILES = 16
"""Of a slide whose tiles lie side by side."""
_MOST_ENLARGED = 4
"""Times that a tool may enlarge a slide; 40x of a scan at 20x is twice."""
_UM_AT_1X = (6.0, 16.0)
"""um per pixel times magnification, of scanners that there are."""
_UM_OFF = 1.25
"""Ratio by which a tile of so many um may be off: tools read the level that lies nearest."""
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Tiles:
    """What a file says of its tiles; 0 or None where it does not."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """As `Header.facts`."""
    px: int = 0
    level0_px: int = 0
    magnification: float | None = None
    """Of level 0."""
    size_px: tuple[float, float] | None = None
    """Width and height of level 0."""
    mpp: float | None = None
    um: float | None = None
    """Edge of a tile, where the tool says it beside its pixels."""
    notes: tuple[str, ...] = ()


def form_of(path: Path, name: str, shape: Sequence[int], dtype: np.dtype) -> tuple[int, int]:
    """(n, d) of features; (0, 0) of a blank slide that does not say d. Raises InvalidInputError for what are none."""
    if tuple(shape) == (0,):
        return 0, 0
    if len(shape) != 2 or not shape[1]:
        raise InvalidInputError(
            f"{path}: {name} has the shape {tuple(shape)}; features of tiles are (tiles, dimensions)"
        )
    if dtype.kind != "f":
        raise InvalidInputError(f"{path}: {name} is {dtype}; features are float16 or float32, so it is something else")
    if shape[0] > MOST_TILES or shape[1] > MOST_COLUMNS:
        raise InvalidInputError(
            f"{path}: {name} says {shape[0]:,} tiles of {shape[1]:,} dimensions, more than any slide and encoder have"
        )
    return shape[0], shape[1]


def kept_dtype(dtype: np.dtype) -> np.dtype:
    """What features are kept as: as they are, and float64 as float32."""
    return np.dtype(np.float16) if dtype == np.float16 else np.dtype(np.float32)


def dtype_notes(name: str, dtype: np.dtype) -> tuple[str, ...]:
    return (f"{name}: float64 features are kept as float32",) if dtype.itemsize > 4 else ()


def coords_notes(name: str, dtype: np.dtype) -> tuple[str, ...]:
    """A note on coordinates of a type that may have changed them: short ones end, or are rounded, within a slide."""
    if dtype == np.float16:
        return (f"{name}: coords are float16, which rounds places beyond 2,048, so they may be off",)
    if dtype.kind in "iu" and dtype.itemsize < 4:
        most = np.iinfo(dtype).max
        return (f"{name}: coords are {dtype}, which holds no place beyond {most:,}, so larger ones may have wrapped",)
    return ()


def level0_coords(path: Path, coords: np.ndarray, n: int, tiles: Tiles) -> np.ndarray:
    """(n, 2) int32 of coordinates in level-0 pixels, whole numbers as integers or floats.

    Raises InvalidInputError on other types, other rows than n, fractions, places outside of the slide.
    """
    if not n and not coords.size:
        return np.empty((0, 2), np.int32)
    if coords.ndim != 2 or coords.shape[1] != 2 or len(coords) != n:
        raise InvalidInputError(f"{path}: coords have the shape {coords.shape}, and there are {n:,} tiles of (x, y)")
    if coords.dtype.kind not in "iuf":
        raise InvalidInputError(f"{path}: coords are {coords.dtype}, and places are whole level-0 pixels (x, y)")
    with np.errstate(invalid="ignore"):
        rounded = np.rint(np.asarray(coords, np.float64))
    if not np.array_equal(rounded, coords):
        row = int(np.flatnonzero((rounded != coords).any(axis=1))[0])
        raise InvalidInputError(
            f"{path}: the coords of tile {row} are {coords[row].tolist()}, no whole level-0 pixels; they are in "
            "another "
            "unit, as um"
        )
    if (np.abs(rounded) > _LARGEST_PX).any():
        raise InvalidInputError(f"{path}: coords go beyond {_LARGEST_PX:,} pixels, so they are in another unit")
    low, high = rounded.min(axis=0), rounded.max(axis=0)
    edge = tiles.level0_px
    if (low < -edge).any():
        raise InvalidInputError(f"{path}: coords begin at {low.tolist()}, left of or above the slide")
    if tiles.size_px is not None and (high >= tiles.size_px).any():
        raise InvalidInputError(
            f"{path}: a tile lies at {high.tolist()}, and level 0 has {tiles.size_px[0]:g} x {tiles.size_px[1]:g} "
            "pixels; "
            "the coords are of another level, unit or order (x, y), or of another slide"
        )
    return rounded.astype(np.int32)


def same_places(path: Path, coords: np.ndarray, other: Path) -> None:
    """Raises InvalidInputError where `other`, the tool's own list of tiles, has others than `coords` (n, 2)."""
    with opened(other) as file:
        listed = file.matrix("coords").read()
    if (listed.size or coords.size) and not np.array_equal(listed, coords):
        same_form = listed.shape == coords.shape
        row = f" from tile {np.flatnonzero((listed != coords).any(axis=1))[0]} on" if same_form else ""
        raise InvalidInputError(
            f"{path} and {other} have other coords{row}: they are of two tilings; take those of one run, or move the "
            "latter away"
        )


def bag_notes(name: str, bag: BagStream, overlap_px: float | None) -> tuple[str, ...]:
    """Notes on tiles that are not as large, or do not lie, as they should. overlap_px: in pixels of the tiles; None:
    the tool does not say it."""
    px, level0_px = bag.tile_size_px, bag.tile_size_level0_px
    found = ()
    if px and level0_px and level0_px * _MOST_ENLARGED < px:
        found = (
            f"{name}: a tile of {px} px would be {level0_px} of level 0, enlarged {px / level0_px:.0f} times; its um "
            "per pixel, or the size of its tiles, is of another unit",
        )
    if bag.coords_n2 is None or not len(bag.coords_n2):
        return found
    found += _twice_note(name, bag.coords_n2)
    low = bag.coords_n2.min(axis=0)
    if (low < 0).any():
        found += (f"{name}: tiles begin at {low.tolist()}, left of or above the slide",)
    gap = usual_gap(bag.coords_n2)
    if gap is None or not level0_px:
        return found
    step_px = level0_px * (px - overlap_px) / px if px and overlap_px is not None else level0_px
    if gap < step_px * (1 - OFF) - 1 or (len(bag.coords_n2) >= FEWEST_TILES and gap > step_px * (1 + OFF) + 1):
        what = "size and overlap say" if overlap_px is not None else "size says"
        found += (
            f"{name}: tiles lie {gap:g} pixels apart, and their {what} {step_px:g}; the coords may be of another "
            "level or unit",
        )
    return found


def _twice_note(name: str, coords_n2: np.ndarray) -> tuple[str, ...]:
    """A note on tiles that lie at one place."""
    if not len(coords_n2):
        return ()
    places = np.sort(coords_n2[:, 0].astype(np.int64) << 32 | coords_n2[:, 1].astype(np.uint32))
    twice = int((places[1:] == places[:-1]).sum())
    return (f"{name}: {twice} of {len(coords_n2)} tiles lie where another lies",) if twice else ()


def size_notes(name: str, tiles: Tiles) -> tuple[str, ...]:
    """Notes where two things that the tool says of its tiles cannot both be right: 20x is about 0.5 um."""
    found, level0_px, scanned_at = (), tiles.level0_px, tiles.magnification
    if tiles.mpp and scanned_at and not _UM_AT_1X[0] <= tiles.mpp * scanned_at <= _UM_AT_1X[1]:
        found = (
            f"{name}: {tiles.mpp:g} um per pixel and {scanned_at:g}x do not go together ({scanned_at:g}x is about "
            f"{10 / scanned_at:g} um); the um are kept",
        )
    target = number_of(tiles.facts.get("magnification"))
    if tiles.px and level0_px and scanned_at and target and abs(level0_px - tiles.px * scanned_at / target) > 1:
        found += (
            f"{name}: patch_size_level0 is {level0_px}, and {tiles.px} px at {target:g}x of {scanned_at:g}x are "
            f"{tiles.px * scanned_at / target:g}; the former is kept",
        )
    if tiles.mpp and level0_px and tiles.um and not 1 / _UM_OFF < tiles.um / (level0_px * tiles.mpp) < _UM_OFF:
        found += (
            f"{name}: its tiles are said to be {tiles.um:g} um wide, and {level0_px} level-0 pixels of {tiles.mpp:g} "
            f"um are {level0_px * tiles.mpp:g}; the pixels are kept",
        )
    return found


def tile_edge(value: Any) -> int:
    """An edge in pixels of an attribute: whole numbers, floats (rounded), text of one; 0 where it says none."""
    number = number_of(value)
    return round(number) if number is not None and 0 < number <= _LARGEST_PX else 0


def number_of(value: Any) -> float | None:
    """The finite number that an attribute is, or a list of it (x, y) says twice; None where it is none, or is two."""
    try:
        numbers = [float(one) for one in (value if isinstance(value, list) else [value])]
    except (TypeError, ValueError, OverflowError):
        return None
    if not numbers or not all(map(math.isfinite, numbers)):
        return None
    return numbers[0] if all(abs(one - numbers[0]) <= _SAME * abs(numbers[0]) for one in numbers) else None


def mpp_of(value: Any) -> float | None:
    """um per pixel of an attribute or a table; None where it says none, or one of another unit."""
    number = number_of(value)
    return number if number is not None and MPP_RANGE[0] <= number <= MPP_RANGE[1] else None


@dataclass(frozen=True, slots=True, eq=False)
class H5Bag(PeerItem):
    """The bag of a slide in one HDF5 file."""

    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    files: tuple[Path, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    """The first holds the features."""
    features: str
    coords: str
    """'' where there are none."""
    tiles: Callable[[H5File], Tiles]
    """What the file, or another of `files`, says of its tiles."""
    columns: int = 2
    """Of the coordinates; only `places` looks at those from the third on."""
    places: Callable[[Path, np.ndarray, Tiles, float | None], tuple[np.ndarray | None, Tiles]] | None = None
    """(file, stored coordinates (n, columns), tiles, mpp) -> coordinates in level-0 pixels, and what is known of tiles
    with them; None: as stored."""

    def look(self) -> Header:
        path = self.files[0]
        with opened(path) as file:
            matrix = file.matrix(self.features)
            n, d = form_of(path, self.features, matrix.shape, matrix.dtype)
            matrix.check_whole()
            told: tuple[str, ...] = ()
            if self.coords:
                coords = file.matrix(self.coords)
                coords.check_whole()
                told = coords_notes(self.name, coords.dtype) if n else ()
                if not n and coords.shape and coords.shape[0]:
                    raise InvalidInputError(
                        f"{path}: {self.coords} names {coords.shape[0]:,} tiles, and {self.features} has none: the run "
                        "was cut off; make it again"
                    )
                if n and coords.shape != (n, self.columns):
                    raise InvalidInputError(
                        f"{path}: {self.coords} has the shape {coords.shape} and {self.features} {matrix.shape}; they "
                        f"must agree in tiles, and coordinates be (tiles, {self.columns})"
                    )
            tiles = self.tiles(file)
        notes = (*tiles.notes, *told, *size_notes(self.name, tiles), *dtype_notes(self.name, matrix.dtype))
        return Header(n, d, str(kept_dtype(matrix.dtype)), tiles.facts, tiles.mpp, notes)

    def read(self, header: Header, mpp: float | None) -> BagStream:
        path = self.files[0]
        dtype = np.dtype(header.dtype)
        with opened(path) as file:
            tiles = self.tiles(file)
            coords_n2 = None
            if self.coords:
                stored = file.matrix(self.coords).read() if header.n else np.empty((0, self.columns))
                if self.places is not None:
                    coords_n2, tiles = self.places(path, stored, tiles, mpp)
                else:
                    coords_n2 = level0_coords(path, stored[:, :2], header.n, tiles)

        def blocks() -> Iterator[np.ndarray]:
            if header.n:
                with opened(path) as again, np.errstate(over="ignore"):
                    for block in again.matrix(self.features).blocks():
                        yield block.astype(dtype, copy=False)

        return stream(header, dtype, blocks(), coords_n2, tiles, mpp)


def stream(
    header: Header,
    dtype: np.dtype,
    blocks: Iterator[np.ndarray],
    coords_n2: np.ndarray | None,
    tiles: Tiles,
    mpp: float | None,
) -> BagStream:
    return BagStream(
        (header.n, header.d), dtype, blocks, coords_n2, mpp, tiles.px, tiles.level0_px, tiles.magnification
    )


def array_blocks(values_nd: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """The rows of an array, some at a time: it may be mapped."""
    with np.errstate(over="ignore"):
        for start in range(0, len(values_nd), _BLOCK_ROWS):
            yield np.ascontiguousarray(values_nd[start : start + _BLOCK_ROWS], dtype)


@dataclass(frozen=True, slots=True, eq=False)
class H5Code(PeerItem):
    """The code of a slide, or of a case, in one HDF5 file."""

    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    files: tuple[Path, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    features: str
    tiles: Callable[[H5File], Tiles]

    def look(self) -> Header:
        path = self.files[0]
        with opened(path) as file:
            matrix = file.matrix(self.features)
            d = code_width(path, self.features, matrix.shape, matrix.dtype)
            matrix.check_whole()
            tiles = self.tiles(file)
        return Header(int(d > 0), d, "float32", tiles.facts, tiles.mpp, tiles.notes)

    def read(self, header: Header, mpp: float | None) -> np.ndarray:
        with opened(self.files[0]) as file:
            return finite_code(self.files[0], file.matrix(self.features).read())


def code_width(path: Path, name: str, shape: Sequence[int], dtype: np.dtype) -> int:
    """d of a code (d,) or (1, d); 0 of a blank slide's (0,). Raises InvalidInputError for what is none."""
    if dtype.kind != "f" or len(shape) not in (1, 2) or (len(shape) == 2 and (shape[0] != 1 or not shape[1])):
        raise InvalidInputError(
            f"{path}: {name} is {dtype} of shape {tuple(shape)}; a code of a slide is float, (dimensions,)"
        )
    if shape[-1] > MOST_COLUMNS:
        raise InvalidInputError(f"{path}: {name} says {shape[-1]:,} dimensions, more than any encoder has")
    return shape[-1]


def finite_code(path: Path, values: np.ndarray) -> np.ndarray:
    """(d,) float32. Raises InvalidInputError where a value is not finite, or float32 does not hold it."""
    try:
        code_d = as_float32_codes(values.reshape(1, -1))[0]
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    if not np.isfinite(code_d).all():
        raise InvalidInputError(f"{path}: the code is not finite in {int((~np.isfinite(code_d)).sum())} dimensions")
    return code_d
