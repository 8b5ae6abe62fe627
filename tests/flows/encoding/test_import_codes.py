"""What comes in again: corrected codes, other columns, targets among them, and values that lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.codes import CodeColumns
from guidestore.embeddings.pairing import pair
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.encoding.stored_encoders import StoredEncoders
from guidestore.flows.models.predict import given_codes
from guidestore.warehouse.cohorts.cohort import CohortTables, add_cohort

IDS = [f"P{i:03d}" for i in range(20)]
FRAME: Any = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=["a", "b", "c"], index=IDS)
GRADES = ["low", "high"] * 10


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


def bring(store: EmbeddingStore, frame: Any, **options: Any):
    file = store.storage.local_folder.parent / "codes.csv"
    frame.rename_axis("case_id").to_csv(file)
    return import_codes(store, file, cohort="c", modality="clinical", encoder="e", **options)


def stored(store: EmbeddingStore, key: CodeSetKey, at: int | None = None) -> CaseCodes:
    return store.snapshot(at).codes(key)


def test_corrected_codes_are_refused_and_supersede_when_asked(store: EmbeddingStore):
    first = bring(store, FRAME)
    mended = FRAME.copy()
    mended.loc["P005", "b"] = 7.5
    with pytest.raises(
        InvalidInputError, match=r"other values for 1 case .such as P005.: --replace .*--encoder-version"
    ):
        bring(store, mended)
    report = bring(store, mended, supersede=True)
    assert (report.new, report.replaced, report.code_set) == (1, 1, first.code_set)
    np.testing.assert_array_equal(stored(store, first.code_set).codes_nd, mended.to_numpy(np.float32))
    np.testing.assert_array_equal(stored(store, first.code_set, first.snapshot).codes_nd, FRAME.to_numpy(np.float32))
    (entry,) = [e for e in store.snapshot().code_set_entries(first.code_set) if e.supersedes]
    assert entry.case_id == "P005"
    assert bring(store, mended, supersede=True).snapshot == report.snapshot, "the same again is nothing new"
    back = bring(store, FRAME, supersede=True)
    np.testing.assert_array_equal(stored(store, back.code_set).codes_nd, FRAME.to_numpy(np.float32))


def test_another_version_stands_beside(store: EmbeddingStore):
    first, second = bring(store, FRAME), bring(store, FRAME + 1, version="2")
    assert first.code_set != second.code_set
    assert len(store.snapshot().code_sets) == 2


def test_columns_are_matched_by_name(store: EmbeddingStore):
    first = bring(store, FRAME[:10])
    report = bring(store, FRAME[10:][["c", "a", "b"]])
    assert report.code_set == first.code_set
    assert "were put in the order" in report.notes[0]
    np.testing.assert_array_equal(stored(store, first.code_set).codes_nd, FRAME.to_numpy(np.float32))
    with pytest.raises(InvalidInputError, match=r"codes\.csv has d and lacks c; choose the same"):
        bring(store, FRAME[10:].rename(columns={"c": "d"}))
    file = store.storage.local_folder.parent / "new.csv"
    FRAME[:4][["b", "c", "a"]].assign(extra=1.5).rename_axis("case_id").to_csv(file)
    _, codes_nd = given_codes(file, first.code_set, "e", StoredEncoders(store.snapshot()))
    np.testing.assert_array_equal(codes_nd, FRAME[:4].to_numpy(np.float32))


def test_other_columns_supersede_all_cases_or_none(store: EmbeddingStore):
    first = bring(store, FRAME.assign(number=1.5 + FRAME["a"]))
    with pytest.raises(
        InvalidInputError, match=r"codes of other columns for 10 cases that the file lacks .such as P010"
    ):
        bring(store, FRAME[:10], supersede=True)
    second = bring(store, FRAME, supersede=True)
    assert (first.code_set.code_dim, store.snapshot().code_sets) == (4, (second.code_set,))


@pytest.mark.parametrize("same", [True, False])
def test_a_case_comes_once(store: EmbeddingStore, same: bool):
    again = FRAME[:1] if same else FRAME[:1] + 1
    with pytest.raises(
        InvalidInputError, match=f"case P000 comes twice with {'the same' if same else 'different'} values"
    ):
        bring(store, pd.concat([FRAME, again]))


def labelled(store: EmbeddingStore, grades: list[str] = GRADES) -> None:
    labels = [{"case_id": case, "target": "grade", "class": name} for case, name in zip(IDS, grades, strict=True)]
    targets = [{"target": "grade", "class": name} for name in dict.fromkeys(grades)]
    splits = [
        {"split": "s", "fold": 0, "case_id": case, "part": ("train", "train", "val", "test")[i % 4], "origin": ""}
        for i, case in enumerate(IDS)
    ]
    add_cohort(
        store, CohortTables("c", cases=[{"case_id": c} for c in IDS], targets=targets, labels=labels, splits=splits)
    )


@pytest.mark.parametrize("values", [[2, 3] * 10, [-1.5, 0.25] * 10, [1, 0] * 9 + [1, np.nan]])
@pytest.mark.parametrize("order", ["labels first", "codes first"])
def test_a_target_among_the_codes_is_refused(store: EmbeddingStore, values: list[float], order: str):
    frame = FRAME.assign(who=np.array(values, np.float32))
    how = CodeColumns(nan="median")
    if order == "labels first":
        labelled(store)
        with pytest.raises(
            InvalidInputError, match=r"column who is target grade of cohort c in other words, .*--drop 'who'"
        ):
            bring(store, frame, how=how)
        bring(store, frame, how=CodeColumns(dropped=("who",)))
    else:
        bring(store, frame, how=how)
        with pytest.raises(InvalidInputError, match=r"column who of c/clinical/e@.* is target grade in other words"):
            labelled(store)
        labelled(store, [*GRADES[:-2], "high", "low"])


def test_a_column_with_a_targets_name_is_refused(store: EmbeddingStore):
    labelled(store)
    with pytest.raises(InvalidInputError, match="column grade is named as target grade"):
        bring(store, FRAME.rename(columns={"b": "grade"}))


def test_medians_are_those_of_the_train_cases(store: EmbeddingStore):
    holes = FRAME.copy()
    holes.loc[["P001", "P003"], "b"] = np.nan
    key = bring(store, holes, how=CodeColumns(nan="median")).code_set
    other = import_codes(
        store, store.storage.local_folder.parent / "codes.csv", cohort="c", modality="s", encoder="e",
        how=CodeColumns(nan="drop-column"),
    ).code_set  # fmt: skip
    labelled(store)
    paired = pair(store.snapshot(), cohort="c", target="grade", inferior=key, superior=other, split="s", fold=0)
    train = [case for i, case in enumerate(IDS) if i % 4 < 2]
    expected = holes.fillna({"b": float(np.nanmedian(holes.loc[train, "b"].astype(np.float32)))})
    np.testing.assert_array_equal(paired.inferior_nd, expected.to_numpy(np.float32))
    assert any("2 cases lack a value in 1 inferior columns, filled in" in issue.sentence for issue in paired.issues)
    assert StoredEncoders(store.snapshot()).stored(key.encoder_digest).spec.preprocessing["nan"] == "median"
