"""Codes from files against numpy, pandas and pyarrow, and what no code can be."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.codes import CodeColumns, read_codes

IDS = [f"P{i:03d}" for i in range(20)]
CODES = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
FRAME: Any = pd.DataFrame(CODES, columns=["a", "b", "c"]).assign(case_id=IDS)


def write(file: Path, codes: np.ndarray = CODES, ids: list[str] = IDS) -> Path:
    match file.suffix:
        case ".csv":
            pd.DataFrame(codes).assign(case_id=ids).to_csv(file, index=False)
        case ".parquet":
            pd.DataFrame({"case_id": ids, "code": list(codes)}).to_parquet(file)
        case ".npz":
            np.savez_compressed(file, case_id=np.array(ids), z=np.asfortranarray(codes))
        case ".npy":
            np.save(file, codes)
            (file.parent / "ids.txt").write_text("case_id\n" + "\n".join(ids) + "\n")
    return file


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".npy"])
@pytest.mark.parametrize("named", ["right", "wrong"])
def test_every_format_has_the_same_codes(tmp_path: Path, suffix: str, named: str):
    file = write(tmp_path / f"codes{suffix}")
    if named == "wrong":  # what a file is, its content says
        file = file.rename(tmp_path / "codes.dat")
    read = read_codes(file, ids=tmp_path / "ids.txt" if suffix == ".npy" else None)
    assert read.codes.case_ids == tuple(IDS)
    np.testing.assert_array_equal(read.codes.codes_nd, CODES)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int32()])
@pytest.mark.parametrize("make", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2)])
def test_lists_of_any_number(tmp_path: Path, kind: pa.DataType, make: Any):
    values = pa.array(np.array([1, 2, 3, 5], np.float16).astype(np.float32)).cast(kind)
    rows = [[values[0], values[1]], [values[2], values[3]]]
    pq.write_table(pa.table({"case_id": ["A", "B"], "z": pa.array(rows, make(kind))}), tmp_path / "t.parquet")
    assert read_codes(tmp_path / "t.parquet").codes.codes_nd.tolist() == [[1, 2], [3, 5]]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ([[1.0], [2.0, 3.0]], "codes have 2 different lengths"),
        ([[1.0], None], "row 2, column z has no code"),
        ([["a"], ["b"]], "is list<"),
        ([[[1.0]], [[2.0]]], "is list<"),
        ([{"a": 1.0}, {"a": 2.0}], "is struct<"),
        ([2**63, 1], r"9223372036854775808 is beyond 2\^53"),
        ([-(2**60), 1], r"-1152921504606846976 is beyond 2\^53"),
        ([1e300, 1.0], r"column z: 1e\+300 .case A. is more than float32 holds"),
        ([True, False], "bool is not numeric"),
        (["x", "y"], "'x' is no number; correct it, or leave the column out with --drop 'z'"),
        ([None, None], "has no number in any code column"),
    ],
)
def test_columns_that_are_no_codes(tmp_path: Path, column: list[Any], sentence: str):
    kind = pa.uint64() if column[0] == 2**63 else None
    pq.write_table(pa.table({"case_id": ["A", "B"], "z": pa.array(column, kind)}), tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match=sentence):
        read_codes(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "numbers",
    [
        range(20),
        range(1, 21),
        np.random.default_rng(1).permutation(20) + 5,
        [*range(10), *range(15, 25)],
        np.arange(20.0, 0, -1),
        np.arange(20) * 0.1 + 3,
        range(1000, 0, -50),
        np.linspace(0, 1, 20, dtype=np.float32),
    ],
)
def test_a_column_that_numbers_the_rows_is_refused(tmp_path: Path, numbers: Any):
    FRAME.assign(b=np.array(numbers)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InvalidInputError, match=r"column b numbers the rows .* --drop 'b'"):
        read_codes(tmp_path / "t.csv")
    assert read_codes(tmp_path / "t.csv", how=CodeColumns(dropped=("b",))).columns == ("a", "c")


def test_whole_numbers_that_number_nothing_are_codes(tmp_path: Path):
    ages = np.random.default_rng(0).integers(20, 80, 20)
    FRAME.assign(b=ages).to_csv(tmp_path / "t.csv", index=False)
    assert read_codes(tmp_path / "t.csv").codes.codes_nd[:, 1].tolist() == ages.tolist()


def test_saved_indexes_are_left_out_with_a_line(tmp_path: Path):
    FRAME.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv")
    read = read_codes(tmp_path / "t.csv")
    assert read.columns == ("a", "b", "c")
    assert read.notes == ("column Unnamed: 0 of t.csv is a saved index or has no name, and left out",)


def test_what_is_missing_is_said_and_done_as_asked(tmp_path: Path):
    frame = FRAME.assign(empty=np.nan, none=np.nan)
    frame.loc[[3, 5], "b"] = np.nan
    frame.loc[7, ["a", "b", "c"]] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InvalidInputError, match=r"1 of 3 code columns lack values .*b 2.* in 2 of 19 cases .*P003"):
        read_codes(tmp_path / "t.csv")
    rest = [i for i in range(20) if i != 7]
    dropped = read_codes(tmp_path / "t.csv", how=CodeColumns(nan="drop-column"))
    np.testing.assert_array_equal(dropped.codes.codes_nd, CODES[rest][:, [0, 2]])
    assert dropped.codes.case_ids == tuple(IDS[i] for i in rest)
    assert dropped.notes[0] == "1 case has no value at all, and no code: P007"
    assert dropped.notes[1] == "2 columns (empty, none) are empty for all 19 cases, and left out"
    kept = read_codes(tmp_path / "t.csv", how=CodeColumns(nan="median"))
    assert np.argwhere(np.isnan(kept.codes.codes_nd)).tolist() == [[3, 1], [5, 1]]


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e400"])
def test_what_is_infinite_is_not_called_empty(tmp_path: Path, text: str):
    FRAME.assign(b=[text] * len(FRAME)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InvalidInputError, match=r"column b of t.csv: infinite, as of case P000, and no code is"):
        read_codes(tmp_path / "t.csv")
    read = read_codes(tmp_path / "t.csv", how=CodeColumns(nan="median"))
    assert (read.columns, "column b of t.csv: infinite" in read.notes[0]) == (("a", "c"), True)


def test_sentinels_are_numbers_until_somebody_says_otherwise(tmp_path: Path):
    FRAME.assign(a=[-999.0, *CODES[1:, 0].tolist()]).to_csv(tmp_path / "t.csv", index=False)
    read = read_codes(tmp_path / "t.csv")
    assert (read.codes.codes_nd[0, 0], "column a of t.csv has -999" in read.notes[0]) == (-999, True)
    how = CodeColumns(missing=("-999.0",), nan="median")
    assert np.isnan(read_codes(tmp_path / "t.csv", how=how).codes.codes_nd[0, 0])


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (header("(1000000000, 1000000000)") + bytes(24), "its header claims"),
        (header("(-1, 3)") + bytes(24), "cannot be read as a numeric array"),
        (header("(2, 4)") + bytes(24), r"claims \(2, 4\) float32, 32 bytes, and it holds 24"),
        (header("(2,)") + bytes(8), r"codes are float32 of shape \(2,\)"),
        (header("(0, 0)"), r"codes are float32 of shape \(0, 0\)"),
        (header("(2, 0)"), r"of shape \(2, 0\)"),
        (header("(1, 100000)") + bytes(400_000), "has 100,000 columns"),
        (header("(2, 3)", "|O") + bytes(48), "pickled objects"),
        (header("(2, 3)", "<c8") + bytes(48), "codes are complex64"),
        (header("__import__('os')"), "cannot be read as a numeric array"),
        (header("(2, 3)")[:20], "cannot be read as a numeric array"),
        (b"\x93NUMPY\x09\x00", "cannot be read as a numeric array"),
        (b"\x93NUMPY\x01\x00\x05\x00 ''\n\x00" + bytes(24), "cannot be read as a numeric array: its header is damaged"),
    ],
)
def test_absurd_arrays_are_refused_by_their_header(tmp_path: Path, content: bytes, sentence: str):
    (tmp_path / "z.npy").write_bytes(content)
    (tmp_path / "ids.txt").write_text("A\nB\n")
    with pytest.raises(InvalidInputError, match=sentence):
        read_codes(tmp_path / "z.npy", ids=tmp_path / "ids.txt")
    with zipfile.ZipFile(tmp_path / "z.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("z.npy", content)
        ids = io.BytesIO()
        np.save(ids, np.array(["A", "B"]))
        archive.writestr("case_id.npy", ids.getvalue())
    with pytest.raises(InvalidInputError):
        read_codes(tmp_path / "z.npz")


def test_a_damaged_archive_is_refused(tmp_path: Path):
    content = write(tmp_path / "z.npz").read_bytes()
    for damaged in (content[:-40], content[: len(content) // 2], content[:200] + b"\xff" * 8 + content[208:]):
        (tmp_path / "z.npz").write_bytes(damaged)
        with pytest.raises(InvalidInputError):
            read_codes(tmp_path / "z.npz")


def test_ids_and_rows_must_agree(tmp_path: Path):
    file = write(tmp_path / "z.npy")
    with pytest.raises(InvalidInputError, match="has no case ids: give --ids"):
        read_codes(file)
    (tmp_path / "ids.txt").write_text("A\n")
    with pytest.raises(InvalidInputError, match="20 codes for 1 case id;"):
        read_codes(file, ids=tmp_path / "ids.txt")
    (tmp_path / "ids.txt").write_text("A\n\nnan\n")
    with pytest.raises(InvalidInputError, match="the id of row 2 is 'nan'"):
        read_codes(file, ids=tmp_path / "ids.txt")
    for text, said in (
        ("A,1\nB,2\n", "'A,1' has several fields, and none of the first line is 'case_id'"),
        ("7.0\n8.0\n", "the id of row 1 is 7.0, a number that a program has rewritten"),
        ("1E+05\n", "the id of row 1 is 1E.05, a number"),
    ):
        (tmp_path / "ids.txt").write_text(text)
        with pytest.raises(InvalidInputError, match=said):
            read_codes(file, ids=tmp_path / "ids.txt")


def test_lists_without_a_number_are_refused(tmp_path: Path):
    lists = pa.array([[]] * 3, pa.list_(pa.float32()))
    pq.write_table(pa.table({"case_id": ["A", "B", "C"], "code": lists}), tmp_path / "z.parquet")
    with pytest.raises(InvalidInputError, match="column code: every list is empty"):
        read_codes(tmp_path / "z.parquet")


@pytest.mark.parametrize("gap", [0, 7, 19])
def test_a_row_number_is_one_with_gaps_too(tmp_path: Path, gap: int):
    numbers = np.arange(20.0)
    numbers[gap] = np.nan
    FRAME.assign(b=numbers).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InvalidInputError, match="column b numbers the rows"):
        read_codes(tmp_path / "t.csv", how=CodeColumns(nan="median"))


def test_whole_numbers_that_codes_round_are_noted(tmp_path: Path):
    dates = [20200100 + i**2 for i in range(20)]
    FRAME.assign(b=dates).to_csv(tmp_path / "t.csv", index=False)
    read = read_codes(tmp_path / "t.csv")
    assert read.codes.codes_nd[:, 1].tolist() == np.array(dates, np.float32).tolist()
    assert read.notes[0].startswith("column b of t.csv has whole numbers beyond 2^24, which codes (float32) round")


def test_ids_of_arrays_are_read_as_those_of_tables(tmp_path: Path):
    codes_nd = CODES[:2]
    np.savez(tmp_path / "t.npz", case_id=np.array(["A ", "B"]), codes=codes_nd)
    assert read_codes(tmp_path / "t.npz").codes.case_ids == ("A", "B")
    np.save(tmp_path / "t.npy", codes_nd)
    for text in ("case_id\tage\nA\t3\nB\t4\n", '"A"\n"B"\n'):
        (tmp_path / "ids.txt").write_text(text)
        assert read_codes(tmp_path / "t.npy", ids=tmp_path / "ids.txt").codes.case_ids == ("A", "B")
    np.savez(tmp_path / "t.npz", case_id=np.array(["A", "Mean"]), codes=codes_nd)
    with pytest.raises(InvalidInputError, match="the id of row 2 is 'Mean', which sums up the rows"):
        read_codes(tmp_path / "t.npz")
