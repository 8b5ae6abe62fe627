"""Bags as zarr v3 groups: ``features`` (n, d) and, where there are any, ``coords`` (n, 2), every chunk checksummed.

Layout and codecs are in docs/store-format.md. zarr writes; reading is done here, straight from the shards, because it
takes a third of the time, needs no event loop (so it works in forked workers) and knows no fill value: a chunk that is
not there raises. A read checks the listed files (name and size, and the sha256 of the metadata), the crc32c of each
shard's index and the checksum of each chunk: of its zstd frame, or the crc32c after values that are stored as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import zstd  # pyright: ignore[reportAttributeAccessIssue]

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import Entry, FileRef
from guidestore.embeddings.storage import Storage, each
from guidestore.embeddings.types import Bag

CHUNK_ROWS = 1024
"""One read of a chunk gives 1024 tiles: 2 MB at d = 1024 float16."""
SHARD_ROWS = 16_384
"""Few files per slide, and a shard of 32 MB at d = 1024 float16 still fits any memory."""
_SHARDS_AT_ONCE = 4
"""From a bucket: 128 MB of compressed bytes at d = 1024 float16."""
_ZSTD, _PLAIN = ["bytes", "zstd"], ["bytes", "crc32c"]
"""Codecs of a chunk: compressed, or as it is."""
_INDEX_CODECS = ["bytes", "crc32c"]
_SAMPLE_ROWS = 256
_WORTH_COMPRESSING = 0.8
"""Dense float16 shrinks by 8 % and takes two thirds of a read to decompress; codes after a ReLU shrink by 60 %."""
_ATTRIBUTES = ("mpp", "tile_size_px", "tile_size_level0_px", "magnification")
_NO_CHUNK = 2**64 - 1


def write_bag(folder: Path, bag: Bag) -> None:
    """Writes `bag` as a zarr group into the new `folder`."""
    import zarr
    from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
    from zarr.storage import LocalStore

    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.create_group(
            LocalStore(folder),
            zarr_format=3,
            attributes={name: getattr(bag, name) for name in _ATTRIBUTES},
        )
        for name, values in (("features", bag.features_nd), ("coords", bag.coords_n2)):
            if values is None:
                continue
            chunk_rows = min(CHUNK_ROWS, max(len(values), 1))
            shard_rows = min(SHARD_ROWS, -(-max(len(values), 1) // chunk_rows) * chunk_rows)
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=(chunk_rows, values.shape[1]),
                shards=(shard_rows, values.shape[1]),
                serializer=BytesCodec(),
                compressors=[ZstdCodec(level=1, checksum=True) if _shrinks(values) else Crc32cCodec()],
                fill_value=0,
            )
            if len(values):
                array[:] = values


def _shrinks(values: np.ndarray) -> bool:
    """Whether a sample of the rows shrinks by a fifth."""
    sample = values[:: max(len(values) // _SAMPLE_ROWS, 1)][:_SAMPLE_ROWS]
    return len(zstd.compress(sample.tobytes(), 1)) <= _WORTH_COMPRESSING * sample.nbytes


def read_bag(storage: Storage, entry: Entry, rows: slice | None = None) -> Bag:
    """The bag of `entry`, verified; `rows` reads only that part of it. Raises CorruptArtifactError with the path."""
    files = {file.path: file for file in entry.files}
    for file, size in zip(entry.files, storage.sizes(list(files)), strict=True):
        if size != file.size:
            state = "missing" if size is None else f"{size} bytes long instead of {file.size}"
            raise _corrupt(entry, f"{file.path} is {state}")
    try:
        attributes = _metadata(storage, files, entry.path)["attributes"]
        folders = [f"{entry.path}/{name}" for name in ("features", "coords")]
        if f"{folders[1]}/zarr.json" not in files:
            del folders[1]
        features_nd, *coords = each(
            storage, lambda folder: _read_array(storage, files, folder, rows or slice(None)), folders
        )
        layout = {name: attributes[name] for name in _ATTRIBUTES}
        return Bag(features_nd, coords[0] if coords else None, **layout)
    except _DamageError as error:
        raise _corrupt(entry, str(error)) from error


class _DamageError(Exception):
    """What is wrong, and in which file."""


def _metadata(storage: Storage, files: Mapping[str, FileRef], folder: str) -> dict[str, Any]:
    path = f"{folder}/zarr.json"
    data = storage.read(path)
    if path not in files or hashlib.sha256(data).hexdigest() != files[path].sha256:
        raise _DamageError(f"{path} does not match its digest")
    return json.loads(data)


def _read_array(storage: Storage, files: Mapping[str, FileRef], folder: str, rows: slice) -> np.ndarray:
    """Rows of one (n, d) array, from those chunks alone that hold them."""
    metadata = _metadata(storage, files, folder)
    n, d = metadata["shape"]
    shard_rows = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
    sharding = metadata["codecs"][0]["configuration"]
    chunk_rows = sharding["chunk_shape"][0]
    codecs = [[codec["name"] for codec in sharding[key]] for key in ("codecs", "index_codecs")]
    if codecs[0] not in (_ZSTD, _PLAIN) or codecs[1] != _INDEX_CODECS:
        raise _DamageError(f"{folder}/zarr.json names other codecs than format 1 has")
    decode = _decompress if codecs[0] == _ZSTD else _copy

    wanted = range(n)[rows]
    first, last = (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])) if wanted else (0, -1)
    values_nd = np.empty((last + 1 - first, d), np.dtype(metadata["data_type"]).newbyteorder("<"))

    def read_shard(shard: int) -> None:
        path = f"{folder}/c/{shard}/0"
        if path not in files:
            raise _DamageError(f"{path} is named by no commit")
        top = shard * shard_rows
        chunks = range(max(first - top, 0) // chunk_rows, (min(last - top, shard_rows - 1)) // chunk_rows + 1)
        for number, raw in _chunks(storage, files[path], chunks, shard_rows // chunk_rows):
            start = top + number * chunk_rows
            if first <= start and start + chunk_rows <= last + 1:
                decode(raw, values_nd[start - first : start - first + chunk_rows], path)
            else:
                chunk_nd = np.empty((chunk_rows, d), values_nd.dtype)
                decode(raw, chunk_nd, path)
                into = slice(max(start, first) - first, min(start + chunk_rows, last + 1) - first)
                values_nd[into] = chunk_nd[max(first - start, 0) :][: into.stop - into.start]

    for _ in each(storage, read_shard, range(first // shard_rows, last // shard_rows + 1), lanes=_SHARDS_AT_ONCE):
        pass
    return values_nd if wanted.step == 1 else values_nd[np.array(wanted, dtype=np.int64) - first]


def _chunks(storage: Storage, file: FileRef, chunks: range, chunks_per_shard: int) -> list[tuple[int, memoryview]]:
    """The encoded bytes of some chunks of a shard. The shard ends with its index: offset and size of each chunk."""
    index_start = file.size - chunks_per_shard * 16 - 4
    if index_start < 0:
        raise _DamageError(f"{file.path} is shorter than its index")
    whole = len(chunks) == chunks_per_shard or index_start < CHUNK_ROWS * 64  # small: one read is quicker than two
    data = memoryview(storage.read(file.path) if whole else storage.read(file.path, index_start))
    index = data[index_start:] if whole else data
    if google_crc32c.value(bytes(index[:-4])) != int.from_bytes(index[-4:], "little"):
        raise _DamageError(f"the index of {file.path} does not match its checksum")
    spans = np.frombuffer(index[:-4], "<u8").reshape(-1, 2).tolist()
    encoded = []
    for number in chunks:
        offset, size = spans[number]
        if offset == _NO_CHUNK or offset + size > index_start:
            raise _DamageError(f"chunk {number} is missing from {file.path}")
        raw = data[offset : offset + size] if whole else memoryview(storage.read(file.path, offset, offset + size))
        encoded.append((number, raw))
    return encoded


def _copy(raw: memoryview, into_nd: np.ndarray, path: str) -> None:
    """Copies plain values into `into_nd`; their checksum is verified."""
    values, checksum = raw[:-4], raw[-4:]
    if len(values) != into_nd.nbytes:
        raise _DamageError(f"a chunk of {path} does not hold {into_nd.nbytes} bytes")
    if google_crc32c.value(np.frombuffer(values, np.uint8)) != int.from_bytes(checksum, "little"):
        raise _DamageError(f"a chunk of {path} does not match its checksum")
    into_nd.reshape(-1).view(np.uint8)[:] = values


def _decompress(raw: memoryview, into_nd: np.ndarray, path: str) -> None:
    """Decompresses one frame into `into_nd`; its checksum is verified."""
    if _content_bytes(raw) != into_nd.nbytes:  # a shorter one would leave the rest as it was
        raise _DamageError(f"a chunk of {path} does not hold {into_nd.nbytes} bytes")
    try:
        zstd.decompress(raw, into_nd)
    except (RuntimeError, ValueError) as error:
        raise _DamageError(f"a chunk of {path} cannot be decompressed ({error})") from error


def _content_bytes(raw: memoryview) -> int | None:
    """The size that the header of a zstd frame states (RFC 8878, 3.1.1.1), None where it states none."""
    if len(raw) < 6:
        return None
    descriptor = raw[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(raw[start : start + width], "little") + (256 if width == 2 else 0)
    return size if width else None


def _corrupt(entry: Entry, what: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"the bag of case {entry.case_id} ({entry.modality}, {entry.encoder}) is damaged: {what}; run `guidestore fsck`"
    )
