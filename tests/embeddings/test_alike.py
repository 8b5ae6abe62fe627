"""Ids that look like one are named; those that do not are not."""

from __future__ import annotations

import unicodedata

from guidestore.embeddings.alike import alike_ids, date_ids
from guidestore.embeddings.words import count_of


def test_ids_alike_are_named_where_one_of_them_is_new():
    umlaut = unicodedata.normalize("NFC", "M\u00fc1"), unicodedata.normalize("NFD", "M\u00fc1")
    assert umlaut[0] != umlaut[1]
    said = alike_ids(["a1", "007", umlaut[0], "x"], ["A1", "7", umlaut[1], "B2", "b2"])
    assert said.startswith("3 groups of cases whose ids differ")
    assert "'A1' and 'a1'" in said
    assert "'007' and '7'" in said
    assert "B2" not in said  # both were there before


def test_ids_apart_are_not_named():
    assert alike_ids(["P1", "P01", "0", "1", "10", "100"], ["P10", "Q1"]) == ""


def test_ids_that_a_spreadsheet_made_dates_are_named():
    assert date_ids(["P1", "1-Mar", "Sep-02", "2-Okt"]).startswith("3 ids such as 1-Mar may be")
    assert date_ids(["MAR-01", "2020-01-02", "A-1", "Mars-01"]) == ""


def test_numbers_of_things():
    said = [count_of(n, noun) for n, noun in ((1, "case"), (0, "class"), (1234, "code set"), (2, "box"))]
    assert said == ["1 case", "0 classes", "1,234 code sets", "2 boxes"]
