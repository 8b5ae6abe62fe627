"""Parquet: a file per slide with a row per tile, and one per set of case codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from guidestore.embeddings.interchange.outgoing import Outgoing, OutgoingCodes, OutgoingSlide, Writer
from guidestore.embeddings.interchange.writers._plain import FACTS, name_of, write_tables
from guidestore.embeddings.scratch import blocks
from guidestore.embeddings.tables import write_pieces, write_table
from guidestore.embeddings.vectors import vector_field, vectors

_AT_ONCE = 1024
"""Rows of which Arrow makes levels at once: 18 bytes for each number."""


class Parquet(Writer):
    """Vectors as fixed-size lists, which `embedding-atlas --vector`, pandas and DuckDB read."""

    tool = "Parquet"
    keeps_nan = True

    def write(self, out: Outgoing, folder: Path) -> None:
        """``bags/<slide>.parquet`` with x, y (level-0 pixels) and ``features``; ``<modality>_<encoder>.parquet``."""
        if out.bags is not None:
            (folder / "bags").mkdir()
            for slide in out.bags.slides:
                file = folder / "bags" / f"{slide.name}.parquet"
                write_pieces(file, _tiles(slide), uncompressed=("features",))
        for codes in out.codes:
            write_table(folder / f"{name_of(codes)}.parquet", _codes(codes), uncompressed=("code",))
        write_tables(out, folder, "parquet")


def _tiles(slide: OutgoingSlide) -> Iterator[pa.Table]:
    for _, bag in slide.parts():
        places = [] if bag.coords_n2 is None else [pa.array(values) for values in bag.coords_n2.T]
        named = [(name, pa.int32()) for name in ("x", "y")[: len(places)]]
        features = vector_field("features", bag.features_nd.dtype, bag.features_nd.shape[1])
        facts = {name: str(value) for name in FACTS if (value := getattr(bag, name))}
        facts |= {"case_id": slide.case_id, "image_id": slide.image_id}
        schema = pa.schema([*named, features], facts)
        column = [vectors(block_nd) for _, block_nd in blocks(bag.features_nd, _AT_ONCE)]
        yield pa.table([*places, pa.chunked_array(column, features.type)], schema=schema)


def _codes(codes: OutgoingCodes) -> pa.Table:
    columns = {"case_id": pa.array(codes.codes.case_ids, pa.string())}
    if codes.codes.image_ids != codes.codes.case_ids:
        columns["image_id"] = pa.array(codes.codes.image_ids, pa.string())
    return pa.table({**columns, "code": vectors(codes.codes.codes_nd)})
