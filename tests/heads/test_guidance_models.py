"""What is particular to the guidance models beside the autoencoder and ridge, against references and shuffled twins."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.controls import shuffle_pairs
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.decoders.mlp import Mlp
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import needs_decoder
from guidestore.heads.guidance.cca import canonical
from guidestore.heads.guidance.common.frozen_decoder import teacher_layers
from guidestore.heads.guidance.common.principal import principal
from guidestore.heads.guidance.kernel_ridge import KernelRidge
from guidestore.heads.guidance.pls import Pls
from guidestore.heads.guidance.residual_mlp import ResidualMlp
from guidestore.heads.guidance.retrieval import Retrieval
from guidestore.heads.guidance.ridge import Ridge
from guidestore.heads.guidance.variational import Variational
from guidestore.heads.nearest import Nearest
from guidestore.heads.networks import run_layers, softmax
from guidestore.heads.registry import GUIDANCE, build_decoder, build_guidance
from guidestore.heads.scaling import Standardiser

SMALL: dict[str, Any] = {"hidden": (32,), "epochs": 30, "dropout": 0.1, "learning_rate": 0.005}
PARAMS: dict[str, dict[str, Any]] = dict.fromkeys(("contrastive", "residual_mlp", "variational"), SMALL) | {
    name: {"hidden": (32,), "epochs": 40} for name in ("autoencoder", "task_aware")
}


def r2(predicted_nd: np.ndarray, y_nd: np.ndarray) -> float:
    return 1 - ((predicted_nd - y_nd) ** 2).sum() / ((y_nd - y_nd.mean(axis=0)) ** 2).sum()


def known_pairs(n: int, seed: int, *, bent: bool) -> tuple[np.ndarray, np.ndarray]:
    """z_I (n, 5) on other scales and z_S (n, 3), a linear or a bent function of it, plus noise."""
    rng = np.random.default_rng(seed)
    latent_nd = rng.normal(size=(n, 5))
    y_nd = latent_nd @ np.random.default_rng(7).normal(size=(5, 3))
    y_nd = (np.tanh(y_nd) if bent else y_nd) + 0.1 * rng.normal(size=(n, 3))
    return (latent_nd * np.array([0.1, 1, 5, 20, 50]) + 3).astype(np.float32), y_nd.astype(np.float32)


@pytest.mark.parametrize("bent", [False, True], ids=["linear-map", "bent-map"])
@pytest.mark.parametrize("name", GUIDANCE.names())
def test_true_pairs_beat_shuffled_ones_where_the_map_is_known(name, bent):
    (x_nd, y_nd), (held_x_nd, held_y_nd) = known_pairs(300, 1, bent=bent), known_pairs(200, 2, bent=bent)

    def explained(z_superior_nd: np.ndarray) -> float:
        model: Any = build_guidance(name, **PARAMS.get(name, {}))
        more = {"decoder": Linear(np.eye(3), np.zeros(3))} if needs_decoder(model) else {}
        return r2(model.fit(x_nd, z_superior_nd, seed=0, **more).predict(held_x_nd), held_y_nd)

    true = explained(y_nd)
    assert true > (0.6 if name == "retrieval" else 0.75)
    assert explained(shuffle_pairs(y_nd, seed=0, permutation=0)) < 0.1 < true


def test_what_is_bent_needs_more_than_a_linear_map():
    (x_nd, y_nd), (held_x_nd, held_y_nd) = known_pairs(300, 1, bent=True), known_pairs(200, 2, bent=True)
    held = {
        n: build_guidance(n).fit(x_nd, y_nd, seed=0).predict(held_x_nd) for n in ("ridge", "linear", "kernel_ridge")
    }
    linear = max(r2(held[name], held_y_nd) for name in ("ridge", "linear"))
    residual = ResidualMlp(**SMALL).fit(x_nd, y_nd, seed=0).predict(held_x_nd)
    assert r2(held["kernel_ridge"], held_y_nd) > linear + 0.03
    assert r2(residual, held_y_nd) > linear + 0.01


@pytest.mark.parametrize(("n", "d_in"), [(60, 8), (20, 40)])
def test_linear_is_the_shortest_least_squares(n, d_in):
    rng = np.random.default_rng(0)
    x_nd, y_nd = rng.normal(size=(n, d_in)).astype(np.float32), rng.normal(size=(n, 3)).astype(np.float32)
    model = build_guidance("linear").fit(x_nd, y_nd, seed=0)
    scale = Standardiser.fit(x_nd)
    weight_nd = np.linalg.pinv(scale.apply(x_nd), rcond=1e-6) @ (y_nd - y_nd.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(model.tensors()["weight"], weight_nd, atol=1e-7)


def test_pls_equals_scikit_learn_at_each_number_of_components():
    from sklearn.cross_decomposition import PLSRegression

    x_nd, y_nd = known_pairs(80, 1, bent=False)
    for count in (1, 3):
        model = Pls(n_components=(count,)).fit(x_nd, y_nd, seed=0)
        reference = PLSRegression(n_components=count, scale=True).fit(x_nd.astype(float), y_nd.astype(float))
        np.testing.assert_allclose(model.predict(x_nd), reference.predict(x_nd.astype(float)), rtol=1e-4, atol=1e-4)


def test_canonical_correlations_are_scikit_learns():
    from sklearn.cross_decomposition import CCA

    x_nd, y_nd = (Standardiser.fit(v).apply(v) for v in known_pairs(200, 1, bent=True))
    _, correlations = canonical(principal(x_nd)[0], principal(y_nd)[0])
    scores = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-12).fit_transform(x_nd, y_nd)
    expected = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(correlations, expected, atol=1e-4)


def test_kernel_ridge_equals_scikit_learn_and_explicit_leave_one_out():
    from sklearn.kernel_ridge import KernelRidge as Reference

    x_nd, y_nd = known_pairs(30, 1, bent=True)
    x, y = (Standardiser.fit(v).apply(v) for v in (x_nd, y_nd))
    distances = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))
    median = np.median(distances[np.triu_indices(30, k=1)])
    losses = {}
    grid = [(bandwidth, alpha) for bandwidth in (0.5, 1.0, 2.0) for alpha in (0.01, 1.0)]
    for bandwidth, alpha in grid:
        reference = Reference(kernel="rbf", gamma=1 / (2 * (bandwidth * median) ** 2), alpha=alpha)
        keep = [np.arange(30) != i for i in range(30)]
        errors = [y[~k] - reference.fit(x[k], y[k]).predict(x[~k]) for k in keep]
        losses[bandwidth, alpha] = np.mean(np.square(errors))
    model = KernelRidge(bandwidths=(0.5, 1.0, 2.0), alphas=(0.01, 1.0)).fit(x_nd, y_nd, seed=0)
    best = min(losses, key=losses.__getitem__)
    assert (model.facts["bandwidth"], model.facts["alpha"]) == best
    assert model.facts["loo_mse_standardised"] == pytest.approx(losses[best], rel=1e-6)
    reference = Reference(kernel="rbf", gamma=1 / (2 * (best[0] * median) ** 2), alpha=best[1]).fit(x, y)
    expected = Standardiser.fit(y_nd).invert(reference.predict(x))
    np.testing.assert_allclose(model.predict(x_nd), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ties", [False, True])
def test_neighbours_are_the_same_with_and_without_faiss_and_as_scikit_learns(monkeypatch, ties):
    pytest.importorskip("faiss")
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    train_nd, x_nd = rng.normal(size=(400, 12)) + 5, rng.normal(size=(50, 12)) + 5
    if ties:  # many equal rows: of equals the earlier
        train_nd = np.round(train_nd[:40])[rng.integers(0, 40, 400)]
    by_faiss = Nearest(train_nd)
    monkeypatch.setitem(sys.modules, "faiss", None)
    by_numpy = Nearest(train_nd)
    assert by_faiss._index is not None
    assert by_numpy._index is None
    assert np.array_equal(by_faiss.search(x_nd, 5), by_numpy.search(x_nd, 5))
    assert np.array_equal(by_faiss.search(x_nd * 1e30, 5), by_numpy.search(x_nd * 1e30, 5))
    if not ties:
        reference = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(train_nd)
        assert np.array_equal(by_numpy.search(x_nd, 5), reference.kneighbors(x_nd, return_distance=False))


def test_retrieval_is_the_mean_of_neighbours_and_chooses_k_without_the_case_itself():
    x_nd, y_nd = known_pairs(60, 1, bent=False)
    x, y = (Standardiser.fit(v).apply(v) for v in (x_nd, y_nd))
    order = np.argsort(((x[:, None] - x) ** 2).sum(axis=2) + np.diag(np.full(60, np.inf)), axis=1)
    losses = {k: float(np.mean((y[order[:, :k]].mean(axis=1) - y) ** 2)) for k in (1, 4, 30)}
    model = Retrieval(ks=(1, 4, 30)).fit(x_nd, y_nd, seed=0)
    assert model.facts["k"] == min(losses, key=losses.__getitem__) == 4
    assert model.facts["loo_mse_standardised"] == pytest.approx(losses[4])
    neighbours = np.argsort(((x[3] - x) ** 2).sum(axis=1))[:4]
    np.testing.assert_allclose(model.predict(x_nd[3:4])[0], y_nd[neighbours].mean(axis=0), rtol=1e-5)
    with pytest.raises(InvalidInputError, match="retrieval: k is 61"):
        Retrieval.from_tensors(model.config, model.tensors() | {"k": np.array([61.0])})


def test_variational_knows_where_it_knows_less():
    """Noise of 0.05 where the first column is negative, of 1 where it is positive: the variance says so."""
    rng = np.random.default_rng(0)
    x_nd = rng.normal(size=(600, 3)).astype(np.float32)
    deviation = np.where(x_nd[:, :1] > 0, 1.0, 0.05)
    y_nd = (x_nd @ rng.normal(size=(3, 2)) + deviation * rng.normal(size=(600, 2))).astype(np.float32)
    model = Variational(**SMALL | {"latent": 8, "dropout": 0.0, "epochs": 60}).fit(x_nd, y_nd, seed=0)
    variance_nd = model.predict_variance(x_nd)
    assert variance_nd.shape == (600, 2)
    assert np.median(variance_nd[x_nd[:, 0] > 0.5]) > 3 * np.median(variance_nd[x_nd[:, 0] < -0.5])


def test_residual_mlp_keeps_ridge_as_it_is():
    x_nd, y_nd = known_pairs(80, 1, bent=True)
    model = ResidualMlp(hidden=(8,), epochs=1).fit(x_nd, y_nd, seed=0)
    ridge = Ridge().fit(x_nd, y_nd, seed=0)
    weight_nd = model.tensors()["linear_layer0_weight"].T * Standardiser.fit(y_nd).scale
    np.testing.assert_allclose(weight_nd, ridge.tensors()["weight"], rtol=1e-10)
    assert model.facts["alpha"] == ridge.facts["alpha"]


@pytest.mark.parametrize("kind", ["linear", "logistic", "mlp"])
def test_the_frozen_decoder_is_the_same_function_of_standardised_codes(kind):
    _, y_nd = known_pairs(90, 1, bent=False)
    labels = np.arange(90) % 3
    fitted = {"logistic": Logistic(Cs=(1.0,)), "mlp": Mlp(hidden_units=6, epochs=3)}
    decoder = Linear(np.random.default_rng(0).normal(size=(3, 3)), np.arange(3.0)) if kind == "linear" else fitted[kind]
    if kind != "linear":
        fitted[kind].fit(y_nd, labels, y_nd, labels, n_classes=3, seed=0)
    scale = Standardiser.fit(y_nd)
    layers = teacher_layers(decoder, scale, scale.apply(y_nd), "test")
    logits_nk = run_layers(layers, scale.apply(y_nd))
    assert logits_nk.std() == pytest.approx(1.0, rel=1e-5)
    log_p = np.log(decoder.predict_proba(y_nd))
    spread = (log_p - log_p.mean(axis=1, keepdims=True)).std()
    np.testing.assert_allclose(softmax(logits_nk * spread), decoder.predict_proba(y_nd), atol=1e-4)


def test_task_aware_keeps_what_the_frozen_decoder_reads():
    """D_S reads the third dimension of z_S alone, which is the hardest: more weight on its logits moves G there."""
    rng = np.random.default_rng(0)
    x_nd = rng.normal(size=(200, 4)).astype(np.float32)
    easy_nd = x_nd @ rng.normal(size=(4, 30))
    y_nd = np.hstack([easy_nd, np.tanh(3 * x_nd[:, :1] * x_nd[:, 1:2])]).astype(np.float32)
    reads_last = Linear(np.vstack([np.zeros(31), np.eye(31)[-1]]), np.zeros(2))
    errors = {}
    for weight in (0.01, 3.0):
        model = build_guidance("task_aware", hidden=(8,), epochs=60, loss={"mse": 1.0, "logits": weight})
        predicted_nd = model.fit(x_nd, y_nd, seed=0, decoder=reads_last).predict(x_nd)  # pyright: ignore[reportCallIssue]
        errors[weight] = np.mean((predicted_nd[:, -1] - y_nd[:, -1]) ** 2) / y_nd[:, -1].var()
    assert errors[3.0] < 0.7 * errors[0.01]


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("autoencoder", {"loss": "mse+cosin"}, "loss 'cosin' is unknown: did you mean 'cosine'"),
        ("contrastive", {"loss": {"mse": 0}}, "the weight of mse is 0; it must be a number above 0"),
        ("variational", {"loss": {}}, "loss is {}; give names"),
        ("task_aware", {"loss": "mse"}, "loss is mse; add logits"),
        ("task_aware", {"epochs": 0}, "epochs is 0"),
        ("residual_mlp", {"alpha": 1}, "parameter 'alpha' is unknown: did you mean 'alphas'"),
        ("retrieval", {"ks": (0,)}, "an entry is 0; it must be an integer of at least 1"),
        ("kernel_ridge", {"bandwidths": ()}, r"bandwidths is \(\); it must be a list of at least 1"),
        ("pls", {"n_component": 3}, "did you mean 'n_components'"),
        ("cca", {"n_components": [1.5]}, "an entry is 1.5; it must be an integer"),
        ("linear", {"resolution": 2}, "linear: resolution is 2"),
        ("variational", {"latent": 0}, "variational: latent is 0"),
        ("contrastive", {"temperature": 0}, "contrastive: temperature is 0"),
    ],
)
def test_parameters_are_refused_in_a_sentence(name, params, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        build_guidance(name, **params)


def test_losses_have_one_form_however_they_are_written():
    configs = [build_guidance("autoencoder", loss=loss).config for loss in ("cosine + mse", {"mse": 1, "cosine": 1.0})]
    assert configs[0] == configs[1]
    assert configs[0]["loss"] == {"mse": 1.0, "cosine": 1.0}


def test_a_missing_or_foreign_decoder_is_a_sentence():
    x_nd, y_nd = known_pairs(20, 1, bent=False)
    model: Any = build_guidance("task_aware", epochs=1)
    with pytest.raises(InvalidInputError, match="the frozen D_S, which is missing"):
        model.fit(x_nd, y_nd, seed=0)
    with pytest.raises(InvalidInputError, match="D_S reads 4 dimensions, but z_S has 3"):
        model.fit(x_nd, y_nd, seed=0, decoder=Linear(np.ones((2, 4)), np.zeros(2)))
    forest = build_decoder("random_forest", trees=2)
    with pytest.raises(InvalidInputError, match="'random_forest' has no layers to go through; use logistic or"):
        model.fit(x_nd, y_nd, seed=0, decoder=forest)


def test_networks_say_when_they_diverge():
    x_nd, y_nd = known_pairs(60, 1, bent=False)
    model = build_guidance("contrastive", learning_rate=1e30, epochs=3)
    with pytest.raises(DivergedError, match=r"contrastive: training diverged in epoch \d"):
        model.fit(x_nd, y_nd, seed=0)
    with pytest.raises(InvalidInputError, match="not fitted"):
        model.predict(x_nd)
