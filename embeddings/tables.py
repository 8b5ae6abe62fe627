"""Parquet files of the store: written with page checksums, read only after their sha256 matched."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.storage import Storage

_PIECE_BYTES = 1 << 23
_BUFFER_BYTES = 1 << 20
"""What is read ahead of each column of a large file."""
_THREADS_FROM_BYTES = 16_000_000
"""Below, starting threads costs more than they save."""


def write_table(file: Path, table: pa.Table, *, uncompressed: Sequence[str] = ()) -> None:
    """Writes `table` to the new `file`."""
    write_pieces(file, [table], uncompressed=uncompressed)


def write_pieces(file: Path, pieces: Iterable[pa.Table], *, uncompressed: Sequence[str] = ()) -> None:
    """Writes tables of one schema, one at least, to the new `file`; each begins a row group."""
    rest = iter(pieces)
    first = next(rest)
    compression = {_leaf(field): "NONE" if field.name in uncompressed else "ZSTD" for field in first.schema}
    with pq.ParquetWriter(
        file,
        first.schema,
        compression=compression,  # pyright: ignore[reportArgumentType]
        use_dictionary=[name for name in first.schema.names if name not in uncompressed],  # pyright: ignore[reportArgumentType]
        write_statistics=[_leaf(field) for field in first.schema if field.name not in uncompressed],  # pyright: ignore[reportArgumentType]
        write_page_checksum=True,
        store_schema=True,
    ) as writer:
        for piece in itertools.chain([first], rest):
            writer.write_table(piece)


def _leaf(field: pa.Field) -> str:
    """The Parquet column of `field`: the values of a list column are NAME.list.element."""
    listed = pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
    return f"{field.name}.list.element" if listed else field.name


def read_verified(storage: Storage, file: FileRef) -> bytes:
    """The bytes of `file`. Raises CorruptArtifactError where they are not those that were committed."""
    data = storage.read(file.path)
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise _damaged(file)
    return data


def _damaged(file: FileRef) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"{file.path} is damaged: its bytes are not those that were committed; run `guidestore fsck`, then restore "
        "the file from a copy or write it again"
    )


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema`: others, which a later guidestore wrote, go; missing ones are null.

    Raises CorruptArtifactError where a column is of another type.
    """
    columns = [
        table[field.name].cast(field.type) if field.name in table.schema.names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def read_table(storage: Storage, file: FileRef, columns: Sequence[str] = ()) -> pa.Table:
    """The table in `file`, verified; only those of the `columns` that it has, if any are said.

    Raises CorruptArtifactError.
    """
    data = read_verified(storage, file)
    try:
        # ParquetFile: pq.read_table looks for a data set first, which doubles the time of a file of 64 codes.
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            known = [name for name in columns if name in parquet.schema_arrow.names]
            return parquet.read(known or None, use_threads=file.size > _THREADS_FROM_BYTES)
    except pa.ArrowException as error:
        raise CorruptArtifactError(
            f"{file.path} is as it was committed, but no table: another program wrote it"
        ) from error


def read_batches(storage: Storage, file: FileRef, rows: int) -> Iterator[pa.Table]:
    """The table in `file`, verified, some rows at a time: a large one need not fit into memory.

    Raises CorruptArtifactError.
    """
    digest = hashlib.sha256()
    for start in range(0, file.size, _PIECE_BYTES):
        digest.update(storage.read(file.path, start, min(start + _PIECE_BYTES, file.size)))
    if storage.size(file.path) != file.size or digest.hexdigest() != file.sha256:
        raise _damaged(file)
    try:
        with (
            pa.PythonFile(_Ranges(storage, file), "r") as source,
            pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, page_checksum_verification=True) as parquet,
        ):
            for group in range(parquet.num_row_groups):  # of all at once, what was read would stay in memory
                for batch in parquet.iter_batches(rows, row_groups=[group], use_threads=False):
                    yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:  # it changed after it was read
        raise _damaged(file) from error


class _Ranges(io.RawIOBase):
    """A file of the store as Parquet wants it: read where it is asked."""

    def __init__(self, storage: Storage, file: FileRef) -> None:
        self._storage, self._file, self._at = storage, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._file.size if size < 0 else min(self._at + size, self._file.size)
        data = self._storage.read(self._file.path, self._at, stop) if stop > self._at else b""
        self._at += len(data)
        return data
