from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.guidance.ridge import Ridge
from guidestore.heads.input_rows import ALL_ROWS
from guidestore.heads.metrics import evaluate
from guidestore.heads.prediction import predict_row
from guidestore.heads.rows.train import train_rows
from guidestore.heads.trained import TrainedHead
from tests.heads.counting import CountedLogistic, CountedRidge, offer_counted
from tests.heads.training import job_of, train_one

N = 240
FAST = {"guidance": "ridge", "decoder": "logistic", "seed": 0, "decoder_params": {"Cs": (0.1, 1.0)}}


def make_paired(seed: int = 0, *, masks: bool = True, **changes: object) -> PairedCodes:
    """Three classes; z_S (n, 4) shows them clearly, z_I (n, 6) is a noisy linear view of z_S.

    With masks: every 7th case lacks z_S, every 11th z_I (NaN there), every 5th its label.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, N)
    centres = np.random.default_rng(50).normal(scale=1.5, size=(3, 4))
    superior_nd = (centres[labels] + rng.normal(size=(N, 4))).astype(np.float32)
    mix = np.random.default_rng(51).normal(size=(4, 6))
    inferior_nd = (superior_nd @ mix + 2.0 * rng.normal(size=(N, 6))).astype(np.float32)
    i = np.arange(N)
    has_superior, has_inferior = (i % 7 != 3, i % 11 != 5) if masks else (i >= 0, i >= 0)
    superior_nd[~has_superior] = np.nan
    inferior_nd[~has_inferior] = np.nan
    fields: dict[str, object] = {
        "cohort": "toy", "split": "drawn", "fold": 0, "target": "kind", "classes": ("a", "b", "c"),
        "case_ids": tuple(f"case-{j}" for j in i), "inferior_nd": inferior_nd, "superior_nd": superior_nd,
        "has_inferior": has_inferior, "has_superior": has_superior,
        "labels": np.where((i % 5 == 2) & masks, -1, labels).astype(np.int64),
        "parts": np.array(["train", "train", "val", "test"])[i // 3 % 4],
    }  # fmt: skip
    return PairedCodes(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


def by_row(heads: list[TrainedHead], permutation: int = -1) -> dict[str, TrainedHead]:
    return {head.row: head for head in heads if head.permutation == permutation}


@pytest.fixture(scope="module")
def paired() -> PairedCodes:
    return make_paired()


@pytest.fixture(scope="module")
def matched(paired: PairedCodes) -> list[TrainedHead]:
    return train_one(paired, mode="matched", permutations=2, **FAST)


def test_rows_and_controls_come_in_order(matched):
    assert [(head.row, head.control, head.permutation) for head in matched] == [
        *((row, "", -1) for row in ("S+I", "S", "I", "G(I)", "G(I)+I")),
        *((row, "shuffled", p) for p in (0, 1) for row in ("G(I)", "G(I)+I")),
    ]
    assert {head.status for head in matched} == {"ok"}
    assert [head.guidance for head in matched[:5]] == ["", "", "", "ridge", "ridge"]
    assert {(head.mode, head.decoder, head.seed) for head in matched} == {("matched", "logistic(Cs=0.1-1)", 0)}


def test_each_row_predicts_the_val_and_test_cases_it_can(paired, matched):
    seen = np.isin(paired.parts, ("val", "test"))
    needs = {"S+I": paired.is_pair, "S": paired.has_superior}
    for head in matched:
        rows = np.flatnonzero(seen & needs.get(head.row, paired.has_inferior))
        assert head.case_ids == tuple(paired.case_ids[i] for i in rows)
        assert np.array_equal(head.labels, paired.labels[rows])
        assert np.array_equal(head.parts, paired.parts[rows])
        assert (head.labels == -1).any()
        assert head.probabilities.shape == (len(rows), 3)
        np.testing.assert_allclose(head.probabilities.sum(axis=1), 1.0, atol=1e-12)
        for part in ("val", "test"):
            scored = (head.parts == part) & (head.labels >= 0)
            assert head.metrics[part] == evaluate(head.labels[scored], head.probabilities[scored], paired.classes)


def test_counts_say_what_was_fitted_on(paired, matched):
    train = paired.parts == "train"
    have = {"S+I": paired.is_pair, "S": paired.has_superior, "G(I)": paired.has_superior}
    for head in matched:
        assert head.n_train == (train & paired.has_label & have.get(head.row, paired.has_inferior)).sum()
        guided = head.row.startswith("G")
        assert head.n_pairs == ((train & paired.is_pair).sum() if guided else 0)


def test_matched_equals_fits_by_hand(paired, matched):
    """Each row against G and decoders fitted here on rows chosen by hand, missing labels and modalities and all."""
    rows = by_row(matched)
    train, val, seen = (np.isin(paired.parts, p) for p in (["train"], ["val"], ["val", "test"]))
    z_i, z_s, pair = paired.inferior_nd, paired.superior_nd, paired.is_pair
    guide = Ridge().fit(z_i[train & pair], z_s[train & pair], seed=0)

    def fitted(codes_nd: np.ndarray, have: np.ndarray) -> Logistic:
        known = have & paired.has_label
        fit, stop = train & known, val & known
        decoder = Logistic(Cs=(0.1, 1.0))
        return decoder.fit(codes_nd[fit], paired.labels[fit], codes_nd[stop], paired.labels[stop], n_classes=3, seed=0)

    inferior = paired.has_inferior
    guided = np.zeros_like(z_s)
    guided[inferior] = guide.predict(z_i[inferior])
    expected = {
        "S": fitted(z_s, paired.has_superior).predict_proba(z_s[seen & paired.has_superior]),
        "I": fitted(z_i, inferior).predict_proba(z_i[seen & inferior]),
        "S+I": fitted(np.hstack([z_s, z_i]), pair).predict_proba(np.hstack([z_s, z_i])[seen & pair]),
        "G(I)": fitted(z_s, paired.has_superior).predict_proba(guided[seen & inferior]),
        "G(I)+I": fitted(np.hstack([guided, z_i]), inferior).predict_proba(np.hstack([guided, z_i])[seen & inferior]),
    }
    for row in ALL_ROWS:
        np.testing.assert_allclose(rows[row].probabilities, expected[row], atol=1e-6)


def test_as_published_uses_the_stored_classifiers(paired):
    rng = np.random.default_rng(3)
    d_i, d_s = Linear(rng.normal(size=(3, 6)), rng.normal(size=3)), Linear(rng.normal(size=(3, 4)), rng.normal(size=3))
    heads = train_one(paired, mode="as-published", d_i=d_i, d_s=d_s, permutations=1, **FAST)
    rows, control = by_row(heads), by_row(heads, 0)
    seen = np.isin(paired.parts, ("val", "test"))
    z_i, z_s = paired.inferior_nd[seen & paired.has_inferior], paired.superior_nd[seen & paired.has_superior]
    assert np.array_equal(rows["I"].probabilities, d_i.predict_proba(z_i))
    assert np.array_equal(rows["S"].probabilities, d_s.predict_proba(z_s))
    pairs = (paired.parts == "train") & paired.is_pair
    guide = Ridge().fit(paired.inferior_nd[pairs], paired.superior_nd[pairs], seed=0)
    np.testing.assert_allclose(rows["G(I)"].probabilities, d_s.predict_proba(guide.predict(z_i)), atol=1e-6)
    assert [rows[row].decoder.partition("(")[0] for row in ALL_ROWS] == ["logistic", *["linear"] * 3, "logistic"]
    assert [rows[row].n_train > 0 for row in ALL_ROWS] == [True, False, False, False, True]
    matched = by_row(train_one(paired, mode="matched", permutations=0, **FAST))
    for row in ("S+I", "G(I)+I"):
        assert np.array_equal(rows[row].probabilities, matched[row].probabilities)
    assert not np.allclose(control["G(I)"].probabilities, rows["G(I)"].probabilities, atol=0.01)


@pytest.mark.parametrize(
    ("guidance", "guidance_params", "decoder", "decoder_params"),
    [
        ("ridge", {}, "logistic", {}),
        ("autoencoder", {"hidden": (8,), "epochs": 10}, "mlp", {"epochs": 10}),
        (
            "radpath-paper",
            {"hidden": (8,), "epochs": 5, "learning_rate": 0.01},
            "radpath-paper",
            {"class_weights": "balanced"},
        ),
    ],
)
def test_predict_row_reproduces_the_stored_probabilities(paired, guidance, guidance_params, decoder, decoder_params):
    if decoder == "radpath-paper":
        decoder_params = decoder_params | {"epochs": 10}
    heads = list(
        train_one(
            paired, guidance=guidance, guidance_params=guidance_params, decoder=decoder, decoder_params=decoder_params,
            mode="matched", seed=1, permutations=1,
        )
    )  # fmt: skip
    number = {case_id: i for i, case_id in enumerate(paired.case_ids)}
    for head in heads:
        z_inferior_nd = paired.inferior_nd[[number[case_id] for case_id in head.case_ids]]
        if head.row in ("S", "S+I"):
            with pytest.raises(InvalidInputError, match="needs the superior image"):
                predict_row(head.row, head.components, np.nan_to_num(z_inferior_nd))
            continue
        np.testing.assert_allclose(predict_row(head.row, head.components, z_inferior_nd), head.probabilities, atol=1e-6)
        alone_nk = predict_row(head.row, head.components, z_inferior_nd[5:6])
        np.testing.assert_allclose(alone_nk[0], head.probabilities[5], atol=1e-6)


def test_the_control_loses_where_guidance_carries_signal():
    """G(I) through a frozen decoder: with shuffled pairs there is no signal left, so it falls to chance."""
    heads = train_one(make_paired(masks=False), mode="matched", permutations=3, **FAST)
    true = by_row(heads)["G(I)"].metrics["test"]["auroc"]
    shuffled = [by_row(heads, p)["G(I)"].metrics["test"]["balanced_accuracy"] for p in range(3)]
    assert true > 0.75
    assert np.mean(shuffled) < 0.45
    assert len({head.probabilities.tobytes() for head in heads if head.row == "G(I)"}) == 4


def test_test_rows_never_reach_a_fit(paired):
    params = {"mode": "matched", "permutations": 1, **FAST}
    changed_nd = paired.inferior_nd.copy()
    test = paired.parts == "test"
    changed_nd[test] = changed_nd[test] * 5 + 1
    labels = np.where(test & (paired.labels >= 0), (paired.labels + 1) % 3, paired.labels)
    other = dataclasses.replace(paired, inferior_nd=changed_nd, labels=labels)
    for first, second in zip(train_one(paired, **params), train_one(other, **params), strict=True):
        assert first.components.keys() == second.components.keys()
        for name, (config, tensors) in first.components.items():
            assert config == second.components[name][0]
            assert all(np.array_equal(tensors[key], second.components[name][1][key]) for key in tensors)
        assert first.metrics["val"] == second.metrics["val"]
        assert first.metrics["test"] != second.metrics["test"]


def test_g_learns_from_pairs_without_labels(paired):
    """Hiding labels of pairs moves n_train and not G."""
    fewer = dataclasses.replace(paired, labels=np.where(np.arange(N) % 2 == 0, -1, paired.labels))
    first, second = (
        by_row(list(train_one(p, mode="matched", permutations=0, rows=("G(I)+I",), **FAST)))["G(I)+I"]
        for p in (paired, fewer)
    )
    assert second.n_pairs == first.n_pairs
    assert second.n_train < first.n_train
    assert np.array_equal(first.components["guidance"][1]["weight"], second.components["guidance"][1]["weight"])


def test_a_diverged_guidance_harms_no_other_row(paired):
    wild = {"hidden": (8,), "standardise": False, "learning_rate": 1e6, "epochs": 20}
    heads = list(
        train_one(paired, **FAST | {"guidance": "autoencoder"}, guidance_params=wild, mode="matched", permutations=1)
    )
    assert [head.status for head in heads] == ["ok", "ok", "ok", "diverged", "diverged", "diverged", "diverged"]
    for head in heads[3:]:
        assert "diverged in epoch" in head.message
        assert (head.case_ids, len(head.probabilities), dict(head.metrics), dict(head.components)) == ((), 0, {}, {})
    assert heads[2].metrics["test"]["balanced_accuracy"] > 0.5


def test_a_diverged_decoder_marks_only_its_rows():
    """Raw z_I of 1e6 blows up what reads it; S, and G(I) through its decoder, do not."""
    paired = make_paired(masks=False)
    paired = dataclasses.replace(paired, inferior_nd=paired.inferior_nd * np.float32(1e15))
    params = {"standardise": False, "learning_rate": 0.01, "epochs": 5}
    heads = by_row(
        list(
            train_one(
                paired, guidance="ridge", decoder="mlp", decoder_params=params, mode="matched", seed=0, permutations=0
            )
        )
    )
    assert {row: head.status for row, head in heads.items()} == {
        "S+I": "diverged", "S": "ok", "I": "diverged", "G(I)": "ok", "G(I)+I": "diverged",
    }  # fmt: skip


def part_changed(paired: PairedCodes, **changes: object) -> PairedCodes:
    return dataclasses.replace(paired, **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda p: {"has_superior": p.has_superior & (p.parts != "train")}, {"rows": ("G(I)",)}, "has 0 train pairs"),
        (
            lambda p: {"labels": np.where((p.labels == 1) & (p.parts == "train"), -1, p.labels)},
            {},
            "is labelled b for kind",
        ),
        (lambda p: {"labels": np.where(p.parts == "val", -1, p.labels)}, {}, "no val case with both modalities"),
        (lambda p: {"has_superior": p.has_superior & (p.parts != "val")}, {"rows": ("S",)}, "no val case with z_S"),
        (lambda p: {}, {"rows": ("I", "I")}, "or one twice; name each once"),
        (lambda p: {}, {"rows": ("G(S)",)}, r"'G\(S\)' is unknown: did you mean"),
        (lambda p: {}, {"mode": "published"}, "did you mean 'as-published'"),
        (lambda p: {}, {"permutations": -1}, "permutations is -1"),
        (lambda p: {}, {"seed": 1.5}, "seed 1.5"),
        (lambda p: {}, {"guidance": "rigde"}, "did you mean 'ridge'"),
        (lambda p: {}, {"decoder_params": {"epochs": 3}}, "parameter 'epochs' is unknown"),
        (lambda p: {}, {"mode": "as-published"}, "d_s is missing|d_i is missing"),
        (lambda p: {}, {"d_i": Linear(np.ones((3, 6)), np.ones(3))}, "takes no d_i or d_s"),
        (
            lambda p: {},
            {"mode": "as-published", "rows": ("I",), "d_i": Linear(np.ones((3, 5)), np.ones(3))},
            "have 6 dim",
        ),
        (
            lambda p: {},
            {"mode": "as-published", "rows": ("I",), "d_i": Linear(np.ones((2, 6)), np.ones(2))},
            "predicts 2",
        ),
        (
            lambda p: {"classes": ("A", "G", "O")},
            {"decoder": "radpath-paper", "decoder_params": {}},
            "in the order G, O, A",
        ),
    ],
)
def test_refuses_before_training(paired, change, options, sentence):
    broken = part_changed(paired, **change(paired))
    with pytest.raises(InvalidInputError, match=sentence):
        train_one(broken, **{"mode": "matched", **FAST, **options})


def test_predict_row_refuses_incomplete_components(matched):
    components = by_row(matched)["G(I)+I"].components
    with pytest.raises(InvalidInputError, match="lacks its guidance"):
        predict_row("G(I)+I", {"decoder": components["decoder"]}, np.zeros((1, 6)))
    with pytest.raises(InvalidInputError, match="have 4 dimensions, but 6"):
        predict_row("G(I)+I", components, np.zeros((1, 4)))
    with pytest.raises(InvalidInputError, match="choose one of"):
        predict_row("C", components, np.zeros((1, 6)))


def test_a_fold_without_test_rows_still_trains(paired):
    parts = np.where(paired.parts == "test", "train", paired.parts)
    heads = train_one(dataclasses.replace(paired, parts=parts), mode="matched", permutations=0, **FAST)
    assert {tuple(head.metrics) for head in heads} == {("val",)}


def test_jobs_share_each_g_and_a_head_does_not_depend_on_its_company(paired):
    """Two targets and two seeds at once give what each gives alone; every G of one pair set is one model."""
    other = dataclasses.replace(
        paired,
        target="other",
        labels=np.where(paired.labels >= 0, (paired.labels + 1) % 3, -1),
        inferior_nd=paired.inferior_nd.copy(),
        superior_nd=paired.superior_nd.copy(),
    )
    options = {"guidance": "autoencoder", "guidance_params": {"hidden": (8,), "epochs": 5}, "permutations": 1}
    options |= {"decoder": "mlp", "decoder_params": {"epochs": 5}}
    jobs = [job_of(p, seed=seed, **options) for p in (paired, other) for seed in (0, 1)]
    together = train_rows(jobs)
    for job, heads in zip(jobs, together, strict=True):
        alone = train_one(job.paired, seed=job.seed, **options)
        for head, single in zip(heads, alone, strict=True):
            assert (head.row, head.control, head.permutation) == (single.row, single.control, single.permutation)
            np.testing.assert_allclose(head.probabilities, single.probabilities, atol=1e-5)

    def g(job: int, permutation: int) -> np.ndarray:
        return by_row(together[job], permutation)["G(I)+I"].components["guidance"][1]["layer0_weight"]

    for permutation in (-1, 0):
        assert np.array_equal(g(0, permutation), g(2, permutation))
        assert not np.array_equal(g(0, permutation), g(1, permutation))


def test_several_guidance_models_and_decoders_share_what_does_not_differ(paired, monkeypatch):
    """Two G and two decoders: rows without G are fitted once per decoder, each G once, and nothing changes."""
    offer_counted(monkeypatch)
    options = {"guidance": "counted_ridge", "decoder": "counted_logistic", "permutations": 1}
    jobs = [
        job_of(paired, guidance_params=g, decoder_params=d, **options)
        for g in ({"alphas": (0.1,)}, {"alphas": (10.0,)})
        for d in ({"Cs": (0.1,)}, {"Cs": (1.0,)})
    ]
    together = train_rows(jobs)
    assert len(CountedRidge.fits) == 2 * 2
    assert len(CountedLogistic.fits) == 2 * 3 + 2 * 2 * 2
    assert together[0][3].guidance == "counted_ridge(alphas=0.1)"
    assert together[1][0].decoder == "counted_logistic(Cs=1)"
    for job, heads in zip(jobs, together, strict=True):
        (alone,) = train_rows([job])
        for head, single in zip(heads, alone, strict=True):
            np.testing.assert_allclose(head.probabilities, single.probabilities, atol=1e-6)
