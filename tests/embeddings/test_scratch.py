"""Arrays in a file without a name hold what arrays in memory do, and imports that are streamed give the same store."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings import case_codes, scratch
from guidestore.embeddings.errors import InvalidInputError, StorageError
from guidestore.embeddings.interchange import codes as interchange
from guidestore.embeddings.interchange import table
from guidestore.embeddings.interchange.codes import read_codes
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes

IDS = [f"c{i:03}" for i in range(100)]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and a block is a few rows."""
    monkeypatch.setattr(scratch, "LARGE_BYTES", 1)
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 200)
    monkeypatch.setattr(interchange, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(table, "_LIST_ROWS", 7)
    monkeypatch.setattr(case_codes, "_GROUP_VALUES", 50)


def test_what_was_written_is_read_after_it_left_memory(small_blocks: None) -> None:
    array = scratch.empty((100, 3), np.int32)
    assert isinstance(array, np.memmap)
    for place, block in scratch.blocks(array):
        block[:] = np.arange(place.start, place.start + len(block))[:, None]
    assert [block.shape for _, block in scratch.blocks(array, 60)] == [(60, 3), (40, 3)]
    np.testing.assert_array_equal(array, np.arange(100)[:, None].repeat(3, axis=1))


def test_a_full_disk_is_a_sentence(small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"has no room for 0.0 GiB .*TMPDIR"):
        scratch.empty((10,), np.float32)


def written(folder: Path, kind: str, codes_nd: np.ndarray) -> dict[str, Path]:
    """The arguments of `read_codes`."""
    file = folder / f"codes.{kind}"
    (folder / "ids.txt").write_text("\n".join(IDS))
    if kind == "npz":
        np.savez(file, case_id=np.array(IDS), codes=codes_nd)
    elif kind == "npy":
        np.save(file, codes_nd)
        return {"file": file, "ids": folder / "ids.txt"}
    else:
        lists = {"list": pa.array(list(codes_nd)), "fixed": pa.FixedSizeListArray.from_arrays(codes_nd.ravel(), 5)}
        data = pa.table({"case_id": IDS, "code": lists[kind]})
        pq.write_table(data, file, row_group_size=33)
    return {"file": file}


@pytest.mark.parametrize("kind", ["npy", "npz", "list", "fixed"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_a_streamed_import_is_the_same(small_blocks: None, tmp_path: Path, kind: str, dtype: type) -> None:
    codes_nd = (np.random.default_rng(0).normal(size=(100, 5)) * 10).astype(dtype)
    given = written(tmp_path, kind, codes_nd)
    read = read_codes(**given)
    np.testing.assert_array_equal(read.codes.codes_nd, codes_nd.astype(np.float32))
    assert read.codes.case_ids == tuple(IDS)
    store = EmbeddingStore.create(tmp_path / "store")
    import_codes(store, **given, cohort="c", modality="m", encoder="e")
    snapshot = store.snapshot()
    codes = snapshot.codes(snapshot.code_set("c/m/e"))
    np.testing.assert_array_equal(codes.codes_nd, codes_nd.astype(np.float32))
    assert codes.case_ids == tuple(IDS)
    (entry, *_) = store.snapshot().entries(kind="codes")
    file = pq.ParquetFile(tmp_path / "store" / entry.path)
    assert file.num_row_groups == 10
    np.testing.assert_array_equal(np.stack(file.read()["code"].to_numpy()), codes_nd.astype(np.float32))


@pytest.mark.parametrize("kind", ["npy", "list"])
def test_a_streamed_import_refuses_what_any_does(small_blocks: None, tmp_path: Path, kind: str) -> None:
    codes_nd = np.random.default_rng(0).normal(size=(100, 5))
    for value, said in (
        (np.nan, r"1 of 5 code columns lack values .*c080"),
        (1e39, r"1e\+39 \(case c080\) is more than"),
    ):
        codes_nd[80, 2] = value
        with pytest.raises(InvalidInputError, match=said):
            read_codes(**written(tmp_path, kind, codes_nd))
    codes_nd[:, 2] = np.random.default_rng(0).permutation(100)
    with pytest.raises(InvalidInputError, match="column 2 numbers the rows"):
        read_codes(**written(tmp_path, kind, codes_nd))


def test_lists_of_two_lengths_or_none_are_refused(small_blocks: None, tmp_path: Path) -> None:
    for lists, said in (
        ([[1.0]] * 50 + [[1.0, 2.0]] * 50, "2 different lengths"),
        ([[1.0]] * 90 + [None] * 10, "row 91"),
    ):
        pq.write_table(pa.table({"case_id": IDS, "code": lists}), tmp_path / "t.parquet")
        with pytest.raises(InvalidInputError, match=said):
            read_codes(tmp_path / "t.parquet")
