"""Bags as zarr v3 groups: ``features`` (n, d) and ``coords`` (n, 2), every chunk checksummed.

Layout and codecs are in docs/store-format.md. A read checks the listed files (name and size, and the sha256 of the
metadata), lets the zstd checksums verify the data, and refuses missing chunks, so a damaged bag never reads as zeros.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.storage import LocalStore

from embeddings.errors import CorruptArtifactError
from embeddings.records import Entry
from embeddings.storage import Storage
from embeddings.types import Bag

CHUNK_ROWS = 1024
"""One read of a chunk gives 1024 tiles: 2 MB at d = 1024 float16."""
SHARD_ROWS = 16_384
"""Few files per slide, and a shard of 32 MB at d = 1024 float16 still fits any memory."""
_READING = {"array.read_missing_chunks": False}


def write_bag(folder: Path, bag: Bag) -> None:
    """Writes `bag` as a zarr group into the new `folder`."""
    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.create_group(
            LocalStore(folder),
            zarr_format=3,
            attributes={
                "mpp": bag.mpp,
                "tile_size_px": bag.tile_size_px,
                "tile_size_level0_px": bag.tile_size_level0_px,
                "magnification": bag.magnification,
            },
        )
        for name, values in (("features", bag.features_nd), ("coords", bag.coords_n2)):
            chunk_rows = min(CHUNK_ROWS, max(len(values), 1))
            shard_rows = min(SHARD_ROWS, -(-max(len(values), 1) // chunk_rows) * chunk_rows)
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=(chunk_rows, values.shape[1]),
                shards=(shard_rows, values.shape[1]),
                serializer=BytesCodec(),
                compressors=[ZstdCodec(level=1, checksum=True)],
                fill_value=0,
            )
            if len(values):
                array[:] = values


def read_bag(storage: Storage, entry: Entry, rows: slice | None = None) -> Bag:
    """The bag of `entry`, verified; `rows` reads only that part of it. Raises CorruptArtifactError with the path."""
    for file in entry.files:
        size = storage.size(file.path)
        if size != file.size:
            state = "missing" if size is None else f"{size} bytes long instead of {file.size}"
            raise _corrupt(entry, f"{file.path} is {state}")
        if file.path.endswith("zarr.json") and hashlib.sha256(storage.read(file.path)).hexdigest() != file.sha256:
            raise _corrupt(entry, f"{file.path} does not match its digest")
    try:
        with zarr.config.set(_READING):
            group = zarr.open_group(storage.zarr_store(entry.path), mode="r", zarr_format=3)
            selection = rows or slice(None)
            arrays = {name: np.asarray(group[name][selection]) for name in ("features", "coords")}  # pyright: ignore
            attributes = dict(group.attrs)
        return Bag(arrays["features"], arrays["coords"], **attributes)  # pyright: ignore[reportArgumentType]
    except CorruptArtifactError:
        raise
    except Exception as error:  # codecs of foreign libraries raise what they like on damaged bytes
        raise _corrupt(entry, f"{entry.path} cannot be read ({type(error).__name__}: {error})") from error


def _corrupt(entry: Entry, what: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"the bag of case {entry.case_id} ({entry.modality}, {entry.encoder}) is damaged: {what}; run `guidestore fsck`"
    )
