"""Archives of arrays, read with torch and numpy."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from guidestore.embeddings.interchange.writers._zip import NpzArray, write_npz, write_tensor


@pytest.mark.parametrize("limit", [2**31, 100], ids=["small", "as of more than 2 GB"])
@pytest.mark.parametrize("shape", [(7,), (1, 5), (33, 6)])
def test_torch_reads_the_tensor_mapped_and_not(
    tmp_path: Path, shape: tuple[int, ...], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float16)
    write_tensor(tmp_path / "t.pt", shape, [values[:3], values[3:]])
    for mapped in (True, False):
        tensor = torch.load(tmp_path / "t.pt", weights_only=True, mmap=mapped)
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert tensor.data_ptr() % 64 == 0 or not mapped
        np.testing.assert_array_equal(tensor.numpy(), values.astype(np.float32))
    with zipfile.ZipFile(tmp_path / "t.pt") as archive:
        assert archive.testzip() is None


def test_numpy_reads_arrays_that_were_written_in_parts(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float16).reshape(8, 3)
    arrays = [
        NpzArray("features", (8, 3), values.dtype, [values[:5], values[5:][:, ::1]]),
        NpzArray("turned", (3, 8), values.dtype, [values.T]),
        NpzArray("none", (0, 3), values.dtype, []),
        NpzArray("mpp", (), np.dtype(float), [np.asarray(0.25)]),
    ]
    write_npz(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        np.testing.assert_array_equal(read["features"], values)
        np.testing.assert_array_equal(read["turned"], values.T)
        assert read["none"].shape == (0, 3)
        assert float(read["mpp"]) == 0.25
