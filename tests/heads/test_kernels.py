"""Smoothers against scikit-learn's kernel ridge, brute force and what the store keeps of them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.kernels import smoother
from guidestore.heads.kernels.decoder import Smoother
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.scoring import auroc, balanced_accuracy, label_targets, score
from guidestore.heads.kernels.selection import Fold, by_error, by_score, held_out
from guidestore.heads.kernels.smoother import ALPHAS, Decomposition, Decompositions, Kernel
from guidestore.heads.onnx_graph.graph import Graph, Value
from guidestore.heads.registry import load_decoder


def codes(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * d**-0.5


def kernel_matrix(kernel: Kernel, x_nd: np.ndarray, y_md: np.ndarray) -> np.ndarray:
    if kernel == "linear":
        return x_nd @ y_md.T + 0.01
    return np.exp(-0.6 * ((x_nd[:, None] - y_md) ** 2).sum(axis=2))


@pytest.mark.parametrize("kernel", smoother.KERNELS)
@pytest.mark.parametrize(("n", "d"), [(40, 6), (20, 50)])
def test_predictions_and_weights_are_those_of_kernel_ridge(kernel: Kernel, n: int, d: int) -> None:
    z_nd, query_md, targets_nc = codes(n, d), codes(7, d, 1), codes(n, 3, 2)
    decomposition = Decomposition.of(kernel, z_nd)
    said = decomposition.predictions(targets_nc, decomposition.features(query_md), ALPHAS)
    for alpha, said_mc in zip(ALPHAS, said, strict=True):
        ridge = KernelRidge(alpha=n * alpha, kernel="precomputed").fit(kernel_matrix(kernel, z_nd, z_nd), targets_nc)
        expected_mc = ridge.predict(kernel_matrix(kernel, query_md, z_nd))
        np.testing.assert_allclose(said_mc, expected_mc, atol=2e-6)
        np.testing.assert_allclose(decomposition.weights(targets_nc, alpha)(query_md), expected_mc, atol=2e-6)


@pytest.mark.parametrize("kernel", smoother.KERNELS)
def test_what_is_left_out_is_what_the_others_say(kernel: Kernel) -> None:
    z_nd, targets_nc, alpha = codes(15, 4), codes(15, 2, 1), 0.03
    (left_nc,) = Decomposition.of(kernel, z_nd).left_out(targets_nc, [alpha])
    for i in range(len(z_nd)):
        others = np.arange(len(z_nd)) != i
        # The penalty of all n rows stands: n alpha, not (n - 1) alpha.
        ridge = KernelRidge(alpha=len(z_nd) * alpha, kernel="precomputed")
        ridge.fit(kernel_matrix(kernel, z_nd[others], z_nd[others]), targets_nc[others])
        np.testing.assert_allclose(
            left_nc[i], ridge.predict(kernel_matrix(kernel, z_nd[i : i + 1], z_nd[others]))[0], atol=1e-6
        )


@pytest.mark.parametrize("kernel", smoother.KERNELS)
@pytest.mark.parametrize(("n", "d", "m"), [(40, 6, 9), (20, 50, 4), (20, 2, 15), (12, 3, 0)])
def test_one_decomposition_says_what_is_said_without_a_fold(kernel: Kernel, n: int, d: int, m: int) -> None:
    z_nd, targets_nc, held_m = codes(n, d), codes(n, 3, 2), np.random.default_rng(3).permutation(n)[:m]
    others, decomposition = np.setdiff1d(np.arange(n), held_m), Decomposition.of(kernel, z_nd)
    weights_arc = decomposition.without(held_m, targets_nc[others], ALPHAS)
    for alpha, weights_rc in zip(ALPHAS, weights_arc, strict=True):
        ridge = KernelRidge(alpha=(n - m) * alpha, kernel="precomputed")
        ridge.fit(kernel_matrix(kernel, z_nd[others], z_nd[others]), targets_nc[others])
        expected_nc = ridge.predict(kernel_matrix(kernel, z_nd, z_nd[others]))
        np.testing.assert_allclose(decomposition.features_nr @ weights_rc, expected_nc, atol=1e-5)
        np.testing.assert_allclose(decomposition.weighing(weights_rc)(z_nd), expected_nc, atol=1e-5)


def test_landmarks_stand_for_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    z_nd, query_md = codes(300, 5), codes(50, 5, 1)
    targets_nc = np.sin(3 * z_nd[:, :2])
    exact_mc = Decomposition.of("rbf", z_nd).weights(targets_nc, 1e-3)(query_md)
    monkeypatch.setattr(smoother, "EXACT_ROWS", 200)
    monkeypatch.setattr(smoother, "LANDMARKS", 120)
    few = Decomposition.of("rbf", z_nd, seed=1)
    assert len(few.landmarks_ld) == 120
    off_mc = few.weights(targets_nc, 1e-3)(query_md) - exact_mc
    assert (off_mc**2).mean() < 0.03 * (exact_mc**2).mean()
    assert np.array_equal(few.landmarks_ld, Decomposition.of("rbf", z_nd, seed=1).landmarks_ld)


def test_sums_of_smoothers_are_smoothers() -> None:
    z_nd, query_md, targets_nc = codes(12, 4), codes(5, 4, 1), codes(12, 3, 2)
    linear, rbf = (Decomposition.of(kernel, z_nd).weights(targets_nc, 0.1) for kernel in smoother.KERNELS)
    other = Decomposition.of("rbf", z_nd[3:9]).weights(targets_nc[3:9], 0.01)
    for left, right in ((linear, rbf), (rbf, linear), (rbf, other), (linear, linear)):
        both = left.scaled(0.5).plus(right)
        np.testing.assert_allclose(both(query_md), 0.5 * left(query_md) + right(query_md), atol=1e-12)
        assert len(both.landmarks_ld) <= len(z_nd)


class TestPreparation:
    def test_columns_weigh_alike_and_codes_have_mean_squared_norm_1(self) -> None:
        x_nd = np.random.default_rng(0).normal(size=(80, 6)) * [1, 10, 1e3, 1e-3, 1, 1] + 5
        x_nd[:, 4] = 7.0  # constant
        x_nd[0, 0] = 1e6  # one far case
        prepared_nd = Preparation.fit(x_nd.astype(np.float32), "z").apply(x_nd.astype(np.float32))
        np.testing.assert_allclose((prepared_nd**2).sum(axis=1).mean(), 1.0)
        np.testing.assert_allclose(prepared_nd.mean(axis=0), 0.0, atol=1e-12)
        assert not prepared_nd[:, 4].any()
        spread = prepared_nd[:, [1, 2, 3, 5]].std(axis=0)
        np.testing.assert_allclose(spread, spread[0], rtol=0.05)
        assert prepared_nd[0, 0] < 5.1 * spread[0]  # clipped

    def test_two_codes_side_by_side_weigh_the_same(self) -> None:
        left_nd, right_nd = codes(40, 3), codes(40, 90, 1) * 100
        left, right = Preparation.fit(left_nd, "a"), Preparation.fit(right_nd, "b")
        both_nd = Preparation.side_by_side(left, right).apply(np.hstack([left_nd, right_nd]))
        np.testing.assert_allclose((both_nd[:, :3] ** 2).sum(axis=1).mean(), 0.5)
        np.testing.assert_allclose(both_nd, np.hstack([left.apply(left_nd), right.apply(right_nd)]) / 2**0.5)

    def test_constant_codes_are_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="z_I of toy: every column of the 9 train codes is constant"):
            Preparation.fit(np.ones((9, 3), np.float32), "z_I of toy")


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    scores = np.round(rng.normal(size=(60, 3)) + np.eye(3)[labels], 1)  # with ties
    assert balanced_accuracy(labels, scores) == pytest.approx(balanced_accuracy_score(labels, scores.argmax(axis=1)))
    areas = [roc_auc_score(labels == c, scores[:, c]) for c in range(3)]
    assert auroc(labels, scores) == pytest.approx(np.mean(areas))
    binary = (labels == 2).astype(int)
    assert auroc(binary, scores[:, :2]) == pytest.approx(roc_auc_score(binary, scores[:, 1] - scores[:, 0]))
    assert auroc(np.zeros(5, int), scores[:5]) == 0.5


def test_label_targets_sum_to_nothing_in_each_class_and_balance_the_argmax() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    np.testing.assert_allclose(label_targets(labels, 2).mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(label_targets(labels, 2)[-1], [-1.0, 3.0])


def test_a_choice_goes_by_what_was_held_out() -> None:
    z_nd = codes(60, 3)
    labels = (np.linalg.norm(z_nd, axis=1) > 1).astype(int)  # no linear smoother can see it
    targets_nk = label_targets(labels, 2)
    rows = np.arange(60)
    folds = [Fold(rows[rows % 5 != f], rows[rows % 5 == f], targets_nk[rows % 5 != f]) for f in range(5)]
    order = np.concatenate([fold.held_n for fold in folds])
    held = held_out(Decompositions(z_nd, 0), folds)
    best = by_error(held, targets_nk[order])
    errors = {(k, a): ((held[k][i] - targets_nk[order]) ** 2).mean() for k in held for i, a in enumerate(ALPHAS)}
    assert (best.kernel, best.alpha) == min(errors, key=errors.__getitem__)
    assert best.kernel == "rbf"
    assert by_score(held, labels[order], score).kernel == "rbf"


@pytest.mark.parametrize("kernels", [("linear",), ("rbf",), ("linear", "rbf")])
def test_a_stored_smoother_predicts_bit_for_bit_and_so_does_its_graph(kernels: tuple[Kernel, ...]) -> None:
    x_nd, targets_nc = (codes(30, 5) * 3 + 1).astype(np.float32), codes(30, 3, 2)
    preparation = Preparation.fit(x_nd, "z")
    fitted = [Decomposition.of(k, preparation.apply(x_nd)).weights(targets_nc, 0.01) for k in kernels]
    whole = fitted[0] if len(fitted) == 1 else fitted[0].plus(fitted[1])
    decoder = Smoother(preparation, whole, 0.7)
    loaded = load_decoder(decoder.config, decoder.tensors())
    query = (codes(8, 5, 1) * 3 + 1).astype(np.float32)
    assert np.array_equal(loaded.predict_proba(query), decoder.predict_proba(query))
    has_train = "rbf" in kernels
    assert any("train" in name.split("_") for name in decoder.tensors()) == decoder.keeps_train_codes == has_train
    graph = Graph()
    out = decoder.onnx(Value(graph, "z").cast(np.float64))
    session = onnxruntime.InferenceSession(graph.serialize({"z": ("n", 5)}, {"p": (out, "n", 3)}))
    (said,) = session.run(["p"], {"z": query})
    np.testing.assert_allclose(said, decoder.predict_proba(query), atol=1e-9)


def test_what_is_no_smoother_is_refused() -> None:
    x_nd = codes(9, 3)
    decoder = Smoother(Preparation.fit(x_nd, "z"), Decomposition.of("linear", x_nd).weights(codes(9, 2, 1), 0.1), 1.0)
    with pytest.raises(InvalidInputError, match="gamma"):
        load_decoder({"name": "smoother", "gamma": 1.0}, decoder.tensors())
    with pytest.raises(InvalidInputError, match="must be above 0"):
        load_decoder(decoder.config, decoder.tensors() | {"temperature": np.zeros(1)})
    with pytest.raises(InvalidInputError, match="'bias' is missing"):
        load_decoder(decoder.config, {k: v for k, v in decoder.tensors().items() if k != "bias"})
