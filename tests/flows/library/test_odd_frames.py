"""Arrays and tables of kinds that few hand over: what they say is what is stored, or one sentence says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import guidestore as gs
from guidestore.flows.library.frames import arrow_of, given_codes, ids_of, matrix_of, ordered_classes

CODES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
IDS = [f"case-{number}" for number in range(6)]
CLASSES = ["low", "high", "low", "high", "high", "low"]


@pytest.mark.parametrize(
    "given",
    [
        torch.from_numpy(CODES).requires_grad_(),
        torch.from_numpy(CODES).to_sparse().to_dense(),
        pd.Series(list(CODES)),
        pl.Series(CODES.tolist()),
        pa.array(CODES.tolist()),
        pa.chunked_array([CODES[:2].tolist(), CODES[2:].tolist()]),
        pa.FixedSizeListArray.from_arrays(pa.array(np.vstack([CODES, CODES]).reshape(-1)), 3).slice(6),
        np.asfortranarray(CODES).astype(">f8"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_it_is_the_array(given: Any) -> None:
    values, names = given_codes(given, IDS, "codes")
    array = values if isinstance(values, np.ndarray) else np.column_stack([column.to_numpy() for column in values])
    np.testing.assert_array_equal(array, CODES)
    assert names == IDS
    np.testing.assert_array_equal(matrix_of(given, "z_inferior", 3), CODES)


def test_half_precision_of_torch_is_widened() -> None:
    for kind in (torch.bfloat16, torch.float16):
        given = torch.from_numpy(CODES).to(kind)
        np.testing.assert_array_equal(matrix_of(given, "z_inferior", 3), given.float().numpy())


def test_what_is_masked_has_no_value(tmp_path: Path) -> None:
    masked = np.ma.masked_array(CODES, mask=np.eye(6, 3, dtype=bool))
    np.testing.assert_array_equal(np.isnan(matrix_of(masked, "z_inferior", 3)), masked.mask)
    np.testing.assert_array_equal(matrix_of(np.ma.masked_array(CODES), "z_inferior", 3), CODES)
    store = gs.open(tmp_path / "store", create=True)
    with pytest.raises(gs.InvalidInputError, match="3 of 3 code columns lack values"):
        store.add_codes("made", "mri", "mine", masked, IDS)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ids_of(set(IDS), "ids"), "ids are a set; give a list"),
        (lambda: ids_of(dict.fromkeys(IDS), "ids"), "ids are a dict; give a list"),
        (lambda: ids_of(["\ud800"], "ids"), "is no text that UTF-8 holds"),
        (lambda: matrix_of(torch.empty(2, 3, device="meta"), "z", 3), "z is no array of numbers"),
        (lambda: matrix_of(torch.from_numpy(CODES).to_sparse(), "z", 3), "z is no array of numbers"),
        (lambda: matrix_of([torch.ones(3, requires_grad=True)], "z", 3), "z is no array of numbers"),
        (
            lambda: arrow_of(pd.DataFrame({"case_id": IDS}, index=pd.Index(IDS[::-1], name="case_id")), "codes"),
            "the index and the column case_id say other ids",
        ),
    ],
)
def test_it_is_refused(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(gs.InvalidInputError, match=sentence):
        call()


def test_an_index_that_repeats_the_column_is_one_column() -> None:
    frame = pd.DataFrame({"case_id": IDS, "grade": CLASSES}).set_index("case_id", drop=False)
    assert arrow_of(frame, "labels")["case_id"].to_pylist() == IDS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> gs.Store:
    return gs.open(tmp_path_factory.mktemp("store") / "store", create=True)


@pytest.mark.parametrize(
    ("kind", "column", "order"),
    [
        ("ordered", pd.Categorical(CLASSES, ["low", "unseen", "high"], ordered=True), ["low", "high"]),
        ("unordered", pd.Categorical(CLASSES, ["low", "high"]), ["high", "low"]),
        ("enum", pl.Series(CLASSES, dtype=pl.Enum(["low", "high"])), ["low", "high"]),
        ("category", pl.Series(CLASSES, dtype=pl.Categorical), ["high", "low"]),
    ],
)
def test_categories_are_classes_and_an_order_is_kept(store: gs.Store, kind: str, column: Any, order: list[str]) -> None:
    frame = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    with store.writing():
        store.add_codes(kind, "mri", "mine", CODES, IDS)
        store.add_labels(kind, frame({"case_id": IDS, "grade": column}))
    assert store.targets(kind)["classes"] == [order]
    found = store.sql(f"SELECT case_id, class FROM labels WHERE cohort = '{kind}' ORDER BY case_id").rows()
    assert [row["class"] for row in found] == CLASSES


def test_an_order_of_categories_that_nobody_uses_is_none() -> None:
    assert ordered_classes(arrow_of(pd.DataFrame({"grade": pd.Categorical([], ["a"], ordered=True)}), "labels")) == {}


def test_classes_may_be_numbers_and_are_a_list(store: gs.Store) -> None:
    store.add_codes("numbers", "mri", "mine", CODES, IDS)
    labels = {"case_id": IDS, "side": [0, 1, 0, 1, 1, 0]}
    with pytest.raises(gs.InvalidInputError, match=r"^survival\['os'\] is 'ab'; it must be \(text, text\)$"):
        store.add_labels("numbers", labels, survival={"os": "ab"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        gs.InvalidInputError, match=r"^classes\['side'\]\[0\] is 1.5; it must be text or a whole number"
    ):
        store.add_labels("numbers", labels, classes={"side": [1.5]})  # pyright: ignore[reportArgumentType]
    with pytest.raises(gs.InvalidInputError, match="'0' is none of the classes 10"):
        store.add_labels("numbers", labels, classes={"side": "10"})
    store.add_labels("numbers", labels, classes={"side": [1, 0]})
    assert store.targets("numbers")["classes"] == [["1", "0"]]


def test_a_column_without_a_label_is_noted_by_the_names_of_arguments(store: gs.Store) -> None:
    store.add_codes("notes", "mri", "mine", CODES, IDS)
    empty = store.add_labels("notes", {"case_id": IDS, "grade": [None] * 6})
    assert empty.notes == ("column grade has no label of any case",)
    assert not len(empty)
    of_size = store.add_labels("notes", {"case_id": IDS, "size": np.arange(6) / 4}, kinds={"size": "value"})
    assert of_size.notes == ("nobody said the unit of size; `units` size=UNIT keeps it with the numbers",)


def test_errors_name_no_option_that_there_is_not(store: gs.Store) -> None:
    text = pd.DataFrame({"a": CODES[:, 0], "side": CLASSES})
    with pytest.raises(gs.InvalidInputError, match=r"row 1, column side: 'low' is no number; .* leave the column out$"):
        store.add_codes("wrong", "mri", "mine", text, IDS)
