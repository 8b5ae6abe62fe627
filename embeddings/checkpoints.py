"""The folded log as one Parquet file with its own digest, so that a store opens fast.

The digest stands in the Parquet key-value metadata under ``guidestore.sha256``: 64 hex digits, the sha256 of the whole
file with these 64 bytes replaced by ``0``. So every byte of the file is covered, the footer too.
"""

from __future__ import annotations

import hashlib
import re

import pyarrow as pa
import pyarrow.parquet as pq

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.log_table import LOG_SCHEMA
from guidestore.embeddings.storage import Storage

EVERY_COMMITS = 100
"""Opening then reads at most 99 small JSON files, about 10 ms."""
_KEY = b"guidestore.sha256"
_SEAL = re.compile(re.escape(_KEY) + rb"[^0-9a-f]{1,8}([0-9a-f]{64})", re.DOTALL)
_BLANK = b"0" * 64


def path_of(version: int) -> str:
    return f"checkpoints/{version:012d}.parquet"


def write(storage: Storage, version: int, table: pa.Table) -> None:
    """Writes the checkpoint of `version`; a no-op where another process was first."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, LOG_SCHEMA, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY.decode(): _BLANK.decode()})
    data = sink.getvalue().to_pybytes()
    start, end = _seal_span(data)
    digest = hashlib.sha256(data).hexdigest().encode()
    storage.create(path_of(version), data[:start] + digest + data[end:])


def read(storage: Storage, version: int) -> pa.Table:
    """The table of `version`, verified. Raises CorruptArtifactError."""
    path = path_of(version)
    data = storage.read(path)
    damaged = CorruptArtifactError(
        f"{path} is damaged: its digest does not match; delete it, it is rebuilt from the commits"
    )
    try:
        start, end = _seal_span(data)
    except ValueError as error:
        raise damaged from error
    if hashlib.sha256(data[:start] + _BLANK + data[end:]).hexdigest().encode() != data[start:end]:
        raise damaged
    return pq.read_table(pa.BufferReader(data)).replace_schema_metadata(None).cast(LOG_SCHEMA)


def versions(storage: Storage) -> list[int]:
    """Versions that have a checkpoint, newest first."""
    names = (file.path.removeprefix("checkpoints/") for file in storage.list("checkpoints"))
    return sorted((int(name[:12]) for name in names if re.fullmatch(r"\d{12}\.parquet", name)), reverse=True)


def _seal_span(data: bytes) -> tuple[int, int]:
    found = list(_SEAL.finditer(data))
    if not found:
        raise ValueError("no seal")
    return found[-1].span(1)
