"""Cohorts and targets that are taken out: gone from here on, kept in the history, and free to come again."""

from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from guidestore.warehouse.cohorts.cohort import CohortTables, add_cohort
from guidestore.warehouse.cohorts.removal import remove_cohort, remove_target


def tables(cohort: str) -> CohortTables:
    labels = [{"case_id": "A", "target": target, "class": "x"} for target in ("grade", "idh")]
    targets = [{"target": target, "class": "x"} for target in ("grade", "idh")]
    return CohortTables(cohort, cases=[{"case_id": "A"}], labels=labels, targets=targets)


def filled(store: EmbeddingStore) -> int:
    for cohort in ("c", "other"):
        add_cohort(store, tables(cohort))
        key = CodeSetKey.of(cohort, "m", EncoderSpec("e", "1", "codes", 2))
        with store.begin() as transaction:
            transaction.write_codes(CaseCodes(("A",), np.ones((1, 2), np.float32), key=key), input_digests=[["d"]])
    return store.snapshot().version


def test_a_cohort_goes_and_the_others_stay(store: EmbeddingStore):
    before = filled(store)
    assert remove_cohort(store, "c") == 4
    now = store.snapshot()
    assert {key.cohort for key in now.code_sets} == {"other"}
    assert now.rows("cases")["cohort"].to_pylist() == ["other"]
    assert {key.cohort for key in store.snapshot(before).code_sets} == {"c", "other"}
    assert not fsck(store.storage).findings
    with pytest.raises(NotFoundInStoreError, match="there is no cohort 'c'"):
        remove_cohort(store, "c")
    assert add_cohort(store, tables("c")).added["labels"] == 2


def test_a_target_goes_and_the_others_stay(store: EmbeddingStore):
    before = filled(store)
    assert remove_target(store, "c", "grade") == 1
    with pytest.raises(NotFoundInStoreError, match="has no target 'grade'; it has idh"):
        remove_target(store, "c", "grade")
    assert labels_of(store.snapshot(), "c", "idh") == (("x",), {"A": "x"})
    assert labels_of(store.snapshot(), "other", "grade") == (("x",), {"A": "x"})
    assert labels_of(store.snapshot(before), "c", "grade") == (("x",), {"A": "x"})
    assert remove_target(store, "c", "idh") == 1
    assert add_cohort(store, tables("c")).added["labels"] == 2
