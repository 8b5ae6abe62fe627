"""Folders of zarr 3, as its specification has them: groups, and arrays of numbers and of text that are not compressed.

A slide of LazySlide is 35 of them. zarr takes 3 ms for each, more than for all of a slide's features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


def write_group(place: Path, attributes: Mapping[str, Any]) -> Path:
    """The new folder of a group; returns it."""
    return _described(place, {"node_type": "group", "attributes": attributes})


def write_array(place: Path, values: np.ndarray, attributes: Mapping[str, Any]) -> None:
    """An array of numbers in one chunk."""
    describe_array(place, values.shape, values.dtype, values.shape, attributes)
    write_chunk(place, (0,) * values.ndim, values)


def describe_array(
    place: Path, shape: Sequence[int], dtype: DTypeLike, chunk: Sequence[int], attributes: Mapping[str, Any]
) -> None:
    """An array of numbers whose chunks `write_chunk` fills."""
    codec = {"name": "bytes", "configuration": {"endian": "little"}}
    _array(place, shape, np.dtype(dtype).name, chunk, 0, codec, attributes)


def write_chunk(place: Path, index: Sequence[int], values: np.ndarray, lacking: int = 0) -> None:
    """A chunk of an array, `lacking` rows at its end zero."""
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    _put(place, index, plain, bytes(lacking * plain[:1].nbytes))


def write_texts(place: Path, values: Sequence[str] | str, attributes: Mapping[str, Any]) -> None:
    """An array of text (n,) in one chunk; of a single text, one without an axis."""
    shape, listed = ((), [values]) if isinstance(values, str) else ((len(values),), values)
    _array(place, shape, "string", shape, "", {"name": "vlen-utf8", "configuration": {}}, attributes)
    encoded = [text.encode() for text in listed]
    sizes = (len(text).to_bytes(4, "little") + text for text in encoded)
    _put(place, (0,) * len(shape), len(encoded).to_bytes(4, "little") + b"".join(sizes))


def _array(
    place: Path,
    shape: Sequence[int],
    kind: str,
    chunk: Sequence[int],
    fill: Any,
    codec: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> None:
    told = {
        "node_type": "array",
        "shape": shape,
        "data_type": kind,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": [codec],
        "attributes": attributes,
    }
    _described(place, told)


def _described(place: Path, told: Mapping[str, Any]) -> Path:
    place.mkdir(parents=True)
    (place / "zarr.json").write_text(json.dumps({"zarr_format": 3, **told}), encoding="utf-8")
    return place


def _put(place: Path, index: Sequence[int], *parts: Any) -> None:
    file = place.joinpath("c", *map(str, index))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as handle:
        for part in parts:
            handle.write(part)
