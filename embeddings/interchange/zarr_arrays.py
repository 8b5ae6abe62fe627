"""Arrays of other tools' zarr 3 folders, judged before zarr reads them: numbers, plain codecs, all chunks there."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import check_fits, reason_of

_CODECS = frozenset({"bytes", "zstd", "blosc", "gzip", "crc32c", "transpose", "sharding_indexed", "vlen-utf8"})
"""Others may run code: numcodecs has one that is pickle."""
_METADATA_BYTES = 64 * 2**20
_TYPES = frozenset(
    {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
)


def metadata_of(place: Path) -> dict[str, Any]:
    """``zarr.json`` of a group or array. Raises InvalidInputError where it is none of zarr 3."""
    file = place / "zarr.json"
    if not file.is_file():
        older = " (zarr 2: save it again with a newer spatialdata)" if (place / ".zgroup").is_file() else ""
        raise InvalidInputError(f"{place} has no zarr.json{older}; copy the folder again")
    try:
        if file.stat().st_size > _METADATA_BYTES:
            raise ValueError("it is too large for metadata")
        said = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{file} cannot be read ({reason_of(error)}); copy the folder again") from error
    if not isinstance(said, dict) or said.get("zarr_format") != 3:
        raise InvalidInputError(f"{file} is not of zarr 3; save it again with a newer tool")
    return said


def shape_of(place: Path) -> tuple[tuple[int, ...], str]:
    """Shape and type of an array that can be read. Raises InvalidInputError."""
    said = metadata_of(place)
    try:
        shape = tuple(int(length) for length in said["shape"])
        kind, chunks = said["data_type"], said["chunk_grid"]["configuration"]["chunk_shape"]
        codecs = list(_names(said["codecs"]))
        separator = said["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
        grid = [-(-length // int(chunk)) for length, chunk in zip(shape, chunks, strict=True)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError, RecursionError) as error:
        raise InvalidInputError(f"{place}/zarr.json is no array's; copy the folder again") from error
    if kind not in _TYPES or not set(codecs) <= _CODECS or said["chunk_key_encoding"].get("name") != "default":
        raise InvalidInputError(
            f"{place} is an array of {kind} in {', '.join(codecs)}, which is not read; save plain numbers, zstd or "
            "blosc"
        )
    if min(shape, default=1) < 0 or float(np.prod([float(n) for n in grid])) > 1_000_000:
        raise InvalidInputError(f"{place} says the shape {shape}; that is no array of a slide")
    check_fits(place, int(np.prod([float(length) for length in shape])) * np.dtype(kind).itemsize)
    for index in product(*map(range, grid)):
        if not (place / ("c" + separator + separator.join(map(str, index)) if index else place / "c")).is_file():
            raise InvalidInputError(f"{place} lacks a chunk, which would read as zeros; copy the folder again")
    return shape, str(kind)


def _names(codecs: Any) -> list[str]:
    found = []
    for codec in codecs:
        found.append(str(codec["name"]))
        inner = codec.get("configuration", {})
        found += [name for key in ("codecs", "index_codecs") if key in inner for name in _names(inner[key])]
    return found


def read(place: Path) -> np.ndarray:
    """The values of an array. Raises InvalidInputError."""
    shape, kind = shape_of(place)
    import zarr
    from zarr.storage import LocalStore

    try:
        array = zarr.open_array(LocalStore(place, read_only=True), mode="r")
        return np.asarray(array[...], kind).reshape(shape)
    except Exception as error:  # codecs raise what they like on damaged bytes
        raise InvalidInputError(f"{place} cannot be read ({reason_of(error)}); copy the folder again") from error


def read_text(place: Path) -> str:
    """A single text, '' where there is none."""
    if not (place / "zarr.json").is_file():
        return ""
    said = metadata_of(place)
    if said.get("shape") != [] or not set(_names(said.get("codecs", ()))) <= _CODECS:
        return ""
    import zarr
    from zarr.storage import LocalStore

    try:
        return str(zarr.open_array(LocalStore(place, read_only=True), mode="r")[()])
    except Exception as error:
        raise InvalidInputError(f"{place} cannot be read ({reason_of(error)}); copy the folder again") from error
