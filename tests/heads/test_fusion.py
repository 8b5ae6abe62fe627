"""What each fusion adds, and fused heads among the input rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.choice import Choice
from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.fusion.common.fused import FusedDecoder
from guidestore.heads.fusion.common.maths import NumpyMaths
from guidestore.heads.fusion.orthogonal import mmo_loss
from guidestore.heads.input_rows import INPUT_ROWS
from guidestore.heads.prediction import predict_row
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import FUSIONS, build_decoder, build_fusion, load_decoder, load_fusion
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.train import train_rows
from guidestore.heads.trained import TrainedHead
from tests.heads.counting import CountedLogistic, offer_counted
from tests.heads.training import job_of

WIDTHS = (3, 5)
FUSED_ROWS = tuple(name for name, row in INPUT_ROWS.items() if row.fuses)
LEARNT = ("gated", "kronecker", "orthogonal")


def signs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8) codes whose label is whether the first numbers of both blocks differ in sign."""
    rng = np.random.default_rng(seed)
    x_nd = rng.normal(size=(n, sum(WIDTHS))).astype(np.float32)
    return x_nd, ((x_nd[:, 0] > 0) != (x_nd[:, WIDTHS[0]] > 0)).astype(np.int64)


TRAIN, VAL, TEST = signs(300, 0), signs(100, 1), signs(1000, 2)


def fuse(name: str, decoder: str = "logistic", params: Any = None, **settings: Any) -> FusedDecoder:
    fusion: Any = build_fusion(name, **params or {})
    return FusedDecoder(fusion, build_decoder(decoder, **settings), WIDTHS)


def fit(decoder: Any, *, seed: int = 0) -> Any:
    return decoder.fit(*TRAIN, *VAL, n_classes=2, seed=seed)


def accuracy(decoder: Any) -> float:
    return float((decoder.predict_proba(TEST[0]).argmax(axis=1) == TEST[1]).mean())


@pytest.mark.parametrize("name", LEARNT)
def test_an_interaction_of_the_codes_is_learnt_before_a_linear_decoder(name):
    assert accuracy(fit(fuse(name))) > 0.85


def test_side_by_side_or_late_a_linear_decoder_cannot():
    assert accuracy(fit(Logistic())) < 0.6
    assert accuracy(fit(fuse("late"))) < 0.6


@pytest.mark.parametrize("decoder", ["logistic", "mlp"])
def test_late_is_the_mean_of_two_decoders(decoder):
    settings: dict[str, Any] = {"epochs": 5} if decoder == "mlp" else {}
    late, parts = fit(fuse("late", decoder, **settings)), []
    for columns in (slice(None, 3), slice(3, None)):
        alone = build_decoder(decoder, **settings)
        alone.fit(TRAIN[0][:, columns], TRAIN[1], VAL[0][:, columns], VAL[1], n_classes=2, seed=0)
        parts.append(alone.predict_proba(TEST[0][:, columns]))
        assert late.facts[f"view{len(parts) - 1}_val_loss"] == alone.facts["val_loss"]
    assert np.array_equal(late.predict_proba(TEST[0]), (parts[0] + parts[1]) / 2)


def test_kronecker_is_the_outer_product_of_gated_embeddings():
    """Against the formula, one case and product after the other, for a width of 2."""
    fusion: Any = build_fusion("kronecker", width=2)
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.normal(size=(d_out, d_in)), rng.normal(size=d_out))
        for name, (d_in, d_out) in fusion.maps(*WIDTHS).items()
    }
    left_nd, right_nd = TEST[0][:4, :3].astype(np.float64), TEST[0][:4, 3:].astype(np.float64)
    fused_nd, h_left, h_right = fusion.fuse(NumpyMaths(weights), left_nd, right_nd)
    assert fused_nd.shape == (4, fusion.fused_dim) == (4, 9)
    for i in range(4):
        gated = []
        for side, x in (("left", left_nd[i]), ("right", right_nd[i])):
            h = np.maximum(weights[side][0] @ x + weights[side][1], 0)
            gate_weight, gate_bias = weights[f"{side}_gate"]
            z = 1 / (1 + np.exp(-(gate_weight @ np.concatenate([left_nd[i], right_nd[i]]) + gate_bias)))
            np.testing.assert_allclose((h_left if side == "left" else h_right)[i], h)
            gated.append([*(z * h), 1.0])
        np.testing.assert_allclose(fused_nd[i], [a * b for a in gated[0] for b in gated[1]])


def test_gated_mixes_between_its_two_embeddings():
    fusion: Any = build_fusion("gated", width=4)
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.normal(size=(d_out, d_in)), np.zeros(d_out)) for name, (d_in, d_out) in fusion.maps(*WIDTHS).items()
    }
    x_nd = TEST[0].astype(np.float64)
    for bias, side in ((1e3, 1), (-1e3, 2)):
        weights["gate"] = (weights["gate"][0], np.full(4, bias))
        fused = fusion.fuse(NumpyMaths(weights), x_nd[:, :3], x_nd[:, 3:])
        np.testing.assert_allclose(fused[0], fused[side])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        # Norms 5 and 2 in orthogonal directions: (5 + 2 - 7) / 4.
        ([[3.0, 0.0], [4.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]], 0.0),
        # One direction: norms 5 and 12, together 13: (5 + 12 - 13) / 4.
        ([[3.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [12.0, 0.0]], 1.0),
        # A norm of 0.25 counts as 1: (5 + 1 - 5.25) / 4.
        ([[3.0, 0.0], [4.0, 0.0]], [[0.0, 0.25], [0.0, 0.0]], 0.1875),
        # diag(3, 4) has 7; below it 2 * (1, 0): columns of norms sqrt(13) and 4.
        ([[3.0, 0.0], [0.0, 4.0]], [[2.0, 0.0], [0.0, 0.0]], (7 + 2 - (13**0.5 + 4)) / 4),
    ],
)
def test_the_mmo_loss_by_hand(left, right, expected):
    assert float(mmo_loss(torch.tensor(left), torch.tensor(right))) == pytest.approx(expected, abs=1e-6)


def test_the_mmo_loss_makes_the_embeddings_more_orthogonal():
    without, much = (fit(fuse("orthogonal", params={"mmo_weight": weight, "epochs": 25})) for weight in (0.0, 2.0))
    assert much.facts["fusion_overlap"] < 0.6 * without.facts["fusion_overlap"]
    kronecker = fit(fuse("kronecker", params={"epochs": 25}))
    assert np.array_equal(without.predict_proba(TEST[0]), kronecker.predict_proba(TEST[0]))


def test_columns_that_say_nothing_on_train_are_left_out():
    """A decoder standardises: what is nearly constant on train would come back as noise of any size."""
    fusion: Any = build_fusion("orthogonal", mmo_weight=5.0, epochs=30)
    blocks = [TRAIN[0][:, :3], TRAIN[0][:, 3:]]
    (view_nd,) = fusion.fit(blocks, TRAIN[1], [VAL[0][:, :3], VAL[0][:, 3:]], VAL[1], n_classes=2, seed=0).views(blocks)
    kept = int(fusion.tensors()["kept"].sum())
    assert view_nd.shape[1] == kept < fusion.fused_dim
    assert view_nd.std(axis=0).min() > 0.009 * view_nd.std(axis=0).max()


def test_equal_fusions_and_decoders_are_fitted_once(monkeypatch):
    """Two decoders and two G after one z_I: the fusion once per pair of codes, the decoder of z_I once."""
    offer_counted(monkeypatch)
    other = [np.hstack([-part[0][:, :3], part[0][:, 3:]]) for part in (TRAIN, VAL)]
    codes = [(TRAIN[0], VAL[0]), (TRAIN[0].copy(), VAL[0].copy()), other]
    problems = [
        DecoderProblem(fuse("late", "counted_logistic", Cs=(C,)), x_nd, TRAIN[1], x_val_nd, VAL[1], 2, 0)
        for x_nd, x_val_nd in codes
        for C in (0.1, 1.0)
    ]
    together: list[Any] = list(fit_decoders(problems))
    # Per C: the left code, the right one, the other left one.
    assert len(CountedLogistic.fits) == 2 * 3
    for problem, decoder in zip(problems, together, strict=True):
        alone = fuse("late", Cs=problem.decoder.config["decoder"]["Cs"])
        alone.fit(problem.x_nd, TRAIN[1], problem.x_val_nd, VAL[1], n_classes=2, seed=0)
        assert np.array_equal(decoder.predict_proba(TEST[0]), alone.predict_proba(TEST[0]))


def test_a_divergence_stays_in_its_place():
    wild: dict[str, Any] = {"standardise": False, "learning_rate": 1e30, "epochs": 9}
    decoders = [
        fuse("late"), fuse("late", "mlp", **wild), fuse("gated", params={"learning_rate": 1e38, "epochs": 9}),
        fuse("orthogonal", params={"learning_rate": 1e38, "epochs": 9}), fuse("gated", params={"epochs": 3}),
    ]  # fmt: skip
    results: list[Any] = list(fit_decoders([DecoderProblem(d, *TRAIN, *VAL, 2, 0) for d in decoders]))
    assert [isinstance(result, DivergedError) for result in results] == [False, True, True, True, False]
    assert "gated: training diverged in epoch" in str(results[2])
    with pytest.raises(InvalidInputError, match="not fitted"):
        decoders[1].predict_proba(TEST[0])
    with pytest.raises(DivergedError, match="mlp: training diverged"):
        fit(fuse("late", "mlp", **wild))
    assert np.array_equal(results[0].predict_proba(TEST[0]), fit(fuse("late")).predict_proba(TEST[0]))


def test_misuse_is_one_sentence():
    with pytest.raises(InvalidInputError, match=r"fusion 'gatd' is unknown: did you mean 'gated'\? choose one of con"):
        build_fusion("gatd")
    with pytest.raises(InvalidInputError, match="fusion concatenation has no parameters, so width has no meaning"):
        build_fusion("concatenation", width=3)
    with pytest.raises(InvalidInputError, match="kronecker: width is 500; it must be an integer of at least 1 up to 6"):
        build_fusion("kronecker", width=500)
    with pytest.raises(InvalidInputError, match="orthogonal: mmo_weight is -1"):
        build_fusion("orthogonal", mmo_weight=-1)
    with pytest.raises(InvalidInputError, match=r"widths are \[3\]; give those of the left and of the right code"):
        FusedDecoder(build_fusion("late"), Logistic(), (3,))  # pyright: ignore[reportArgumentType]
    late = fuse("late")
    with pytest.raises(InvalidInputError, match="fused is not fitted"):
        late.tensors()
    with pytest.raises(InvalidInputError, match="codes have 7 dimensions, but 8 were fitted"):
        late.fit(TRAIN[0][:, 1:], TRAIN[1], VAL[0][:, 1:], VAL[1], n_classes=2, seed=0)
    with pytest.raises(InvalidInputError, match="no train row has class 2"):
        late.fit(*TRAIN, *VAL, n_classes=3, seed=0)
    fit(late)
    with pytest.raises(InvalidInputError, match="cannot make a fused decoder: it lacks widths, fusion, decoder"):
        load_decoder({"name": "fused"}, late.tensors())
    with pytest.raises(InvalidInputError, match="'widths' is missing"):
        load_decoder(late.config, {})
    with pytest.raises(InvalidInputError, match="fusion 'concatenation' is unknown"):
        load_fusion({"name": "concatenation"}, {})
    assert build_fusion("concatenation") is None


# Among the input rows.


def make_paired() -> PairedCodes:
    """Three classes, z_S (n, 4) and z_I (n, 6) that is a noisy view of it; some cases lack one or their label."""
    n, rng = 160, np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    superior_nd = rng.normal(scale=1.5, size=(3, 4))[labels] + rng.normal(size=(n, 4))
    inferior_nd = superior_nd @ rng.normal(size=(4, 6)) + 2.0 * rng.normal(size=(n, 6))
    i = np.arange(n)
    has_superior, has_inferior = i % 7 != 3, i % 11 != 5
    superior_nd[~has_superior] = np.nan
    inferior_nd[~has_inferior] = np.nan
    return PairedCodes(
        cohort="toy", split="drawn", fold=0, target="kind", classes=("a", "b", "c"),
        case_ids=tuple(f"case-{j}" for j in i), inferior_nd=inferior_nd.astype(np.float32),
        superior_nd=superior_nd.astype(np.float32), has_inferior=has_inferior, has_superior=has_superior,
        labels=np.where(i % 5 == 2, -1, labels).astype(np.int64),
        parts=np.array(["train", "train", "val", "test"])[i // 3 % 4],
    )  # fmt: skip


PAIRED = make_paired()
FEW = {"width": 4, "epochs": 8}


def fused_job(fusion: str, params: Any = None, **options: Any) -> RowsJob:
    params = FEW if params is None and fusion in LEARNT else params
    settings = {"guidance": "ridge", "decoder": "logistic", "decoder_params": {"Cs": (0.1,)}, "permutations": 1}
    return replace(job_of(PAIRED, **settings | options), fusion=Choice.of(fusion, params))


def by_place(heads: list[TrainedHead]) -> dict[tuple[str, int], TrainedHead]:
    return {(head.row, head.permutation): head for head in heads}


def test_heads_of_all_fusions_at_once_are_each_as_alone_and_share_what_does_not_differ(monkeypatch):
    offer_counted(monkeypatch)
    jobs = [fused_job(fusion, decoder="counted_logistic") for fusion in ("concatenation", *FUSIONS.names())]
    alone = [train_rows([job])[0] for job in jobs]
    plain = train_rows([job_of(PAIRED, guidance="ridge", decoder="counted_logistic", decoder_params={"Cs": (0.1,)},
                               permutations=1)])[0]  # fmt: skip
    CountedLogistic.fits.clear()
    together = train_rows(jobs)
    # S and I once; S+I and G(I)+I, of true and shuffled pairs, per fusion. Late has a decoder per code: two for S+I;
    # each z_S that a G foretells and, once for both G, their z_I.
    assert len(CountedLogistic.fits) == 2 + 3 * (len(jobs) - 1) + (2 + 3)
    for job, heads, singles in zip(jobs, together, alone, strict=True):
        for head, single, before in zip(heads, singles, plain, strict=True):
            assert (head.row, head.control, head.permutation) == (single.row, single.control, single.permutation)
            assert np.array_equal(head.probabilities, single.probabilities)
            is_plain = job.fusion.name == "concatenation" or head.row not in FUSED_ROWS
            assert np.array_equal(head.probabilities, before.probabilities) is is_plain
            shown = "counted_logistic(Cs=0.1)" + ("" if is_plain else f", fusion={job.fusion}")
            assert head.decoder == shown
            assert head.components["decoder"][0]["name"] == ("counted_logistic" if is_plain else "fused")
    assert together[1][0].decoder == "counted_logistic(Cs=0.1), fusion=gated(epochs=8, width=4)"


@pytest.mark.parametrize("mode", ["matched", "as-published"])
@pytest.mark.parametrize("fusion", FUSIONS.names())
def test_predict_row_reproduces_a_fused_head(fusion, mode):
    stored: dict[str, Any] = {}
    if mode == "as-published":
        rng = np.random.default_rng(3)
        from guidestore.heads.decoders.common.linear import Linear

        stored = {
            "d_i": Linear(rng.normal(size=(3, 6)), np.zeros(3)),
            "d_s": Linear(rng.normal(size=(3, 4)), np.ones(3)),
        }
    heads = by_place(
        train_rows([fused_job(fusion, mode=mode, decoder="mlp", decoder_params={"epochs": 5}, **stored)])[0]
    )
    number = {case_id: i for i, case_id in enumerate(PAIRED.case_ids)}
    for permutation in (-1, 0):
        head = heads["G(I)+I", permutation]
        assert head.status == "ok"
        z_inferior_nd = PAIRED.inferior_nd[[number[case_id] for case_id in head.case_ids]]
        predicted = predict_row("G(I)+I", head.components, z_inferior_nd)
        np.testing.assert_allclose(predicted, head.probabilities, atol=1e-6)
        assert ("decoder_best_epoch" in head.facts) is (fusion != "late")
        assert ("decoder_fusion_val_loss" in head.facts) is (fusion != "late")
    assert heads["I", -1].decoder == ("linear" if mode == "as-published" else "mlp(epochs=5)")


def test_a_diverged_fusion_marks_only_its_rows():
    wild = FEW | {"learning_rate": 1e38}
    (heads,) = train_rows([fused_job("gated", wild)])
    assert {head.row for head in heads if head.status == "diverged"} == set(FUSED_ROWS)
    assert all("gated: training diverged" in head.message for head in heads if head.row in FUSED_ROWS)


@pytest.mark.parametrize(
    ("fusion", "params", "sentence"),
    [
        ("gatd", None, "fusion 'gatd' is unknown: did you mean 'gated'"),
        ("gated", {"widht": 3}, "gated: parameter 'widht' is unknown: did you mean 'width'"),
        ("concatenation", {"width": 3}, "concatenation has no parameters"),
    ],
)
def test_an_unknown_fusion_is_refused_before_training(fusion, params, sentence):
    for rows in (("I",), FUSED_ROWS):
        with pytest.raises(InvalidInputError, match=sentence):
            train_rows([fused_job(fusion, params, rows=rows)])
