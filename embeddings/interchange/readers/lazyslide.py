"""LazySlide: ``<slide>.zarr`` (SpatialData in zarr 3): ``tables/<encoder>_tiles``, ``shapes/tiles``,
``varm/agg_slide``.

A tile's edge at level 0 is int(width x base_downsample), and its place the bounds of its polygon, as LazySlide 0.13 has
it."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import folders_in, listed, within
from guidestore.embeddings.interchange.layout import NO_IDS, Header, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.limits import check_fits, reason_of
from guidestore.embeddings.interchange.parquet_size import parquet_size
from guidestore.embeddings.interchange.tiles import (
    Tiles,
    array_blocks,
    code_width,
    dtype_notes,
    finite_code,
    form_of,
    kept_dtype,
    level0_coords,
    mpp_of,
    number_of,
    size_notes,
    stream,
    tile_edge,
)
from guidestore.embeddings.interchange.zarr_arrays import metadata_of, read, read_text, shape_of
from guidestore.embeddings.types import BagStream

_SUFFIX = ".zarr"
_SQUARE = 93
"""Bytes of a polygon of five points in WKB: byte order, type, rings, points, 5 x (x, y)."""


class Lazyslide(Reader):
    tool = "LazySlide"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        places = [folder] if folder.name.endswith(_SUFFIX) else folders_in(folder)
        bags: defaultdict[str, list[PeerItem]] = defaultdict(list)
        codes: defaultdict[str, list[PeerItem]] = defaultdict(list)
        without, others = [], []
        for place in places:
            if not place.name.endswith(_SUFFIX):
                continue
            if not (place / "zarr.json").is_file() or not (place / "shapes").is_dir():
                others.append(place.name)
                continue
            tables = [table for table in folders_in(place / "tables") if _region(table) and (table / "X").is_dir()]
            if not tables:
                without.append(place.name)
            for table in tables:
                encoder = table.name.removesuffix(f"_{_region(table)}")
                bags[encoder].append(_Tiles(place.name.removesuffix(_SUFFIX), place, table))
                if (table / "varm" / "agg_slide").is_dir():
                    how = read_text(table / "uns" / "agg_ops" / "agg_slide" / "encoder") or "slide"
                    codes[f"{encoder}_{how}"].append(_Slide(place.name.removesuffix(_SUFFIX), place, table, how))
        notes = (f"{listed(without)}: no table of features",) if without else ()
        if others:
            notes += (
                f"{listed(others)}: no SpatialData of zarr 3 (zarr.json and shapes/), left out; save it again with a "
                "newer tool",
            )
        deeper = [zarr for place in places if not place.name.endswith(_SUFFIX) for zarr in folders_in(place)]
        nested = [within(folder, zarr) for zarr in deeper if zarr.name.endswith(_SUFFIX)]
        if nested:
            notes += (f"{listed(nested)}: in a folder within, and not read; import that folder too",)
        at = within(folder, folder)
        return [
            *[PeerSet("lazyslide", at, name, "bag", "slide", items, notes=notes) for name, items in bags.items()],
            *[PeerSet("lazyslide", at, name, "codes", "slide", items) for name, items in codes.items()],
        ]


def _region(table: Path) -> str:
    """Which shapes a table is of."""
    if not (table / "zarr.json").is_file():
        return ""
    region = metadata_of(table).get("attributes", {}).get("region")
    return region if isinstance(region, str) and "/" not in region and region not in ("", ".", "..") else ""


def _files(*places: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for place in places for path in place.rglob("*") if path.is_file()))


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles(PeerItem):
    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    place: Path
    table: Path

    @property
    def files(self) -> tuple[Path, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        obs = self.table / "obs" / "tile_id"
        shapes = self.place / "shapes" / _region(self.table)
        return (self.place / "zarr.json", *_files(self.table / "X", obs, shapes))

    def look(self) -> Header:
        shape, kind = shape_of(self.table / "X")
        n, d = form_of(self.table, "X", shape, np.dtype(kind))
        tiles = _tiles_of(self.place, _region(self.table))
        notes = (*tiles.notes, *size_notes(self.name, tiles), *dtype_notes(self.name, np.dtype(kind)))
        return Header(n, d, str(kept_dtype(np.dtype(kind))), tiles.facts, tiles.mpp, notes)

    def read(self, header: Header, mpp: float | None) -> BagStream:
        region = _region(self.table)
        tiles, dtype = _tiles_of(self.place, region), np.dtype(header.dtype)
        shapes = self.place / "shapes" / region / "shapes.parquet"
        ids, corners, sides = _corners(shapes)
        edges = np.array([tiles.level0_px, tiles.level0_px])
        if len(sides) and np.abs(sides - edges).max() > 1:
            odd = sides[np.abs(sides - edges).max(axis=1).argmax()]
            raise InvalidInputError(
                f"{shapes}: a tile is {odd[0]:g} x {odd[1]:g} level-0 pixels, and tile_spec says {edges[0]}; they are "
                "of two tilings: make the table again"
            )
        wanted = read(self.table / "obs" / "tile_id")
        if wanted.dtype.kind not in "iu" or wanted.shape != (header.n,):
            raise InvalidInputError(
                f"{self.table}: {header.n:,} rows of features, and obs/tile_id is {wanted.dtype} of shape "
                f"{wanted.shape}; make the table again"
            )
        order = np.argsort(ids, kind="stable")
        found = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
        if len(np.unique(ids)) < len(ids) or (len(wanted) and (not len(ids) or (ids[order][found] != wanted).any())):
            raise InvalidInputError(f"{self.table}: its tile_id are not those of {shapes}; make the table again")
        rows = order[found]
        coords_n2 = level0_coords(shapes, corners[rows], header.n, tiles)
        values_nd = read(self.table / "X")
        return stream(header, dtype, array_blocks(values_nd, dtype), coords_n2, tiles, mpp)


@dataclass(frozen=True, slots=True, eq=False)
class _Slide(PeerItem):
    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    place: Path
    table: Path
    how: str

    @property
    def files(self) -> tuple[Path, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return _files(self.table / "varm" / "agg_slide")

    def look(self) -> Header:
        shape, kind = shape_of(self.table / "varm" / "agg_slide")
        d = code_width(self.table, "varm/agg_slide", shape[::-1], np.dtype(kind))
        tiles = _tiles_of(self.place, _region(self.table))
        return Header(1, d, "float32", {**tiles.facts, "pooled": self.how}, tiles.mpp)

    def read(self, header: Header, mpp: float | None) -> np.ndarray:
        return finite_code(self.table, read(self.table / "varm" / "agg_slide"))


def _tiles_of(place: Path, region: str) -> Tiles:
    said = metadata_of(place).get("attributes", {})
    spec: Any = said.get("tile_spec", {}).get(region) if isinstance(said.get("tile_spec"), dict) else None
    slide: Any = said.get("slide_properties")
    if not isinstance(spec, dict) or not isinstance(slide, dict):
        raise InvalidInputError(f"{place} lacks tile_spec.{region} or slide_properties; copy the folder again")
    px, scale = tile_edge(spec.get("width")), number_of(spec.get("base_downsample")) or 1.0
    if tile_edge(spec.get("height")) not in (0, px):
        raise InvalidInputError(
            f"{place}: tiles are {px} x {spec['height']}, and tiles that are not square are not read"
        )
    facts: dict[str, Any] = {"tool": "LazySlide", "tile_px": px}
    if number_of(spec.get("mpp")) is not None:
        facts["tile_mpp"] = number_of(spec["mpp"])
    stride = number_of(spec.get("stride_width"))
    if stride is not None:
        facts["overlap_px"] = px - stride
        down = number_of(spec.get("stride_height"))
        if down is not None and down != stride:
            facts["overlap_down_px"] = px - down
    shape = slide.get("shape")
    size = (float(shape[1]), float(shape[0])) if isinstance(shape, list) and len(shape) == 2 else None
    name = place.name.removesuffix(_SUFFIX)
    notes = () if spec.get("tissue_name") else (f"{name}: no tissue was found, and the slide was tiled whole",)
    if "overlap_down_px" in facts:
        across, down = facts["overlap_px"], facts["overlap_down_px"]
        notes += (f"{name}: tiles overlap by {across:g} px across and {down:g} px down",)
    mpp, um = mpp_of(slide.get("mpp")), px * facts.get("tile_mpp", 0.0)
    return Tiles(facts, px, int(px * scale), number_of(slide.get("magnification")), size, mpp, um, notes)


def _corners(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) ids, their row numbers where there are none, (n, 2) upper left corners of the polygons' bounds, and (n, 2)
    how wide and high these are."""
    try:
        check_fits(file, parquet_size(file).decoded_bytes)
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            table = parquet.read(use_threads=False)
        polygons = [bytes(value) for value in table["geometry"].to_pylist()]
        ids = table["tile_id"].to_numpy() if "tile_id" in table.column_names else np.arange(len(polygons))
        if ids.dtype.kind not in "iu":
            raise ValueError(f"tile_id is {ids.dtype}, and no whole numbers")
        if polygons and all(len(polygon) == _SQUARE and polygon[0] == 1 for polygon in polygons):
            whole = np.frombuffer(b"".join(polygons), np.uint8).reshape(-1, _SQUARE)
            points = np.ascontiguousarray(whole[:, 13:]).view("<f8").reshape(len(polygons), 5, 2)
            return ids, points.min(axis=1), np.ptp(points, axis=1)
        rings = [_ring(polygon) for polygon in polygons]
        corners, sides = (np.array([of(ring, axis=0) for ring in rings]).reshape(-1, 2) for of in (np.min, np.ptp))
        return ids, corners, sides
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, struct.error) as error:
        raise InvalidInputError(f"{file} cannot be read ({reason_of(error)}); copy the folder again") from error


def _ring(polygon: bytes) -> np.ndarray:
    """(points, 2) x and y of a WKB polygon's outer ring."""
    order = "<" if polygon[0] == 1 else ">"
    kind, rings, points = struct.unpack_from(f"{order}III", polygon, 1)
    if kind % 1000 != 3 or not rings:
        raise ValueError("a tile is no polygon")
    width = 2 if kind < 1000 else 3
    return np.frombuffer(polygon, f"{order}f8", points * width, 13).reshape(points, width)[:, :2]
