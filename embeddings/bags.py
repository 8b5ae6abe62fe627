"""Bags as zarr v3 groups: ``features`` (n, d) and, where there are any, ``coords`` (n, 2), every chunk checksummed.

Layout and codecs are in docs/store-format.md. zarr writes; reading is done here, straight from the shards, because it
takes a third of the time, needs no event loop (so it works in forked workers) and knows no fill value: a chunk that is
not there raises. A read checks the listed files (name and size, and the sha256 of the metadata), the crc32c of each
shard's index and the checksum of each chunk: of its zstd frame, or the crc32c after values that are stored as they are.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import zstd  # pyright: ignore[reportAttributeAccessIssue]

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import Entry, FileRef
from guidestore.embeddings.storage import Storage, each, fill
from guidestore.embeddings.types import Bag, BagStream

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


def write_bag(folder: Path, bag: Bag | BagStream) -> None:
    """Writes `bag` as a zarr group into the new `folder`; of a stream memory holds one block and one chunk.

    Raises InvalidInputError where a stream is not what it says, see `BagStream.checked`.
    """
    import zarr
    from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
    from zarr.storage import LocalStore

    stream = BagStream.of(bag) if isinstance(bag, Bag) else bag
    blocks = iter(stream.blocks) if isinstance(bag, Bag) else stream.checked()
    first = next(blocks, np.empty((0, stream.shape[1]), stream.dtype))
    arrays: list[tuple[str, Sequence[int], np.ndarray, Iterator[np.ndarray]]]
    arrays = [("features", stream.shape, first, itertools.chain([first], blocks))]
    if stream.coords_n2 is not None:
        arrays.append(("coords", stream.coords_n2.shape, stream.coords_n2, iter([stream.coords_n2])))
    group = zarr.create_group(
        LocalStore(folder), zarr_format=3, attributes={name: getattr(stream, name) for name in _ATTRIBUTES}
    )
    for name, shape, sample, values in arrays:
        chunk_rows = min(CHUNK_ROWS, max(shape[0], 1))
        shard_rows = min(SHARD_ROWS, -(-max(shape[0], 1) // chunk_rows) * chunk_rows)
        compress = _shrinks(sample)
        group.create_array(
            name,
            shape=shape,
            dtype=sample.dtype,
            chunks=(chunk_rows, shape[1]),
            shards=(shard_rows, shape[1]),
            serializer=BytesCodec(),
            compressors=[ZstdCodec(level=1, checksum=True) if compress else Crc32cCodec()],
            fill_value=0,
        )
        _write_shards(folder / name, _chunks(values, chunk_rows), shard_rows // chunk_rows, compress=compress)


def _chunks(blocks: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """The rows of the blocks as chunks of `rows` each, little-endian, the last one padded with zeros."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        start = 0
        while start < len(block):
            part = block[start : start + rows - count]
            held.append(part)
            start, count = start + len(part), count + len(part)
            if count == rows:
                yield _joined(held)
                held, count = [], 0
        held = [part.copy() if part.base is not None else part for part in held]  # a reader may use its block again
    if count:
        yield _joined([*held, np.zeros((rows - count, held[0].shape[1]), held[0].dtype)])


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    chunk = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<"))


def _write_shards(folder: Path, chunks: Iterator[np.ndarray], chunks_per_shard: int, *, compress: bool) -> None:
    """Each chunk as it comes, and after the last of a shard the index of them; see docs/store-format.md.

    zarr would join a whole shard in memory, and take twice the time.
    """
    for number in itertools.count():
        first = next(chunks, None)
        if first is None:
            return
        file = folder / "c" / str(number) / "0"
        file.parent.mkdir(parents=True)
        spans = np.full((chunks_per_shard, 2), _NO_CHUNK, "<u8")
        offset = 0
        with file.open("wb") as handle:
            for place, chunk in enumerate(itertools.chain([first], itertools.islice(chunks, chunks_per_shard - 1))):
                raw = chunk.reshape(-1).view(np.uint8)
                if compress:
                    handle.write(zstd.compress(raw, 1, checksum=True))
                else:
                    handle.write(raw)
                    handle.write(google_crc32c.extend(0, raw).to_bytes(4, "little"))
                spans[place] = offset, handle.tell() - offset
                offset = handle.tell()
            index = spans.tobytes()
            handle.write(index + google_crc32c.value(index).to_bytes(4, "little"))


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
        return Bag(features_nd, coords[0] if coords else None, **layout, checked=True)
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
    wanted = range(n)[rows]
    first, last = (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])) if wanted else (0, -1)
    values_nd = np.empty((last + 1 - first, d), np.dtype(metadata["data_type"]).newbyteorder("<"))

    def read_shard(number: int) -> None:
        path = f"{folder}/c/{number}/0"
        if path not in files:
            raise _DamageError(f"{path} is named by no commit")
        top = number * shard_rows
        chunks = range(max(first - top, 0) // chunk_rows, (min(last - top, shard_rows - 1)) // chunk_rows + 1)
        pieces = [_piece(values_nd, top + chunk * chunk_rows - first, chunk_rows) for chunk in chunks]
        shard = _Shard(storage, files[path], whole=len(chunks) == shard_rows // chunk_rows)
        spans = _spans(shard, chunks, shard_rows // chunk_rows)
        (_decompress_all if codecs[0] == _ZSTD else _copy_all)(shard, spans, pieces)

    for _ in each(storage, read_shard, range(first // shard_rows, last // shard_rows + 1), lanes=_SHARDS_AT_ONCE):
        pass
    return values_nd if wanted.step == 1 else values_nd[np.array(wanted, dtype=np.int64) - first]


class _Shard:
    """The file of a shard. A bucket is asked once for one that is wanted whole, a disk for each part of it."""

    def __init__(self, storage: Storage, file: FileRef, *, whole: bool) -> None:
        self._storage, self.path, self.size = storage, file.path, file.size
        self._data = storage.read(file.path) if whole and storage.lanes > 1 else None

    def read(self, start: int, stop: int) -> bytes:
        return self._storage.read(self.path, start, stop) if self._data is None else self._data[start:stop]

    def read_into(self, start: int, arrays: Sequence[np.ndarray]) -> None:
        """Fills arrays of bytes, one after the other."""
        buffers = [memoryview(array) for array in arrays]
        if self._data is None:
            self._storage.read_into(self.path, start, buffers)
        else:
            fill(buffers, self._data[start : start + sum(map(len, buffers))], self.path)


def _spans(shard: _Shard, chunks: range, chunks_per_shard: int) -> list[tuple[int, int]]:
    """Offset and size of some chunks of a shard, which ends with its index of them."""
    index_start = shard.size - chunks_per_shard * 16 - 4
    if index_start < 0:
        raise _DamageError(f"{shard.path} is shorter than its index")
    index = shard.read(index_start, shard.size)
    if google_crc32c.value(index[:-4]) != int.from_bytes(index[-4:], "little"):
        raise _DamageError(f"the index of {shard.path} does not match its checksum")
    spans = np.frombuffer(index[:-4], "<u8").reshape(-1, 2).tolist()
    for number in chunks:
        offset, size = spans[number]
        if offset == _NO_CHUNK or offset + size > index_start:
            raise _DamageError(f"chunk {number} is missing from {shard.path}")
    return [(spans[number][0], spans[number][1]) for number in chunks]


def _piece(values_nd: np.ndarray, start: int, chunk_rows: int) -> list[np.ndarray]:
    """Where the rows of a chunk go that begins at row `start` of `values_nd`: rows before it, of it and after it.

    What lies outside goes into arrays that nobody looks at, but the checksum.
    """
    before = np.empty((max(-start, 0), values_nd.shape[1]), values_nd.dtype)
    inside = values_nd[max(start, 0) : start + chunk_rows]
    after = np.empty((chunk_rows - len(before) - len(inside), values_nd.shape[1]), values_nd.dtype)
    return [part.reshape(-1).view(np.uint8) for part in (before, inside, after) if len(part)]


def _copy_all(shard: _Shard, spans: Sequence[tuple[int, int]], pieces: Sequence[Sequence[np.ndarray]]) -> None:
    """Reads plain chunks straight to where they go; the checksum after each is verified."""
    sums = np.empty((len(spans), 4), np.uint8)
    runs: list[tuple[int, list[np.ndarray]]] = []
    stop = -1
    for (offset, size), parts, checksum in zip(spans, pieces, sums, strict=True):
        if size != sum(map(len, parts)) + len(checksum):
            raise _DamageError(f"a chunk of {shard.path} does not hold {sum(map(len, parts))} bytes")
        if offset != stop:  # they lie one behind the other, but need not
            runs.append((offset, []))
        runs[-1][1].extend([*parts, checksum])
        stop = offset + size
    for start, arrays in runs:
        shard.read_into(start, arrays)
    for parts, checksum in zip(pieces, sums, strict=True):
        value = 0
        for part in parts:
            value = google_crc32c.extend(value, part)
        if value != int.from_bytes(checksum.tobytes(), "little"):
            raise _DamageError(f"a chunk of {shard.path} does not match its checksum")


def _decompress_all(shard: _Shard, spans: Sequence[tuple[int, int]], pieces: Sequence[Sequence[np.ndarray]]) -> None:
    start, stop = min(offset for offset, _ in spans), max(offset + size for offset, size in spans)
    data = memoryview(shard.read(start, stop))
    for (offset, size), parts in zip(spans, pieces, strict=True):
        raw = data[offset - start : offset - start + size]
        if len(parts) == 1:
            _decompress(raw, parts[0], shard.path)
        else:
            chunk = np.empty(sum(map(len, parts)), np.uint8)
            _decompress(raw, chunk, shard.path)
            for part, values in zip(parts, np.split(chunk, np.cumsum([len(part) for part in parts])[:-1]), strict=True):
                part[:] = values


def _decompress(raw: memoryview, into: np.ndarray, path: str) -> None:
    """Decompresses one frame into `into`; its checksum is verified."""
    if _content_bytes(raw) != into.nbytes:  # a shorter one would leave the rest as it was
        raise _DamageError(f"a chunk of {path} does not hold {into.nbytes} bytes")
    try:
        zstd.decompress(raw, into)
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
