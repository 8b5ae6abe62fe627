"""Tables of every dialect against csv and pandas: the same text, the same numbers, or a sentence."""

from __future__ import annotations

import codecs
import datetime
import decimal
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange import limits
from guidestore.embeddings.interchange.table import read_table, words

ROWS = [("007", "0.5", "Glioma, NOS"), ("010", "-1.25e3", "réc"), ("P 3", "4", "a;b")]


def texts(file: Path, *columns: str) -> list[tuple[str, ...]]:
    table = read_table(file)
    return list(zip(*(table.texts(column) for column in columns), strict=True))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_every_dialect_reads_as_pandas_wrote_it(tmp_path: Path, delimiter: str, encoding: str):
    file = tmp_path / "table.csv"
    frame = pd.DataFrame(ROWS, columns=["case_id", "f", "grade"])
    frame.to_csv(file, index=False, sep=delimiter, encoding=encoding, lineterminator="\r\n")
    assert texts(file, "case_id", "f", "grade") == ROWS
    assert read_table(file).numbers(["f"])[:, 0].tolist() == [0.5, -1250.0, 4.0]
    assert bool(read_table(file).notes) is (encoding == "cp1252")


def test_excels_first_line_and_blank_lines_are_passed_over(tmp_path: Path):
    (tmp_path / "t.csv").write_text("sep=;\ncase_id;f\n\nA;0,5\n;\nB;1,25\n")
    table = read_table(tmp_path / "t.csv")
    assert table.ids() == ("A", "B")
    assert table.numbers(["f"])[:, 0].tolist() == [0.5, 1.25]
    assert table.where(1, "f") == "t.csv, row 6, column f"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("case_id;a;b\nA;0,5;0.5\n", "only one of comma and point can be the decimal sign"),
        ("case_id;a\nA;1,234\nB;12,345\n", "may mean thousands or a fraction"),
        ("case_id;a\nA;1.234,5\n", "'1.234,5' is no number"),
        ("case_id,a\nA,1_000\n", "'1_000' is no number"),
        ("case_id,a\nA,9007199254740993\n", r"t\.csv, row 2, column a: 9007199254740993 is beyond 2\^53"),
        ("case_id,a\nA,9223372036854775808\n", r"t\.csv, row 2, column a: 9223372036854775808 is beyond 2\^53"),
        ('case_id,a\nA,"[1.0, 2.0]"\n', r"'\[1\.0, 2\.0\]' is no number"),
    ],
)
def test_numbers_that_may_mean_two_things_are_refused(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "t.csv").write_text(text)
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(InvalidInputError, match=sentence):
        table.numbers([name for name in table.columns if name != "case_id"])


def test_a_decimal_comma_beside_whole_numbers_and_missing_words(tmp_path: Path):
    (tmp_path / "t.csv").write_text('case_id,a,b\nA,"0,5",1\nB,"-12,25",\nC,NA,+3\nD,?,1e3\n')
    found = read_table(tmp_path / "t.csv").numbers(["a", "b"])
    np.testing.assert_array_equal(found, [[0.5, 1], [-12.25, np.nan], [np.nan, 3], [np.nan, 1000]])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_index_of_a_data_frame_is_known(tmp_path: Path, suffix: str):
    file = tmp_path / f"t.{suffix}"
    frame = pd.DataFrame({"case_id": ["A", "B"], "f": [1.5, 2.5]}, index=[5, 3])
    frame.to_csv(file) if suffix == "csv" else frame.to_parquet(file)
    table = read_table(file)
    assert len(table.saved_indexes) == 1
    assert table.chosen((), (), ("case_id",)) == ("f",)
    named = frame.set_index("case_id")
    named.to_csv(file) if suffix == "csv" else named.to_parquet(file)
    table = read_table(file)
    assert (table.ids(), table.saved_indexes) == (("A", "B"), ())


def test_excel_has_the_text_that_it_shows(tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["case_id", "f", "seen", None], ["007", 0.1, True, None], [8, 2.0, None, None], [None] * 4):
        sheet.append(row)
    sheet["A3"].number_format = "000"
    book.create_sheet("notes")
    book.save(tmp_path / "t.dat")
    table = read_table(tmp_path / "t.dat")
    assert (table.columns, table.ids()) == (("case_id", "f", "seen"), ("007", "008"))
    assert table.numbers(["f"])[:, 0].tolist() == [0.1, 2.0]
    assert table.texts("seen") == ["True", ""]
    assert table.notes == ("of t.dat the first sheet, Sheet, is read, not notes",)
    sheet["B2"] = "=1+1"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InvalidInputError, match="cell B2 is a formula that was never calculated"):
        read_table(tmp_path / "t.xlsx")


def test_a_nameless_index_can_be_the_id(tmp_path: Path):
    pd.DataFrame({"f": [1.5]}, index=["A"]).to_csv(tmp_path / "t.csv")
    pd.DataFrame({"f": [1.5]}, index=["A"]).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.csv", ["Unnamed: 0"]).ids("Unnamed: 0") == ("A",)
    assert read_table(tmp_path / "t.parquet", ["__index_level_0__"]).ids("__index_level_0__") == ("A",)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (pa.array([7.0, 8.0]), "holds double .such as 7.0., and ids are text"),
        (pa.array(["A", None]), "row 2, column case_id has no id"),
        (pa.array([datetime.date(2020, 3, 1)] * 2), r"holds date32\[day\] .such as 2020-03-01.*as text"),
        (pa.array(["A", "Total"]), "row 2, column case_id is 'Total', which sums up the rows"),
        (pa.array(["A", "nan"]), "row 2, column case_id has the id 'nan'"),
        (pa.array(["7.0", "8.0"]), "has the id 7.0: a number that a program has rewritten"),
        (pa.array(["1.2E+05", "8"]), r"has the id 1.2E\+05"),
        (pa.array([True, False]), "holds bool"),
        (pa.array([["A"], ["B"]]), "neither text nor a number"),
    ],
)
def test_ids_are_text(tmp_path: Path, ids: pa.Array, sentence: str):
    pq.write_table(pa.table({"case_id": ids, "f": [1.0, 2.0]}), tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match=sentence):
        read_table(tmp_path / "t.parquet").ids()


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_ids_and_labels_of_any_whole_or_text_type(tmp_path: Path, kind: pa.DataType):
    values = pa.array(["7", "8"]).cast(kind)
    pq.write_table(pa.table({"case_id": values}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").ids() == ("7", "8")


SIZE = b'<dimension ref="A1:C4" />'


def edited_sheet(file: Path, old: bytes, new: bytes) -> None:
    """A sheet of three cases, A to C, and two numbers each, whose XML was changed."""
    frame = pd.DataFrame({"case_id": ["A", "B", "C"], "f": [0.5, 1.5, 2.5], "g": [4.0, 5.0, 6.0]})
    frame.to_excel(file, index=False)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert old in members[sheet]
    members[sheet] = members[sheet].replace(old, new)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("size", [b"", b'<dimension ref="A1"/>', b'<dimension ref="A1:B3"/>', b'<dimension ref="B2"/>'])
def test_a_sheet_is_read_whole_whatever_it_says_of_its_size(tmp_path: Path, size: bytes):
    pytest.importorskip("openpyxl")
    edited_sheet(tmp_path / "t.xlsx", SIZE, size)
    table = read_table(tmp_path / "t.xlsx")
    assert (table.ids(), table.columns) == (("A", "B", "C"), ("case_id", "f", "g"))
    assert table.numbers(["f", "g"]).tolist() == [[0.5, 4.0], [1.5, 5.0], [2.5, 6.0]]


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'<row r="4"', b'<row r="2"'), (b'r="B4"', b'r="D4"'), (b'<row r="4"', b'<row r="9999999999"')],
)
def test_a_sheet_whose_rows_or_cells_are_out_of_order_is_refused(tmp_path: Path, old: bytes, new: bytes):
    pytest.importorskip("openpyxl")
    edited_sheet(tmp_path / "t.xlsx", old, new)
    with pytest.raises(InvalidInputError, match="stands out of its place"):
        read_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_parquet_text_that_is_not_utf8_names_its_column(tmp_path: Path, kind: pa.DataType):
    raw = pa.array(
        [b"a", "Universit\u00e4t".encode("cp1252")], pa.binary() if kind == pa.string() else pa.large_binary()
    )
    pq.write_table(pa.table({"case_id": ["A", "B"], "site": raw.view(kind)}), tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match="column site holds text that is not UTF-8"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", b"case_id,a,a\nA,1,2\n", "has the column 'a' twice"),
        ("t.csv", b"case_id,a\n", "has a header and no rows"),
        ("t.csv", b"case_id,a\nA,1,2\n", "row 2 has 3 fields, the header has 2"),
        ("t.csv", b'case_id,a\n"A,1\n', "row 2 cannot be read as a table"),
        ("t.csv", b'case_id,a\nA,1\nB,"x \\"y\\" z"\n', "row 3 cannot be read as a table .* double the quotes"),
        ("t.xls", b"<html><table><tr><td>case_id", "is HTML or XML"),
        ("t.json", b'[{"case_id": "A"}]', "is JSON"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        ("t.xlsx", b"\xd0\xcf\x11\xe0" + b"\0" * 99 + "EncryptedPackage".encode("utf-16-le"), "has a password"),
        ("t.dta", b"\x72\x02\x01\0" * 20, "is a Stata file"),
        ("t.sav", b"$FL2@(#) SPSS DATA FILE" + b"\0" * 50, "is an SPSS file"),
        ("t.parquet", b"PARE" + b"\0" * 50, "is an encrypted Parquet file"),
        ("t.pkl", b"\x80\x02}q\0.", "is a pickle"),
        ("t.csv", b"case_id,a\n\xc3\xa4,1\n\xe4,2\n", "is UTF-8 in one place and something else in another"),
        ("t.csv", b"\x81\x8d,a\n", "cannot be read as a table"),
        ("t.csv", b"\x00\x01\x02\x03" * 40, "is a binary file"),
        ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel file"),
        ("t.csv", b"\x1f\x8b\x08\x00", "is compressed"),
        ("t.parquet", b"PAR1" + b"x" * 20, "cannot be read as a table"),
        ("t.xlsx", b"PK\x03\x04nothing", "is a damaged archive"),
        ("t.csv", codecs.BOM_UTF16_LE + b"abc", "cannot be read as a table"),
        ("t.csv", ",".join(f"c{i}" for i in range(100_000)).encode(), r"has 100,000 columns, and at most 65,536"),
    ],
)
def test_what_is_no_table_gives_a_sentence(tmp_path: Path, name: str, content: bytes, sentence: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=sentence):
        read_table(tmp_path / name)


def test_a_folder_and_a_missing_file_give_a_sentence(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        read_table(tmp_path)


def test_a_wide_parquet_is_refused_by_its_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MOST_COLUMNS", 3)
    wide = {f"c{i}": pa.array([], pa.int8()) for i in range(4)}
    pq.write_table(pa.table(wide), tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match=r"has 4 columns"):
        read_table(tmp_path / "t.parquet")


def test_columns_are_named_or_meant_by_patterns(tmp_path: Path):
    (tmp_path / "t.csv").write_text("case_id,diag_a,orig_a,orig_b,[x]\nA,1,2,3,4\n")
    table = read_table(tmp_path / "t.csv")
    besides = ("case_id",)
    assert table.chosen((), ("diag*", "[x]"), besides) == ("orig_a", "orig_b")
    assert table.chosen(("orig_b", "[x]"), (), besides) == ("orig_b", "[x]")
    with pytest.raises(InvalidInputError, match="has no column 'orig'; it has case_id, diag_a"):
        table.chosen(("orig",), (), besides)
    assert words(["a,b", '"c, d"']) == ("a", "b", "c, d")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff\ufeffcase_id,f\nA,0.5\nB,1.5\n",
        "\ufeffsep=\t\r\ncase_id\tf\r\nA\t0.5\r\nB\t1.5\r\n",
        'case_id, "f"\n"A", "0.5"\nB, 1.5\n',
    ],
)
def test_marks_tabs_and_blanks_of_exports(tmp_path: Path, text: str):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    table = read_table(tmp_path / "t.csv", ["case_id"])
    assert (table.ids(), table.numbers(["f"])[:, 0].tolist()) == (("A", "B"), [0.5, 1.5])


@pytest.mark.parametrize(
    "above", ["Radiomics, 2020\n", "# made by X\n# in 2020\n", "Radiomics,,\n,,\n", "One,two,three,four\n"]
)
def test_rows_above_the_header_are_said(tmp_path: Path, above: str):
    (tmp_path / "t.csv").write_text(f"{above}case_id,f,g\nA,0.5,1\n")
    row = above.count("\n") + 1
    with pytest.raises(InvalidInputError, match=rf"its header, with the column 'case_id', in row {row}; take out"):
        read_table(tmp_path / "t.csv", ["case_id"])


def _book(file: Path, rows: Sequence[Sequence[object]], merged: str = "") -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if merged:
        book.active.merge_cells(merged)
    book.active.row_dimensions[3].hidden = True
    book.save(file)


SHEET = (["case_id", "f"], ["A", 0.5], ["B", 1.5])


def test_a_sheet_is_read_whole_whatever_size_it_claims(tmp_path: Path):
    """As pandas reads it, which does not believe the size either."""
    _book(tmp_path / "whole.xlsx", SHEET)
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as whole, zipfile.ZipFile(tmp_path / "t.xlsx", "w") as claimed:
        for name in whole.namelist():
            claimed.writestr(name, re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:B2"', whole.read(name)))
    table = read_table(tmp_path / "t.xlsx")
    frame = pd.read_excel(tmp_path / "t.xlsx")
    assert table.ids() == tuple(frame.case_id) == ("A", "B")
    assert table.numbers(["f"])[:, 0].tolist() == frame.f.tolist() == [0.5, 1.5]
    assert table.notes == ("t.xlsx has hidden rows, which are read like the others",)


@pytest.mark.parametrize(
    ("rows", "merged", "sentence"),
    [
        ((["case_id", "f"], ["A", 0.5], ["B", None]), "B2:B3", "cells B2:B3 are merged"),
        (
            (["case_id", "f"], ["A", 0.5], [datetime.date(2020, 3, 1), 1]),
            "",
            "row 3, column case_id is a date",
        ),
        ((["Radiomics", None], *SHEET), "A1:B1", "its header, with the column 'case_id', in row 2"),
    ],
)
def test_cells_that_say_something_else(tmp_path: Path, rows: Any, merged: str, sentence: str):
    _book(tmp_path / "t.xlsx", rows, merged)
    with pytest.raises(InvalidInputError, match=sentence):
        read_table(tmp_path / "t.xlsx", ["case_id"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("xl/workbook.bin", "is a binary Excel"),
        ("content.xml", "is an OpenDocument"),
        ("x/data.pkl", "is a PyTorch"),
    ],
)
def test_archives_are_called_what_they_are(tmp_path: Path, name: str, sentence: str):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(InvalidInputError, match=sentence):
        read_table(tmp_path / "t.xlsx")


def test_a_decimal_beyond_what_a_float_holds_is_refused(tmp_path: Path):
    values = pa.array([decimal.Decimal("9007199254740993"), decimal.Decimal("0.5")], pa.decimal128(20, 2))
    pq.write_table(pa.table({"case_id": ["A", "B"], "f": values}), tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match=r"row 1, column f: 9007199254740993.00 is beyond 2\^53"):
        read_table(tmp_path / "t.parquet").numbers(["f"])
