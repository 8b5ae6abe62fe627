"""Splits of outcomes of every kind: balanced, seeded, grouped, and honest about what a part lacks."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import Target
from guidestore.warehouse.cohorts.iterative import deal
from guidestore.warehouse.cohorts.outcome_splits import draw_outcome_splits
from guidestore.warehouse.cohorts.splits import Split

IDS = [f"P{i:03d}" for i in range(200)]
RNG = np.random.default_rng(7)
VALUE, SURVIVAL, GRADE = Target("age", "value"), Target("os", "survival"), Target("g", "ordinal", ("1", "2", "3", "4"))
FOUND = Target("found", "multilabel", ("a", "b", "c"))
VALUES = dict(zip(IDS[:180], RNG.lognormal(size=180).tolist(), strict=True))
TIMES = {
    case: (float(t), bool(e))
    for case, t, e in zip(IDS[:180], RNG.exponential(20, 180), RNG.random(180) < 0.2, strict=True)
}
LABELS = {case: {"a": i % 2 == 0, "b": i % 7 == 0, "c": i % 23 == 0} for i, case in enumerate(IDS[:180])}
GRADES = {case: "1" if i < 3 else "234"[i % 3] for i, case in enumerate(IDS[:180])}
SPLIT = Split("cv5", 5, 3)


def held_out(rows: list[dict], known: set[str]) -> dict[int, list[str]]:
    folds: dict[int, list[str]] = defaultdict(list)
    seen: Counter[tuple[int, str]] = Counter()
    for row in rows:
        seen[row["fold"], row["case_id"]] += 1
        if row["part"] == "test":
            folds[row["fold"]].append(row["case_id"])
        if row["case_id"] not in known:
            assert row["part"] == "train"
    assert set(seen.values()) == {1}
    assert Counter(case for of in folds.values() for case in of) == dict.fromkeys(known, 1)
    return folds


def test_each_fold_has_its_share_of_values():
    rows, issues = draw_outcome_splits(IDS, VALUE, VALUES, SPLIT)
    assert issues == []
    assert "by 10 bins of age" in rows[0]["origin"]
    deciles = np.quantile(list(VALUES.values()), np.linspace(0.1, 0.9, 9))
    for cases in held_out(rows, set(VALUES)).values():
        of_decile = np.bincount(np.searchsorted(deciles, [VALUES[case] for case in cases]), minlength=10)
        assert of_decile.min() >= 3
        assert of_decile.max() <= 5
    assert draw_outcome_splits(reversed(IDS), VALUE, VALUES, SPLIT)[0] == rows
    assert draw_outcome_splits(IDS, VALUE, VALUES, Split("cv5", 5, 4))[0] != rows


def test_each_fold_has_its_share_of_events_early_and_late():
    rows, issues = draw_outcome_splits(IDS, SURVIVAL, TIMES, SPLIT)
    assert issues == []
    assert "by event and" in rows[0]["origin"]
    events = sum(event for _, event in TIMES.values())
    median = np.median([time for time, event in TIMES.values() if event])
    for cases in held_out(rows, set(TIMES)).values():
        its = [TIMES[case][0] for case in cases if TIMES[case][1]]
        assert abs(len(its) - events / 5) < 2
        assert min(its) < median < max(its)


@pytest.mark.parametrize("n_events", [6, 9, 11])
def test_few_events_are_shared_out_to_all_parts(n_events):
    """By bins of time too, no fold's val would have had one."""
    for seed in range(5):
        happened = np.random.default_rng(seed).permutation(90) < n_events
        times = {case: (1.0 + i, bool(happened[i])) for i, case in enumerate(IDS[:90])}
        rows, issues = draw_outcome_splits(IDS[:90], SURVIVAL, times, Split("cv3", 3, seed))
        assert issues == []
        parts = {(row["fold"], row["part"]) for row in rows if times[row["case_id"]][1]}
        assert len(parts) == 9


def test_each_fold_has_its_share_of_each_label():
    rows, issues = draw_outcome_splits(IDS, FOUND, LABELS, SPLIT)
    assert issues == []
    for cases in held_out(rows, set(LABELS)).values():
        assert abs(len(cases) - 36) <= 2
        for name in FOUND.names:
            assert abs(sum(LABELS[case][name] for case in cases) - sum(of[name] for of in LABELS.values()) / 5) <= 1


def test_grades_that_are_rare_go_with_their_neighbours():
    rows, issues = draw_outcome_splits(IDS, GRADE, GRADES, SPLIT)
    assert "rare ones with their neighbours" in rows[0]["origin"]
    assert "has no 1 in test" in issues[0].sentence
    for cases in held_out(rows, set(GRADES)).values():
        counts = Counter(GRADES[case] for case in cases)
        assert all(abs(counts[grade] - 59 / 5) <= 2 for grade in "234")


@pytest.mark.parametrize(("target", "outcomes"), [(VALUE, VALUES), (SURVIVAL, TIMES), (FOUND, LABELS), (GRADE, GRADES)])
def test_groups_stay_together_whatever_the_outcome(target, outcomes):
    groups = {case: f"g{i // 2}" for i, case in enumerate(IDS)}
    rows, _ = draw_outcome_splits(IDS, target, outcomes, Split("g", 3, 1), groups=groups, grouped_by="patient")
    parts: dict[tuple[int, str], set[str]] = defaultdict(set)
    for row in rows:
        parts[row["fold"], groups[row["case_id"]]].add(row["part"])
    assert len(parts) == 300
    assert all(len(of) == 1 for of in parts.values())
    assert set(held_out(rows, set(outcomes))) == {0, 1, 2}
    assert "grouped by patient" in rows[0]["origin"]
    with pytest.raises(InvalidInputError, match="1 case without patient"):
        draw_outcome_splits(IDS, target, outcomes, SPLIT, groups=groups | {"P000": ""}, grouped_by="patient")


@pytest.mark.parametrize(
    ("target", "outcomes", "sentence"),
    [
        (VALUE, dict.fromkeys(IDS, 3.0), "all 200 cases have the value 3 of age, so that nothing can be learnt"),
        (VALUE, {case: float(i) for i, case in enumerate(IDS[:9])}, "9 cases of age, too few for 5 folds"),
        (SURVIVAL, dict.fromkeys(IDS, (3.0, False)), "all 200 cases of os are censored"),
        (SURVIVAL, {case: (3.0, i < 4) for i, case in enumerate(IDS)}, "os has 4 events, too few for 5 folds"),
        (FOUND, {}, "no case has a label"),
    ],
)
def test_what_cannot_be_drawn_gives_a_sentence(target, outcomes, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        draw_outcome_splits(IDS, target, outcomes, SPLIT)


def test_a_part_without_events_is_told():
    groups = {case: f"g{i % 12}" for i, case in enumerate(IDS)}
    outcomes = {case: (1.0 + i, i % 12 == 0) for i, case in enumerate(IDS)}
    rows, issues = draw_outcome_splits(IDS, SURVIVAL, outcomes, Split("s", 3, 0), groups=groups, grouped_by="clinic")
    lacking = {
        (row["fold"], part) for row in rows for part in ("train", "val", "test")
    } - {(row["fold"], row["part"]) for row in rows if outcomes[row["case_id"]][1]}  # fmt: skip
    assert lacking
    assert all(f"fold {fold} has no event in {part}" in issues[0].sentence for fold, part in lacking)


def test_labels_are_dealt_as_the_paper_has_it():
    # Each fold gets its share of the rarest label first, whatever the others are.
    rng = np.random.default_rng(0)
    counts = (rng.random((1000, 6)) < np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.02])).astype(float)
    folds = deal(counts, np.ones(1000), np.full(10, 0.1), rng)
    assert np.abs(np.bincount(folds) - 100).max() <= 5
    got = np.stack([counts[folds == fold].sum(axis=0) for fold in range(10)])
    assert np.abs(got - counts.sum(axis=0) / 10).max() <= 2.5
