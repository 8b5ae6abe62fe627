"""What is particular to each guidance model, and the shuffled control."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.controls import shuffle_pairs
from guidestore.heads.errors import DivergedError
from guidestore.heads.guidance.autoencoder import Autoencoder
from guidestore.heads.guidance.ridge import Ridge
from guidestore.heads.registry import build_guidance
from guidestore.heads.training.draws import initial_layer


def linear_pairs(n: int, d_in: int, d_out: int, seed: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x_nd = rng.normal(size=(n, d_in)) * np.random.default_rng(6).uniform(0.1, 50, d_in) + 3
    y_nd = (x_nd - 3) @ np.random.default_rng(7).normal(size=(d_in, d_out)) / 50 + noise * rng.normal(size=(n, d_out))
    return x_nd.astype(np.float32), y_nd.astype(np.float32)


@pytest.mark.parametrize(("n", "d_in"), [(60, 8), (20, 40)])
def test_ridge_equals_scikit_learn_at_the_same_alpha(n, d_in):
    from sklearn.linear_model import Ridge as Reference

    x_nd, y_nd = linear_pairs(n, d_in, 5, seed=1)
    model = Ridge().fit(x_nd, y_nd, seed=0)
    x64_nd = x_nd.astype(np.float64)
    scaled_nd = (x64_nd - x64_nd.mean(axis=0)) / x64_nd.std(axis=0)
    reference = Reference(alpha=model.facts["alpha"]).fit(scaled_nd, y_nd.astype(np.float64))
    np.testing.assert_allclose(model.predict(x_nd), reference.predict(scaled_nd), rtol=2e-5, atol=2e-5)


def test_ridge_chooses_the_alpha_of_explicit_leave_one_out():
    from sklearn.linear_model import Ridge as Reference

    x_nd, y_nd = linear_pairs(25, 12, 3, seed=2, noise=2.0)
    alphas = (0.01, 1.0, 10.0, 100.0, 1e4)
    x, y = (
        (v.astype(np.float64) - v.mean(axis=0, dtype=np.float64)) / v.std(axis=0, dtype=np.float64)
        for v in (x_nd, y_nd)
    )
    losses = {}
    for alpha in alphas:
        errors = []
        for i in range(25):
            keep = np.arange(25) != i
            errors.append(y[i] - Reference(alpha=alpha).fit(x[keep], y[keep]).predict(x[i : i + 1])[0])
        losses[alpha] = np.mean(np.square(errors))
    facts = Ridge(alphas=alphas).fit(x_nd, y_nd, seed=0).facts
    best = min(losses, key=losses.__getitem__)
    assert best not in (alphas[0], alphas[-1])
    assert facts["alpha"] == best
    assert facts["loo_mse_standardised"] == pytest.approx(losses[best], rel=1e-4)


def test_autoencoder_of_the_paper_has_its_widths_and_a_relu_output():
    rng = np.random.default_rng(0)
    x_nd, y_nd = rng.random((60, 1024), dtype=np.float32), rng.normal(size=(60, 512)).astype(np.float32)
    model = build_guidance("radpath-paper", epochs=1).fit(x_nd, y_nd, seed=0)
    shapes = [tensor.shape for name, tensor in model.tensors().items() if name.endswith("weight")]
    assert shapes == [(512, 1024), (256, 512), (256, 256), (512, 256)]
    assert model.predict(x_nd).min() == 0.0
    config = model.config
    assert (config["learning_rate"], config["dropout"], config["batch_size"], config["weight_decay"]) == (
        0.5,
        0.25,
        50,
        1e-6,
    )
    assert build_guidance("radpath-paper").config["epochs"] == 150


def test_autoencoder_step_equals_torchs_own_modules():
    """One epoch of one batch without dropout: the same start must give the same weights as torch.nn and torch.optim."""
    import torch

    x_nd, y_nd = (torch.from_numpy(v) for v in linear_pairs(20, 6, 3, seed=3))
    params = {"hidden": (5,), "dropout": 0.0, "standardise": False, "batch_size": 20, "learning_rate": 1e-3}
    epochs = [Autoencoder(**params, epochs=epochs, weight_decay=0.01) for epochs in (1, 4)]
    start, end = (model.fit(x_nd.numpy(), y_nd.numpy(), seed=1).tensors() for model in epochs)
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    first = [initial_layer(1, layer, *widths) for layer, widths in enumerate(((6, 5), (5, 3)))]
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), itertools.chain(*first), strict=True):
            parameter.copy_(torch.from_numpy(values))
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=0.01)
    for epoch in range(4):
        optimiser.zero_grad()
        torch.nn.MSELoss()(network(x_nd), y_nd).backward()
        optimiser.step()
        wanted = (start, end)[epoch > 0]
        if epoch in (0, 3):
            got = [wanted[f"layer{i}_{part}"] for i in (0, 1) for part in ("weight", "bias")]
            for parameter, array in zip(network.parameters(), got, strict=True):
                np.testing.assert_allclose(array, parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_autoencoder_says_when_it_diverges():
    x_nd, y_nd = linear_pairs(60, 6, 3, seed=1)
    model = Autoencoder(standardise=False, learning_rate=5.0, epochs=20)
    with pytest.raises(DivergedError, match=r"diverged in epoch \d+ \(loss (nan|inf)\) at learning rate 5; lower"):
        model.fit(x_nd * 20, y_nd * 20, seed=0)
    with pytest.raises(InvalidInputError, match="not fitted"):
        model.predict(x_nd)


@pytest.mark.parametrize(("n", "d_in", "d_out"), [(12, 2, 1), (60, 1024, 2), (200, 4, 64)])
def test_autoencoder_defaults_stay_stable_at_any_width_and_scale(n, d_in, d_out):
    x_nd, y_nd = linear_pairs(n, d_in, d_out, seed=1)
    model = Autoencoder(epochs=20).fit(x_nd * 1e4, y_nd * 1e4, seed=0)
    assert model.facts["train_loss"] < 1.1
    assert model.facts["learning_rate"] == pytest.approx({1: 0.02, 2: 0.02 * 2**0.5, 64: 0.05}[d_out])


@given(st.integers(2, 30), st.integers(0, 2**40), st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_shuffle_is_a_seeded_permutation_and_never_the_identity(n, seed, permutation):
    z_nd = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    shuffled_nd = shuffle_pairs(z_nd, seed=seed, permutation=permutation)
    assert not np.array_equal(shuffled_nd, z_nd)
    assert np.array_equal(shuffled_nd[np.argsort(shuffled_nd[:, 0])], z_nd)
    assert np.array_equal(shuffled_nd, shuffle_pairs(z_nd, seed=seed, permutation=permutation))


def test_shuffle_differs_by_permutation_and_seed_and_refuses_one_pair():
    z_nd = np.arange(50, dtype=np.float32)[:, None]
    drawn = {shuffle_pairs(z_nd, seed=s, permutation=p).tobytes() for s in (0, 1) for p in (0, 1, 2)}
    assert len(drawn) == 6
    with pytest.raises(InvalidInputError, match="1 train pairs cannot be shuffled"):
        shuffle_pairs(z_nd[:1], seed=0, permutation=0)


@pytest.mark.parametrize("name", ["ridge", "autoencoder"])
def test_shuffled_pairs_teach_nothing(name):
    params = {"autoencoder": {"hidden": (32,), "epochs": 60}}.get(name, {})
    x_nd, y_nd = linear_pairs(400, 5, 3, seed=1, noise=0.1)
    held_x_nd, held_y_nd = linear_pairs(300, 5, 3, seed=2, noise=0.1)

    def r2(z_superior_nd: np.ndarray) -> float:
        predicted_nd = build_guidance(name, **params).fit(x_nd, z_superior_nd, seed=0).predict(held_x_nd)
        return 1 - ((predicted_nd - held_y_nd) ** 2).sum() / ((held_y_nd - held_y_nd.mean(axis=0)) ** 2).sum()

    assert r2(y_nd) > 0.8
    for permutation in (0, 1):
        assert -0.25 < r2(shuffle_pairs(y_nd, seed=0, permutation=permutation)) < 0.1
