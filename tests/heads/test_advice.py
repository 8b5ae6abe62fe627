"""Advice on simulations of known truth: which row, the sign of its gain, and what it may not see."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.work.threads import one_thread
from guidestore.heads.advice.advise import advise
from guidestore.heads.advice.areas import OVERLAP, Gain, area
from guidestore.heads.advice.codes import MOST_COLUMNS, together, training_set
from guidestore.heads.kernels.scoring import auroc
from tests.heads.test_references import weak


def test_an_area_is_sklearns_and_its_error_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    for k in (2, 3):
        labels = rng.integers(k, size=150)
        good, bad = (rng.normal(size=(150, k)) + d * np.eye(k)[labels] for d in (1.0, 0.6))
        bad = 0.5 * good + bad
        found = [area(labels, said[None]) for said in (good, bad)]
        for of, said in zip(found, (good, bad), strict=True):
            columns = {1: said[:, 1] - said[:, 0]} if k == 2 else dict(enumerate(said.T))
            assert of.value == pytest.approx(np.mean([roc_auc_score(labels == c, x) for c, x in columns.items()]))
        gain = Gain.of(*found)
        assert gain.value == pytest.approx(found[0].value - found[1].value)
        drawn = [rng.integers(150, size=150) for _ in range(400)]
        spread = np.std([auroc(labels[rows], good[rows]) - auroc(labels[rows], bad[rows]) for rows in drawn])
        assert gain.error == pytest.approx(OVERLAP * spread, rel=0.15)


def test_a_teacher_that_knows_the_odds_is_advised_and_what_it_gains() -> None:
    """S mediates: y depends on h alone, which z_S nearly is. Measured gains of M(I) are .05 and more (test_margins)."""
    for seed in range(3):
        advice = advise([weak(seed)])
        assert advice.row in ("M(I)", "P(I)", "G(I)+I")
        assert advice.gain
        assert advice.gain.low < advice.gain.value < advice.gain.high
        assert advice.gain.value > 0.01
        assert advice.mediates
        assert not advice.saturated
        assert advice.areas["S"] > advice.areas["I"] + 0.05
        assert f"Try {advice.row}: expect +0." in advice.sentences[-1]
        assert "135 test cases could show a gain of 0." in advice.sentences[-1]


def test_unlabelled_pairs_make_label_transfer_a_candidate() -> None:
    advice = advise([weak(0, n=900, labelled=40, unlabelled=400)])
    assert (advice.n_labelled, advice.n_pairs, advice.n_unlabelled_pairs, advice.n_archive) == (40, 440, 400, 0)
    assert advice.row in ("M(I)", "P(I)", "T(I)", "G(I)+I")
    assert advice.gain
    assert advice.gain.value > 0.02


def test_noise_for_s_is_not_advised() -> None:
    for seed in range(2):
        paired = weak(seed)
        noise = np.random.default_rng(seed).normal(size=paired.superior_nd.shape).astype(np.float32)
        advice = advise([dataclasses.replace(paired, superior_nd=noise)])
        assert not advice.row
        assert advice.gain
        assert advice.gain.includes_zero
        assert "Expect no guidance to help" in advice.sentences[-1]


def test_a_saturated_s_wrong_labels_and_a_copy_are_said() -> None:
    paired = weak(0, n=700, labelled=300)
    labels = (paired.superior_nd.sum(axis=1) > 0).astype(np.int64)
    clean = dataclasses.replace(paired, labels=np.where(paired.labels >= 0, labels, -1))
    advice = advise([clean])
    assert advice.saturated
    assert "all but settles the label" in advice.sentences[1]
    flipped = np.random.default_rng(0).random(len(labels)) < 0.25
    wrong = advise([dataclasses.replace(clean, labels=np.where(flipped, 1 - clean.labels, clean.labels))])
    assert advice.doubted is not None
    assert wrong.doubted is not None
    assert advice.doubted < 0.1
    assert 0.15 < wrong.doubted < 0.35
    copy = advise([dataclasses.replace(clean, superior_nd=clean.inferior_nd)])
    assert copy.redundant
    assert not copy.row
    assert "since z_S is z_I again" in copy.sentences[-1]


def test_val_test_and_their_labels_are_not_read() -> None:
    paired = weak(1)
    test = paired.parts == "test"
    other = dataclasses.replace(
        paired,
        labels=np.where(test, 1 - paired.labels, paired.labels),
        inferior_nd=np.where(test[:, None], 9.0, paired.inferior_nd).astype(np.float32),
    )
    assert advise([paired]) == advise([other])


def five_folds(paired: PairedCodes) -> list[PairedCodes]:
    order = np.arange(len(paired)) % 5
    return [
        dataclasses.replace(paired, fold=f, parts=np.where(order == f, "test", "train")) for f in range(5)
    ]  # fmt: skip


def test_folds_are_taken_together_where_their_codes_are_the_same() -> None:
    folds = five_folds(weak(2, labelled=150))
    (one,) = together(folds)
    assert one.case_ids == folds[0].case_ids
    assert set(one.parts.tolist()) == {"train"}
    own = [dataclasses.replace(fold, superior_nd=fold.superior_nd + fold.fold) for fold in folds[:2]]
    apart = together(own)
    assert [len(of) for of in apart] == [int((fold.parts == "train").sum()) for fold in own]
    advice, by_fold = advise(folds), advise(own)
    assert advice.n_test == len(one)
    assert by_fold.gain
    assert by_fold.n_test < advice.n_test


def test_a_budget_shows_so_many_labels_and_asks_of_all() -> None:
    paired = together([weak(0, labelled=200)])[0]
    of = training_set(paired, 30, seed=0)
    for splits in of.repeats:
        assert sorted(np.concatenate([split.held_n for split in splits])) == list(range(200))
        for split in splits:
            assert len(split.fit_n) == 30
            assert not np.intersect1d(split.fit_n, split.held_n).size
            assert np.bincount(paired.labels[split.fit_n]).min() == 15
    advice = advise([weak(0, labelled=200)], labelled=30)
    assert (advice.n_labelled, advice.n_unlabelled_pairs) == (30, 170)
    assert advice.areas["I"] < advise([weak(0, labelled=200)]).areas["I"]
    archive = dataclasses.replace(paired, has_inferior=np.arange(len(paired)) % 40 < 2)
    with pytest.raises(InvalidInputError, match="fewer than 2 labelled pairs to learn from; label more"):
        advise([archive], labelled=2)
    with pytest.raises(InvalidInputError, match="170 labels are asked for, but inner cross-validation leaves 160"):
        advise([weak(0, labelled=200)], labelled=170)


def test_too_few_labels_or_pairs_foretell_nothing() -> None:
    paired = weak(0)
    one = np.flatnonzero((paired.labels == 1) & (paired.parts == "train"))
    few = dataclasses.replace(paired, labels=np.where(np.isin(np.arange(len(paired)), one[1:]), -1, paired.labels))
    advice = advise([few])
    assert advice.gain is None
    assert "label at least two pairs of every class" in advice.sentences[-1]
    half = np.arange(len(paired)) % 2 == 0
    apart = advise([dataclasses.replace(paired, has_inferior=half, has_superior=~half)])
    assert apart.n_pairs == 0
    assert "without pairs" in apart.sentences[-1]
    with pytest.raises(InvalidInputError, match="no train case has a usable superior code; materialize it"):
        advise([dataclasses.replace(paired, has_superior=paired.parts != "train")])
    with pytest.raises(InvalidInputError, match="fewer than 2 classes"):
        advise([dataclasses.replace(paired, classes=("one",), labels=np.zeros(len(paired), dtype=np.int64))])


def test_three_classes_missing_codes_and_an_archive() -> None:
    paired = weak(3, n=600, labelled=300)
    rng, n = np.random.default_rng(0), len(paired)
    labels = np.digitize(paired.superior_nd.sum(axis=1) + rng.normal(size=n), [-1.0, 1.0])
    lacks_i, lacks_s = rng.random(n) < 0.15, rng.random(n) < 0.15
    z_i, z_s = paired.inferior_nd.copy(), paired.superior_nd.copy()
    z_i[lacks_i], z_s[lacks_s] = np.nan, np.nan
    advice = advise([
        dataclasses.replace(
            paired, classes=("a", "b", "c"), labels=labels, inferior_nd=z_i, superior_nd=z_s,
            has_inferior=~lacks_i, has_superior=~lacks_s,
        )
    ])  # fmt: skip
    train = paired.parts == "train"
    assert advice.n_archive == int((train & lacks_i & ~lacks_s).sum())
    assert advice.n_pairs == int((train & ~lacks_i & ~lacks_s).sum())
    assert advice.gain
    assert advice.areas["S"] > advice.areas["I"]


def large(n: int, d: int) -> PairedCodes:
    rng = np.random.default_rng(0)
    h = rng.normal(size=(n, 4))
    yes = np.ones(n, bool)
    return PairedCodes(
        cohort="toy", split="drawn", fold=0, target="y", classes=("no", "yes"),
        case_ids=tuple(f"case-{i}" for i in range(n)),
        inferior_nd=(h @ rng.normal(size=(4, d)) + 3 * rng.normal(size=(n, d))).astype(np.float32),
        superior_nd=(h @ rng.normal(size=(4, d)) + rng.normal(size=(n, d))).astype(np.float32),
        has_inferior=yes, has_superior=yes, labels=(h.sum(axis=1) + rng.normal(size=n) > 0).astype(np.int64),
        parts=np.repeat("train", n),
    )  # fmt: skip


def test_long_codes_are_read_in_their_principal_directions() -> None:
    for n, d in ((300, 250), (230, 400)):
        of = training_set(large(n, d), None, seed=0)
        assert of.codes["I"].shape == (n, MOST_COLUMNS)
        kept = (of.codes["I"] ** 2).sum(axis=1).mean()
        assert 0.8 < kept < 1.0  # of a mean squared norm of 1


@pytest.mark.slow
def test_two_thousand_cases_of_1024_columns_cost_less_than_five_seconds() -> None:
    paired = large(2_000, 1_024)
    start = time.process_time()
    with one_thread():  # as the command does
        assert advise([paired]).gain
    assert time.process_time() - start < 5
