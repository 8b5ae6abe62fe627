"""What a Parquet file will take is known before a value is read, whatever its footer says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange import limits
from guidestore.embeddings.interchange.parquet_size import parquet_size
from guidestore.embeddings.interchange.table import read_table

MANY = 3_000_000


def long_list(file: Path, values: int = MANY) -> Path:
    zeros = pa.array(np.zeros(values, np.float32))
    pq.write_table(pa.table({"case_id": ["A"], "z": pa.ListArray.from_arrays([0, values], zeros)}), file)
    return file


def varint(value: int) -> bytes:
    """Zigzag, as Thrift's compact protocol writes it."""
    value, out = value * 2, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize("compression", [None, "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("nullable", [False, True])
def test_it_is_at_least_what_the_table_takes_and_not_far_from_it(tmp_path: Path, compression, version, nullable):
    rng = np.random.default_rng(0)
    numbers = pa.array(rng.normal(size=50_000), mask=rng.random(50_000) < nullable / 2)
    table = pa.table(
        {
            "case_id": [f"P{i:06}" for i in range(50_000)],
            "f": numbers,
            "z": pa.FixedSizeListArray.from_arrays(rng.normal(size=200_000).astype(np.float32), 4),
        }
    )
    pq.write_table(
        table, tmp_path / "t.parquet", compression=compression, data_page_version=version, row_group_size=7000
    )
    size = parquet_size(tmp_path / "t.parquet")
    assert table.nbytes * 0.9 < size.decoded_bytes < table.nbytes * 3
    assert size.values_per_row == 4


def test_a_list_of_millions_in_one_row_is_refused_by_its_headers(tmp_path: Path):
    file = long_list(tmp_path / "t.parquet")
    assert file.stat().st_size < 2000
    assert parquet_size(file).values_per_row == MANY
    before = pa.total_allocated_bytes()
    with pytest.raises(InvalidInputError, match="holds lists of 3,000,000 values in a row, and at most 65,536"):
        read_table(file)
    assert pa.total_allocated_bytes() - before < 2**20


def test_a_footer_that_lies_is_not_believed(tmp_path: Path):
    file = long_list(tmp_path / "t.parquet")
    data = bytearray(file.read_bytes())
    true, length = varint(MANY), int.from_bytes(data[-8:-4], "little")
    place = data.index(true, len(data) - 8 - length)
    data[place : place + len(true)] = bytes([2 * 10 | 128, *[128] * (len(true) - 2), 0])
    file.write_bytes(data)
    assert parquet_size(file).values_per_row == MANY
    with pytest.raises(InvalidInputError, match="holds lists of 3,000,000 values"):
        read_table(file)


def test_texts_that_a_dictionary_holds_once_are_counted_as_often_as_they_stand(tmp_path: Path, monkeypatch):
    column = pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), ["x" * 100_000])
    ids = [f"P{i}" for i in range(2000)]
    for name, values in {"category": column, "text": column.cast(pa.string())}.items():
        pq.write_table(pa.table({"case_id": ids, "t": values}), tmp_path / f"{name}.parquet")
    memory = limits.os.sysconf("SC_PAGE_SIZE") * limits.os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(limits, "_SHARE_OF_MEMORY", 2**26 / memory)
    for name in ("category", "text"):
        with pytest.raises(InvalidInputError, match=r"says that it holds 0\.2 GiB of values"):
            read_table(tmp_path / f"{name}.parquet")


def test_one_huge_text_is_refused_by_its_headers(tmp_path: Path, monkeypatch):
    pq.write_table(pa.table({"case_id": ["A"], "t": ["x" * 2**24]}), tmp_path / "t.parquet", compression="zstd")
    memory = limits.os.sysconf("SC_PAGE_SIZE") * limits.os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(limits, "_SHARE_OF_MEMORY", 2**22 / memory)
    with pytest.raises(InvalidInputError, match=r"says that it holds 0\.0 GiB of values"):
        read_table(tmp_path / "t.parquet")


def test_what_is_no_code_is_not_read(tmp_path: Path):
    texts = pa.ListArray.from_arrays(
        np.arange(0, 4), pa.DictionaryArray.from_arrays([0, 0, 0], ["x"]).cast(pa.string())
    )
    columns = {"case_id": ["A", "B", "C"], "l": texts, "b": [b"1", b"2", b"3"], "f": [1.5, 2.5, 3.5], "a.b": [1, 2, 3]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.columns == tuple(columns)
    assert table.ids() == ("A", "B", "C")
    assert table.numbers(["f", "a.b"]).tolist() == [[1.5, 1], [2.5, 2], [3.5, 3]]
    for name in "lb":
        with pytest.raises(InvalidInputError, match=f"column {name}: .* is neither text nor a number"):
            table.texts(name)
