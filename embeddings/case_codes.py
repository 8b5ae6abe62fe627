"""Case codes as Parquet: case_id, image_id, artifact and code, a FixedSizeList<float32>[d]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from guidestore.embeddings import scratch
from guidestore.embeddings.tables import write_pieces
from guidestore.embeddings.types import CaseCodes

_GROUP_VALUES = 1 << 24
"""A row group of 64 MB: a million codes are read a group at a time."""


COLUMNS = ("case_id", "image_id", "artifact", "code")


def write_codes(file: Path, codes: CaseCodes, artifacts: Sequence[str], others: pa.Table | None = None) -> None:
    """Writes codes with the artifact id of each row. The code column stays uncompressed: it is read hot.

    others: further columns, which a later guidestore knows.
    """
    width = codes.codes_nd.shape[1]
    pieces = (
        _piece(codes, artifacts, others, *block)
        for block in scratch.blocks(codes.codes_nd, _GROUP_VALUES // width or 1)
    )
    write_pieces(file, pieces, uncompressed=("code",))


def _piece(
    codes: CaseCodes, artifacts: Sequence[str], others: pa.Table | None, rows: slice, block_nd: np.ndarray
) -> pa.Table:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(block_nd).reshape(-1)), block_nd.shape[1])
    ours = [pa.array(values[rows], pa.string()) for values in (codes.case_ids, codes.image_ids, artifacts)]
    table = pa.table([*ours, column], names=list(COLUMNS))
    if others is not None:
        for name in others.schema.names:
            table = table.append_column(name, others[name].slice(rows.start, table.num_rows))
    return table


def code_matrix(table: pa.Table) -> np.ndarray:
    """The code column as (n, d) float32, without a copy where it lies in one chunk."""
    column = table["code"]
    chunk = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    width = chunk.type.list_size
    return np.asarray(chunk.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)
