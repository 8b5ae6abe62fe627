"""Parquet files of the store: written with page checksums, read only after their sha256 matched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.storage import Storage

_THREADS_FROM_BYTES = 16_000_000
"""Below, starting threads costs more than they save."""


def write_table(file: Path, table: pa.Table, *, uncompressed: Sequence[str] = ()) -> None:
    """Writes `table` to the new `file`."""
    compression = {_leaf(field): "NONE" if field.name in uncompressed else "ZSTD" for field in table.schema}
    pq.write_table(
        table,
        file,
        compression=compression,  # pyright: ignore[reportArgumentType]
        use_dictionary=[name for name in table.schema.names if name not in uncompressed],  # pyright: ignore[reportArgumentType]
        write_page_checksum=True,
        store_schema=True,
    )


def _leaf(field: pa.Field) -> str:
    """The Parquet column of `field`: the values of a list column are NAME.list.element."""
    listed = pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
    return f"{field.name}.list.element" if listed else field.name


def read_verified(storage: Storage, file: FileRef) -> bytes:
    """The bytes of `file`. Raises CorruptArtifactError where they are not those that were committed."""
    data = storage.read(file.path)
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise CorruptArtifactError(
            f"{file.path} is damaged: its bytes are not those that were committed; run `guidestore fsck`, then restore "
            "the file from a copy or write it again"
        )
    return data


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema`: others, which a later guidestore wrote, go; missing ones are null.

    Raises CorruptArtifactError where a column is of another type.
    """
    columns = [
        table[field.name].cast(field.type) if field.name in table.schema.names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def read_table(storage: Storage, file: FileRef) -> pa.Table:
    """The table in `file`, verified. Raises CorruptArtifactError."""
    data = read_verified(storage, file)
    try:
        # ParquetFile: pq.read_table looks for a data set first, which doubles the time of a file of 64 codes.
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            return parquet.read(use_threads=file.size > _THREADS_FROM_BYTES)
    except pa.ArrowException as error:
        raise CorruptArtifactError(
            f"{file.path} is as it was committed, but no table: another program wrote it"
        ) from error
