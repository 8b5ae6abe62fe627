"""Drawn splits: stratified, seeded, independent of order, every labelled case in test once."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.splits import Split, draw_fixed_splits, draw_splits, keep_standing

IDS = [f"case_{number:03d}" for number in range(120)]
LABELS = {case: "GGGOOA"[number % 6] for number, case in enumerate(IDS[:100])}


def by_fold(rows: list[dict]) -> dict[int, dict[str, str]]:
    folds: dict[int, dict[str, str]] = {}
    for row in rows:
        assert folds.setdefault(row["fold"], {}).setdefault(row["case_id"], row["part"]) == row["part"]
    return folds


def test_folds_cover_everyone_and_keep_the_classes():
    folds = by_fold(draw_splits(IDS, LABELS, Split("drawn", 5, 1, 0.25)))
    assert sorted(folds) == [0, 1, 2, 3, 4]
    tested = Counter(case for parts in folds.values() for case, part in parts.items() if part == "test")
    assert tested == dict.fromkeys(IDS[:100], 1)
    for parts in folds.values():
        assert set(parts) == set(IDS)
        assert {parts[case] for case in IDS[100:]} == {"train"}
        sizes = Counter(parts[case] for case in LABELS)
        assert sizes == {"train": 60, "val": 20, "test": 20}
        classes = Counter((parts[case], label) for case, label in LABELS.items())
        assert all(abs(classes["test", label] - count / 5) < 1 for label, count in Counter(LABELS.values()).items())
        assert all(abs(classes["val", label] - count / 5) <= 1 for label, count in Counter(LABELS.values()).items())


def test_order_does_not_matter_and_the_seed_does():
    shuffled = IDS.copy()
    random.Random(3).shuffle(shuffled)
    labels = {case: LABELS[case] for case in shuffled if case in LABELS}
    first = draw_splits(IDS, LABELS, Split("drawn", 4, 7))
    assert draw_splits(shuffled, labels, Split("drawn", 4, 7)) == first
    assert draw_splits(IDS, LABELS, Split("drawn", 4, 8)) != first
    assert "seed 7" in first[0]["origin"]
    assert "stratified 4 folds" in first[0]["origin"]


def test_fixed_sizes_as_in_radpath():
    ids = [f"case_{number:03d}" for number in range(221)]
    labels = dict(zip(ids, ["G"] * 133 + ["O"] * 34 + ["A"] * 54, strict=True))
    folds = by_fold(draw_fixed_splits(ids, labels, name="five", sizes=(165, 28, 28), folds=range(5), seed=0))
    assert len(folds) == 5
    tests = set()
    for parts in folds.values():
        assert Counter(parts.values()) == {"train": 165, "val": 28, "test": 28}
        assert Counter(labels[case] for case, part in parts.items() if part == "test") == {"G": 17, "O": 4, "A": 7}
        tests.add(frozenset(case for case, part in parts.items() if part == "test"))
    assert len(tests) == 5
    alone = draw_fixed_splits(ids, labels, name="five", sizes=(165, 28, 28), folds=[3], seed=0)
    assert by_fold(alone) == {3: folds[3]}
    assert "seed 0 + fold 3, 221 labelled cases" in alone[0]["origin"]
    assert draw_fixed_splits(ids, labels, name="five", sizes=(165, 28, 28), folds=[], seed=0) == []


def test_folds_that_stand_are_kept():
    def rows(origin: str, **parts: str) -> list[dict]:
        return [
            {"split": "s", "fold": 0, "case_id": case, "part": part, "origin": origin} for case, part in parts.items()
        ]

    drawn, given = "drawn: stratified draw, seed 1 + fold 0, 9 labelled cases", "given: a.csv"
    standing = rows(drawn, A="train", B="test")
    today = rows(drawn.replace("9", "10"), A="test", B="train", C="test")
    assert keep_standing(today, standing) == rows(f"{drawn}; this case came later", C="train")
    assert keep_standing(today, []) == today
    assert keep_standing(today, rows(given, A="train")) == []
    assert keep_standing(rows(given, A="train"), rows(given, A="train")) == rows(given, A="train")
    with pytest.raises(InvalidInputError, match="fold 0 of split s stands in the store with seed 1"):
        keep_standing(rows(drawn.replace("seed 1", "seed 2"), A="train"), standing)
    with pytest.raises(InvalidInputError, match="add the cohort under another name"):
        keep_standing(rows(given, A="train"), standing)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: draw_splits(IDS, {}, Split("d", 2, 0)), "no case has a label"),
        (lambda: draw_splits(IDS, LABELS, Split("d", 17, 0)), "class A has 16 cases, too few for 17 folds"),
        (lambda: draw_splits(IDS, LABELS, Split("d", 1, 0)), "at least 2 folds"),
        (lambda: draw_splits(IDS, LABELS, Split("a/b", 2, 0)), "cannot be a split"),
        (
            lambda: draw_fixed_splits(IDS, LABELS, name="d", sizes=(1, 2, 3), folds=[0], seed=0),
            r"1 \+ 2 \+ 3 are 6, but 100 cases have a label",
        ),
        (
            lambda: draw_fixed_splits(IDS, LABELS, name="d", sizes=(98, 1, 1), folds=[0], seed=0),
            "1 cannot be set apart by class; choose another size",
        ),
    ],
)
def test_draws_that_cannot_be_give_a_sentence(call, sentence: str):
    with pytest.raises(InvalidInputError, match=sentence):
        call()


def test_a_group_stays_together_and_the_split_says_so() -> None:
    ids = [f"P{i:03d}" for i in range(120)]
    groups = {case: f"patient-{i // 3}" for i, case in enumerate(ids)}
    labels = {case: "ab"[(i // 3) % 2] for i, case in enumerate(ids) if i % 7}
    rows = draw_splits(ids, labels, Split("g", 4, 3), groups=groups, grouped_by="patient")
    for fold in range(4):
        parts = {row["case_id"]: row["part"] for row in rows if row["fold"] == fold}
        assert set(parts) == set(ids)
        assert set(parts.values()) == {"train", "val", "test"}
        for group in set(groups.values()):
            assert len({parts[case] for case in ids if groups[case] == group}) == 1
        tested = Counter(labels[case] for case in labels if parts[case] == "test")
        assert 0.7 < tested["a"] / tested["b"] < 1.4
    tests = Counter(row["case_id"] for row in rows if row["part"] == "test" and row["case_id"] in labels)
    assert set(tests) == set(labels)
    assert set(tests.values()) == {1}
    assert all("grouped by patient (40 groups)" in row["origin"] for row in rows)
    with pytest.raises(InvalidInputError, match=r"1 case without patient .such as P000."):
        draw_splits(ids, labels, Split("g", 4, 3), groups={**groups, "P000": ""}, grouped_by="patient")
    with pytest.raises(InvalidInputError, match="class a has 20 groups of patient, too few for 20 folds"):
        draw_splits(ids, labels, Split("g", 20, 3), groups=groups, grouped_by="patient")
