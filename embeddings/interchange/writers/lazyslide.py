"""LazySlide: a ``<slide>.zarr`` (zarr 3, SpatialData) each with tiles as shapes and an AnnData table of features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from guidestore.embeddings.interchange.halves import as_float32
from guidestore.embeddings.interchange.outgoing import (
    Outgoing,
    OutgoingBags,
    OutgoingCodes,
    OutgoingSlide,
    Writer,
    need_mpp,
    need_places,
)
from guidestore.embeddings.interchange.writers._zarr import (
    describe_array,
    write_array,
    write_chunk,
    write_group,
    write_texts,
)
from guidestore.embeddings.types import Bag

_AXES = [{"name": name, "type": "space", "unit": "unit"} for name in ("x", "y")]
_TO_GLOBAL = {
    "type": "identity",
    "input": {"name": "xy", "axes": _AXES},
    "output": {"name": "global", "axes": _AXES},
}
_CORNERS = ((1, 0), (1, 1), (0, 1), (0, 0), (1, 0))
"""Of a tile's polygon, in the order of LazySlide's own."""
_WKB = np.dtype([("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])
_GEO = {"encoding": "WKB", "crs": None, "geometry_types": ["Polygon"]}
_IS_WKB = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": "{}"}
_SHAPES = pa.schema(
    [pa.field("tile_id", pa.int64()), pa.field("geometry", pa.binary(), metadata=_IS_WKB)],
    metadata={"geo": json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": _GEO}})},
)
_CHUNK_ROWS = 1024


class Lazyslide(Writer):
    """SpatialData of slides, AnnData of cases."""

    tool = "LazySlide"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Features in float32; tiles are polygons in level-0 pixels. A blank slide has no table.

        ``codes/<modality>_<encoder>.zarr`` is an AnnData of case codes, its rows named by case.
        """
        if out.bags is not None:
            out.left_out("table", "since the slide has no tile", (s.name for s in out.bags.slides if not s.tiles))
            for slide in out.bags.slides:
                _write_slide(out.bags, slide, folder / f"{slide.name}.zarr")
        for codes in out.codes:
            _write_codes(out, codes, folder / "codes" / f"{codes.key.modality}_{codes.key.encoder}.zarr")


def _write_slide(bags: OutgoingBags, slide: OutgoingSlide, folder: Path) -> None:
    need_places(slide, "lazyslide")
    facts = slide.read(slice(0, 0))
    mpp = need_mpp(slide, facts, "lazyslide")
    write_group(
        folder,
        {
            "spatialdata_attrs": {"version": "0.2", "spatialdata_software_version": "0.8.0"},
            "slide_properties": {"mpp": mpp, "magnification": facts.magnification},
            "tile_spec": {"tiles": _tile_spec(facts, mpp)},
        },
    )
    shapes, tables = write_group(folder / "shapes", {}), write_group(folder / "tables", {})
    if not slide.tiles:
        return
    write_group(
        shapes / "tiles",
        {
            "encoding-type": "ngff:shapes",
            "axes": ["x", "y"],
            "coordinateTransformations": [_TO_GLOBAL],
            "spatialdata_attrs": {"version": "0.3"},
        },
    )
    group = write_group(
        tables / f"{bags.key.encoder}_tiles",
        {
            "encoding-type": "anndata",
            "encoding-version": "0.1.0",
            "spatialdata-encoding-type": "ngff:regions_table",
            "region": "tiles",
            "region_key": "library_id",
            "instance_key": "tile_id",
            "version": "0.2",
        },
    )
    obs = _frame(group, "obs", [str(number) for number in range(slide.tiles)], ["tile_id", "library_id"])
    write_array(obs / "tile_id", np.arange(slide.tiles, dtype=np.int64), _encoding("array"))
    library = write_group(obs / "library_id", _encoding("categorical") | {"ordered": False})
    write_array(library / "codes", np.zeros(slide.tiles, np.int8), _encoding("array"))
    write_texts(library / "categories", ["tiles"], _TEXTS)
    _rest(group, slide.code_dim)
    uns = write_group(group / "uns" / "spatialdata_attrs", _encoding("dict", "0.1.0"))
    for name, value in (("region", "tiles"), ("region_key", "library_id"), ("instance_key", "tile_id")):
        write_texts(uns / name, value, _encoding("string"))
    chunk = (min(slide.tiles, _CHUNK_ROWS), slide.code_dim)
    describe_array(group / "X", (slide.tiles, slide.code_dim), np.float32, chunk, _encoding("array"))
    with pq.ParquetWriter(shapes / "tiles" / "shapes.parquet", _SHAPES, compression="ZSTD") as writer:
        for part, bag in slide.parts():
            features_nd = as_float32(bag.features_nd)
            for start in range(0, len(bag), _CHUNK_ROWS):  # a part begins with a chunk
                rows = features_nd[start : start + _CHUNK_ROWS]
                write_chunk(group / "X", ((part.start + start) // _CHUNK_ROWS, 0), rows, chunk[0] - len(rows))
            writer.write_table(_polygons(bag, part, facts.tile_size_level0_px))


def _tile_spec(facts: Bag, mpp: float) -> dict[str, Any]:
    width = facts.tile_size_px or facts.tile_size_level0_px
    downsample = facts.tile_size_level0_px / width
    if int(width * downsample) < facts.tile_size_level0_px:  # its edge is int(width * base_downsample)
        downsample = float(np.nextafter(downsample, np.inf))
    return {
        **dict.fromkeys(("height", "width", "stride_height", "stride_width"), width),
        "mpp": mpp * downsample,
        "ops_level": 0,
        "ops_downsample": downsample,
        "base_level": 0,
        "base_downsample": downsample,
        "tissue_name": None,
    }


def _polygons(bag: Bag, part: slice, edge: int) -> pa.Table:
    """A GeoParquet row per tile: its number and its outline as WKB (little-endian, one ring of five points)."""
    assert bag.coords_n2 is not None  # noqa: S101  (need_places)
    record = np.zeros(len(bag), _WKB)
    record["order"], record["kind"], record["rings"], record["points"] = 1, 3, 1, 5
    record["xy"] = bag.coords_n2[:, None, :] + np.array(_CORNERS) * edge
    size = record.dtype.itemsize
    offsets = pa.py_buffer(np.arange(0, size * len(bag) + 1, size, dtype=np.int32))
    outline = pa.Array.from_buffers(pa.binary(), len(bag), [None, offsets, pa.py_buffer(record.tobytes())])
    numbers = pa.array(np.arange(part.start, part.stop, dtype=np.int64))
    return pa.table([numbers, outline], schema=_SHAPES)


def _write_codes(out: Outgoing, codes: OutgoingCodes, folder: Path) -> None:
    by_case = codes.by_case()
    group = write_group(folder, _encoding("anndata", "0.1.0"))
    labels = out.labels.columns.get("label", {}) if out.labels and out.labels.classes else {}
    columns = {"label": labels} if labels else {}
    columns |= {f"{out.split}_{fold}": parts for fold, parts in out.folds.items()}
    obs = _frame(group, "obs", list(by_case), list(columns))
    for name, values in columns.items():
        write_texts(obs / name, [str(values.get(case, "")) for case in by_case], _TEXTS)
    _rest(group, codes.key.code_dim)
    write_array(group / "X", np.array(list(by_case.values()), np.float32), _encoding("array"))


def _rest(group: Path, width: int) -> None:
    """What an AnnData has beside X and obs: names of the dimensions, and empty mappings."""
    _frame(group, "var", [str(number) for number in range(width)], [])
    for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
        write_group(group / name, _encoding("dict", "0.1.0"))


def _encoding(kind: str, version: str = "0.2.0") -> dict[str, Any]:
    return {"encoding-type": kind, "encoding-version": version}


_TEXTS = _encoding("string-array")


def _frame(group: Path, name: str, index: list[str], columns: list[str]) -> Path:
    frame = write_group(group / name, {"column-order": columns, "_index": "_index", **_encoding("dataframe")})
    write_texts(frame / "_index", index, _TEXTS)
    return frame
