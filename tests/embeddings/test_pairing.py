from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings.errors import FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.outcomes import KINDS, Target
from guidestore.embeddings.pairing import class_targets, join, labels_of, pair, parts_of, targets_of
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import PARTS, CaseCodes, FoldScope, PairedCodes
from tests.embeddings.making import bag_key, commit_bag, commit_codes, commit_cohort, make_bag, mri_key, slide_key

CLASSES = ("G", "O")


def codes(cases: Mapping[str, float] | list[tuple[str, float]], dim: int) -> CaseCodes:
    items = list(cases.items()) if isinstance(cases, Mapping) else cases
    codes_nd = np.array([[value] * dim for _, value in items], np.float32).reshape(len(items), dim)
    return CaseCodes(tuple(case for case, _ in items), codes_nd, tuple(f"I{i}" for i in range(len(items))))


def joined(inferior: CaseCodes, superior: CaseCodes, parts: dict[str, str], labels: dict[str, str]) -> PairedCodes:
    return join(
        inferior,
        superior,
        parts=parts,
        outcomes=labels,
        target=Target("grade", names=CLASSES),
        cohort="glioma",
        split="published",
        fold=0,
    )


def test_a_complete_pairing_has_no_issues():
    paired = joined(
        codes({"b": 2, "a": 1}, 3), codes({"a": 10, "b": 20}, 2), {"a": "train", "b": "test"}, {"a": "G", "b": "O"}
    )
    assert paired.case_ids == ("a", "b")
    assert paired.inferior_nd.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert paired.superior_nd.tolist() == [[10, 10], [20, 20]]
    assert paired.labels.tolist() == [0, 1]
    assert paired.parts.tolist() == ["train", "test"]
    assert paired.is_pair.tolist() == [True, True]
    assert paired.issues == ()


def test_copies_of_a_train_case_in_other_parts_are_named():
    parts = {"a": "train", "b": "train", "b-again": "train", "a-again": "test", "b-too": "val", "half": "test"}
    labels = dict.fromkeys(parts, "G")
    inferior = {"a": 1, "b": 2, "b-again": 2, "a-again": 1, "b-too": 2, "half": 1}
    superior = {"a": 3, "b": 4, "b-again": 4, "a-again": 3, "b-too": 4, "half": 5}  # alike in one modality alone
    (issue,) = joined(codes(inferior, 5), codes(superior, 3), parts, labels).issues
    assert issue.kind == "copies across parts"
    assert issue.case_ids == ("a-again", "b-too")
    assert "2 cases of val and test of published/0 have the very codes of a train case" in issue.sentence
    few = joined(codes(inferior, 4), codes(superior, 3), parts, labels)  # age and sex of two patients may be alike
    assert few.issues == ()


def test_copies_are_named_where_one_modality_lacks():
    parts = {"a": "train", "a-again": "test", "b": "test"}
    inferior = codes({"a": 1, "a-again": 1, "b": 2}, 8)
    issues = joined(inferior, codes({}, 1), parts, dict.fromkeys(parts, "G")).issues
    assert {issue.kind: issue.case_ids for issue in issues}["copies across parts"] == ("a-again",)


def test_each_kind_of_issue_is_counted_and_named():
    parts = dict.fromkeys(["ok", "only-i", "only-s", "no-label", "no-code", "dup-i", "nan-s"], "train")
    labels = dict.fromkeys(["ok", "only-i", "only-s", "dup-i", "nan-s", "unsplit", "just-label"], "G")
    inferior = codes([("ok", 1), ("only-i", 2), ("no-label", 3), ("dup-i", 4), ("dup-i", 5), ("unsplit", 6)], 3)
    superior = codes([("ok", 1), ("only-s", 2), ("no-label", 3), ("nan-s", np.nan), ("inf-s", np.inf)], 2)
    paired = joined(inferior, superior, parts, labels)
    assert paired.case_ids == ("no-label", "ok", "only-i", "only-s")
    assert {issue.kind: issue.case_ids for issue in paired.issues} == {
        "duplicate inferior": ("dup-i",),
        "NaN superior": ("inf-s", "nan-s"),
        "without superior": ("only-i",),
        "without inferior": ("only-s",),
        "without label": ("no-label",),
        "without code": ("dup-i", "nan-s", "no-code"),
        "not in split": ("unsplit",),
        "label without code": ("dup-i", "just-label", "nan-s"),
    }
    sentences = {issue.kind: issue.sentence for issue in paired.issues}
    assert sentences["without code"] == ("3 cases are in the split but have no usable code: dup-i, nan-s, no-code")
    assert "such as dup-i: I3, I4" in sentences["duplicate inferior"]
    assert "keep one image per case or pool them" in sentences["duplicate inferior"]


def test_masks_hold_nan_where_a_modality_is_missing():
    paired = joined(codes({"a": 1}, 3), codes({"b": 2}, 2), {"a": "train", "b": "val"}, {"a": "O"})
    assert paired.has_inferior.tolist() == [True, False]
    assert paired.has_superior.tolist() == [False, True]
    assert paired.labels.tolist() == [1, -1]
    assert np.isnan(paired.inferior_nd[1]).all()
    assert np.isnan(paired.superior_nd[0]).all()
    assert paired.inferior_nd[0].tolist() == [1, 1, 1]


def test_long_lists_of_cases_are_shortened_in_the_sentence_only():
    paired = joined(codes({}, 3), codes({}, 2), {f"C{i}": "train" for i in range(9)}, {})
    (issue,) = paired.issues
    assert issue.sentence == "9 cases are in the split but have no usable code: C0, C1, C2, …"
    assert len(issue.case_ids) == 9
    assert paired.inferior_nd.shape == (0, 3)
    assert paired.superior_nd.shape == (0, 2)


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(InvalidInputError, match=r"case a has the label 'X'.*grade \(G, O\); correct the labels"):
        joined(codes({"a": 1}, 3), codes({}, 2), {"a": "train"}, {"a": "X"})


CASES = [f"C{i:02d}" for i in range(12)]
coded = st.lists(
    st.tuples(st.sampled_from(CASES), st.one_of(st.just(np.nan), st.integers(-5, 5).map(float))), max_size=14
)


@settings(max_examples=150)
@given(
    inferior=coded,
    superior=coded,
    parts=st.dictionaries(st.sampled_from(CASES), st.sampled_from(PARTS)),
    labels=st.dictionaries(st.sampled_from(CASES), st.sampled_from(CLASSES)),
)
def test_every_case_is_a_row_or_named_in_an_issue(inferior, superior, parts, labels):
    i_codes, s_codes = codes(inferior, 3), codes(superior, 2)
    paired = joined(i_codes, s_codes, parts, labels)
    seen = {case for case, _ in [*inferior, *superior]} | set(parts) | set(labels)
    named = {case for issue in paired.issues for case in issue.case_ids}
    assert set(paired.case_ids) | named == seen
    assert list(paired.case_ids) == sorted(paired.case_ids)
    assert set(paired.case_ids) <= set(parts)

    for name, source, matrix_nd, has in (
        ("inferior", inferior, paired.inferior_nd, paired.has_inferior),
        ("superior", superior, paired.superior_nd, paired.has_superior),
    ):
        values: dict[str, list[float]] = {}
        for case, value in source:
            values.setdefault(case, []).append(value)
        usable = {case: v[0] for case, v in values.items() if len(v) == 1 and np.isfinite(v[0])}
        assert {case for case, there in zip(paired.case_ids, has, strict=True) if there} == usable.keys() & parts.keys()
        for case, there, row in zip(paired.case_ids, has, matrix_nd, strict=True):
            assert np.array_equal(row, np.full(len(row), usable[case] if there else np.nan), equal_nan=True)
        doubled = {case for case, v in values.items() if len(v) > 1}
        kinds = {issue.kind: set(issue.case_ids) for issue in paired.issues}
        assert kinds.get(f"duplicate {name}", set()) == doubled
        assert kinds.get(f"NaN {name}", set()) == values.keys() - usable.keys() - doubled
    for case, part, label in zip(paired.case_ids, paired.parts, paired.labels, strict=True):
        assert part == parts[case]
        assert label == (CLASSES.index(labels[case]) if case in labels else -1)
    for issue in paired.issues:
        assert issue.case_ids
        assert issue.sentence.startswith(f"{len(issue.case_ids)} cases ")


def test_pair_reads_a_snapshot(store):
    cases = ["C1", "C2", "C3"]
    commit_cohort(store, {"C1": "O", "C2": "G"}, {"C1": "train", "C2": "val", "C3": "test"})
    z_I = CaseCodes(tuple(cases), np.arange(12, dtype=np.float32).reshape(3, 4), (), mri_key())
    z_S = CaseCodes(("C3", "C1"), np.arange(12, dtype=np.float32).reshape(2, 6), (), slide_key())
    commit_codes(store, z_I)
    commit_codes(store, z_S)
    names = {"inferior": "mri_t1/densenet", "superior": slide_key()}
    paired = pair(store.snapshot(), cohort="glioma", target="grade", split="published", fold=0, **names)
    assert (paired.snapshot, paired.target, paired.classes) == (3, "grade", ("G", "O"))
    assert (paired.inferior_key, paired.superior_key) == (mri_key(), slide_key())
    assert paired.case_ids == tuple(cases)
    assert paired.inferior_nd.tobytes() == z_I.codes_nd.tobytes()
    assert paired.superior_nd[[0, 2]].tolist() == [[6, 7, 8, 9, 10, 11], [0, 1, 2, 3, 4, 5]]
    assert paired.labels.tolist() == [1, 0, -1]
    assert paired.parts.tolist() == ["train", "val", "test"]
    with pytest.raises(NotFoundInStoreError, match="no target 'stage'; it has grade"):
        pair(store.snapshot(), cohort="glioma", target="stage", split="published", fold=0, **names)
    with pytest.raises(NotFoundInStoreError, match="no fold 3 of split 'published'; it has published/0"):
        pair(store.snapshot(), cohort="glioma", target="grade", split="published", fold=3, **names)


def test_codes_of_another_fold_are_refused_not_warned_about(store):
    commit_cohort(store, {"C1": "G"}, {"C1": "train"})
    commit_cohort(store, {"C1": "G"}, {"C1": "test"}, fold=1)
    trained = mri_key(trained_on=FoldScope.of("glioma", "published", 0))
    for key in (trained, slide_key()):
        commit_codes(store, CaseCodes(("C1",), np.ones((1, key.code_dim), np.float32), (), key))
    rest = {"cohort": "glioma", "target": "grade", "split": "published"}
    for inferior in (trained, trained.name, trained.name.within, "mri_t1/densenet"):
        assert len(pair(store.snapshot(), **rest, inferior=inferior, superior=slide_key(), fold=0)) == 1
        with pytest.raises(FoldLeakageError, match=r"trained on glioma/published/0.*encode this fold"):
            pair(store.snapshot(), **rest, inferior=inferior, superior=slide_key(), fold=1)
        with pytest.raises(FoldLeakageError):
            pair(store.snapshot(), **rest, inferior=slide_key(), superior=inferior, fold=1)


def test_bags_and_other_cohorts_are_refused(store):
    commit_bag(store, make_bag(3))
    commit_codes(store, CaseCodes(("C1",), np.ones((1, 4), np.float32), (), mri_key("derm")))
    rest = {"cohort": "glioma", "target": "grade", "split": "published", "fold": 0}
    with pytest.raises(InvalidInputError, match="holds bags; pool them"):
        pair(store.snapshot(), **rest, inferior=bag_key(), superior=slide_key())
    with pytest.raises(InvalidInputError, match="is of another cohort than glioma"):
        pair(store.snapshot(), **rest, inferior=mri_key("derm"), superior=slide_key())


def test_a_case_in_two_parts_is_refused(store):
    commit_cohort(store, {}, {"C1": "train", "C2": "val"})
    commit_cohort(store, {}, {"C1": "train", "C3": "test"})
    assert parts_of(store.snapshot(), "glioma", "published", 0) == {"C1": "train", "C2": "val", "C3": "test"}
    commit_cohort(store, {}, {"C1": "test"})
    with pytest.raises(InvalidInputError, match=r"case C1 stands in train and in test of glioma/published/0"):
        parts_of(store.snapshot(), "glioma", "published", 0)


def test_a_case_that_the_fold_does_not_assign_has_no_part(store):
    commit_cohort(store, {}, {"C1": "train", "C2": ""})
    assert parts_of(store.snapshot(), "glioma", "published", 0) == {"C1": "train"}


def test_classes_keep_their_order_and_labels_are_corrected_by_superseding(store):
    commit_cohort(store, {"C1": "O", "C2": ""}, {"C1": "train"}, classes=("Z", "O", "A"))
    assert labels_of(store.snapshot(), "glioma", "grade") == (("Z", "O", "A"), {"C1": "O"})
    with store.begin() as transaction:  # the same order again, in a file of its own, is no contradiction
        transaction.write_rows(
            "targets",
            [{"cohort": "glioma", "target": "grade", "class_index": i, "class": c} for i, c in enumerate("ZOA")],
            cohort="glioma",
            recipe={"again": 1},
        )
    (before,) = store.snapshot().entries(kind="rows:labels")
    corrected = [{"cohort": "glioma", "case_id": "C1", "target": "grade", "class": "A"}]
    with store.begin() as transaction:
        artifact = transaction.write_rows("labels", corrected, cohort="glioma")
        transaction.replace(before, by=artifact)
    assert labels_of(store.snapshot(), "glioma", "grade") == (("Z", "O", "A"), {"C1": "A"})
    assert labels_of(store.snapshot(1), "glioma", "grade")[1] == {"C1": "O"}
    (after,) = store.snapshot().entries(kind="rows:labels")
    assert after.supersedes == (before.artifact,)
    assert EmbeddingStore.open(store.storage.root).snapshot().entry(artifact) == after


def test_of_two_labels_that_do_not_supersede_each_other_none_counts(store):
    commit_cohort(store, {"C1": "O"}, {"C1": "train"})
    commit_cohort(store, {"C1": "G"}, {})
    with pytest.raises(InvalidInputError, match="case C1 of cohort glioma has two labels of target grade, O and G"):
        labels_of(store.snapshot(), "glioma", "grade")


@pytest.mark.parametrize("kind", ["value", "survival", "multilabel"])
def test_a_target_without_one_class_per_case_is_told(store, kind):
    commit_cohort(store, {"C1": "O"}, {"C1": "train"})
    with store.begin() as transaction:
        transaction.write_rows(
            "targets", [{"cohort": "glioma", "target": "age", "kind": kind, "unit": "years"}], cohort="glioma"
        )
        transaction.write_rows(
            "labels", [{"cohort": "glioma", "case_id": "C1", "target": "age", "value": 61.5}], cohort="glioma"
        )
    snapshot = store.snapshot()
    assert class_targets(snapshot, "glioma") == ["grade"]
    with pytest.raises(InvalidInputError, match=f"target age of cohort glioma is of kind {kind}, .*classes: grade"):
        labels_of(snapshot, "glioma", "age")
    assert labels_of(snapshot, "glioma", "grade")[1] == {"C1": "O"}


def _both_codes(store: EmbeddingStore, *cases: str) -> None:
    for key in (mri_key(), slide_key()):
        commit_codes(store, CaseCodes(cases, np.ones((len(cases), key.code_dim), np.float32), (), key))


def test_outcomes_of_every_kind_come_with_the_pairs(store):
    commit_cohort(store, {}, dict.fromkeys(("C1", "C2", "C3"), "train"))
    labels = [
        {"case_id": "C1", "target": "stage", "class": "II"},
        {"case_id": "C2", "target": "size", "value": 12.5},
        {"case_id": "C1", "target": "os", "time": 30.0, "event": True},
        {"case_id": "C2", "target": "os", "time": 7.5, "event": False},
        {"case_id": "C1", "target": "found", "class": "mass", "value": 1.0},
        {"case_id": "C1", "target": "found", "class": "cyst", "value": 0.0},
        {"case_id": "C2", "target": "found", "class": "mass", "value": 0.0},
    ]
    targets = [
        {"target": "stage", "class_index": 0, "class": "I", "kind": "ordinal"},
        {"target": "stage", "class_index": 1, "class": "II", "kind": "ordinal"},
        {"target": "size", "kind": "value", "unit": "mm"},
        {"target": "os", "kind": "survival", "unit": "months"},
        {"target": "found", "class_index": 0, "class": "cyst", "kind": "multilabel"},
        {"target": "found", "class_index": 1, "class": "mass", "kind": "multilabel"},
    ]
    with store.begin() as transaction:
        transaction.write_rows("targets", [{"cohort": "glioma", **row} for row in targets], cohort="glioma")
        transaction.write_rows("labels", [{"cohort": "glioma", **row} for row in labels], cohort="glioma")
    _both_codes(store, "C1", "C2", "C3")
    snapshot = store.snapshot()
    assert targets_of(snapshot, "glioma")["os"] == Target("os", "survival", unit="months")

    def y_of(target: str):
        paired = pair(
            snapshot, cohort="glioma", target=target, inferior=mri_key(), superior=slide_key(), split="published",
            fold=0, kinds=KINDS,
        )  # fmt: skip
        assert paired.is_pair.tolist() == [True, True, True]
        return paired

    nan = np.nan
    np.testing.assert_array_equal(y_of("stage").y, [1, -1, -1])
    np.testing.assert_array_equal(y_of("size").y, [nan, 12.5, nan])
    np.testing.assert_array_equal(y_of("os").y, [[30, 1], [7.5, 0], [nan, nan]])
    np.testing.assert_array_equal(y_of("found").y, [[0, 1], [nan, 0], [nan, nan]])
    found = y_of("found")
    assert (found.kind, found.classes, found.has_label.tolist()) == (
        "multilabel",
        ("cyst", "mass"),
        [True, True, False],
    )
    assert (y_of("size").unit, y_of("os").labels.tolist()) == ("mm", [-1, -1, -1])
    hidden = y_of("os").with_y(np.full((3, 2), nan))
    assert hidden.kind == "survival"
    assert not hidden.has_label.any()


@pytest.mark.parametrize(
    ("kind", "row", "sentence"),
    [
        ("survival", {"time": 0.0, "event": True}, r"case C1 \(\[0.0, 1.0\]\) has a time that is not above 0"),
        ("survival", {"time": float("inf"), "event": False}, "not above 0"),
        ("value", {"value": float("inf")}, "is infinite"),
        ("ordinal", {"class": "III"}, "label 'III', which is no class of target t"),
    ],
)
def test_an_outcome_that_cannot_be_is_refused_with_its_case(store, kind, row, sentence):
    commit_cohort(store, {}, {"C1": "train"})
    target: dict[str, Any] = {"cohort": "glioma", "target": "t", "kind": kind}
    if kind == "ordinal":
        target |= {"class_index": 0, "class": "I"}
    with store.begin() as transaction:
        transaction.write_rows("targets", [target], cohort="glioma")
        transaction.write_rows("labels", [{"cohort": "glioma", "case_id": "C1", "target": "t", **row}], cohort="glioma")
    _both_codes(store, "C1")
    with pytest.raises(InvalidInputError, match=sentence):
        pair(
            store.snapshot(), cohort="glioma", target="t", inferior=mri_key(), superior=slide_key(), split="published",
            fold=0, kinds=KINDS,
        )  # fmt: skip


def test_two_orders_of_classes_are_refused(store):
    commit_cohort(store, {}, {}, classes=("G", "O"))
    commit_cohort(store, {}, {}, classes=("O", "G"))
    with pytest.raises(InvalidInputError, match="several class orders"):
        labels_of(store.snapshot(), "glioma", "grade")


def test_codes_that_are_there_and_unusable_are_told_in_place_of_advice():
    values_nd = np.array([[1.0], [2.0], [np.nan]], np.float32)
    inferior = CaseCodes(("A", "A", "B"), values_nd, ("a1", "a2", "B"))
    superior = CaseCodes(("A", "B"), np.ones((2, 1), np.float32))
    target = Target("t", names=("x", "y"))
    names: Any = {"cohort": "c", "split": "s", "fold": 0, "target": target, "outcomes": {"A": "x"}}
    paired = join(inferior, superior, parts={"A": "train", "B": "train"}, **names)
    told = paired.why_unpaired("materialize both")
    assert "have several inferior codes (such as A: a1, a2)" in told
    assert "NaN or infinity" in told
    assert "materialize" not in told
    assert (
        join(superior, superior, parts={"A": "train"}, **names).why_unpaired("materialize both") == "materialize both"
    )
