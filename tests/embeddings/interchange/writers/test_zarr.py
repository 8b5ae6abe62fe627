"""Folders of zarr 3, read with zarr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from guidestore.embeddings.interchange.writers._zarr import (
    describe_array,
    write_array,
    write_chunk,
    write_group,
    write_texts,
)


def test_zarr_reads_groups_numbers_and_text(tmp_path: Path) -> None:
    root = write_group(tmp_path / "a.zarr", {"mpp": 0.25, "ü": [1, None]})
    inner = write_group(root / "inner", {})
    numbers = np.arange(6).reshape(2, 3)
    for dtype in ("i1", "<i8", "<f4", ">f4"):
        write_array(inner / f"of {dtype[-2:]}{dtype[0] == '>'}", numbers.astype(dtype), {"k": 1})
    texts = ["a", "", "bü 肺"]
    write_texts(root / "texts", texts, {"encoding-type": "string-array"})
    write_texts(root / "text", "ü", {})
    features = np.random.default_rng(0).standard_normal((7, 2)).astype(np.float32)
    describe_array(root / "X", (7, 2), np.float32, (3, 2), {})
    for number in range(3):
        rows = features[number * 3 :][:3]
        write_chunk(root / "X", (number, 0), rows, 3 - len(rows))
    read = zarr.open_group(root, mode="r")
    assert dict(read.attrs) == {"mpp": 0.25, "ü": [1, None]}
    arrays = [array for _, array in read["inner"].arrays()]
    assert {str(array.dtype) for array in arrays} == {"int8", "int64", "float32"}
    assert len(arrays) == 4
    for array in arrays:
        np.testing.assert_array_equal(array[:], numbers)
        assert dict(array.attrs) == {"k": 1}
    assert read["texts"][:].tolist() == texts
    assert str(read["text"][()]) == "ü"
    np.testing.assert_array_equal(read["X"][:], features)
