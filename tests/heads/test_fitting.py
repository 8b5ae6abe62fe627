"""Many fits at once: any mix, in order, each its own."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders, fit_guidance
from guidestore.heads.protocol import DecoderProblem, GuidanceProblem
from guidestore.heads.registry import build_decoder, build_guidance

RNG = np.random.default_rng(0)
X_ND, X_VAL_ND = RNG.normal(size=(60, 5)).astype(np.float32), RNG.normal(size=(20, 5)).astype(np.float32)
Y_ND = RNG.normal(size=(60, 4)).astype(np.float32)


def problem(name: str, k: int = 3, seed: int = 0, **params: object) -> DecoderProblem:
    return DecoderProblem(build_decoder(name, **params), X_ND, np.arange(60) % k, X_VAL_ND, np.arange(20) % k, k, seed)


def test_a_mix_comes_back_in_order_and_a_divergence_stays_in_its_place():
    wild = {"standardise": False, "learning_rate": 1e30, "epochs": 9}
    problems = [
        problem("logistic"), problem("mlp", 2, epochs=5), problem("mlp", 3, **wild), problem("mlp", 4, 1, epochs=7),
        problem("logistic", 2), problem("mlp", 3, epochs=5, standardise=False),
        problem("mlp", 3, hidden_units=0, epochs=5),
    ]  # fmt: skip
    fitted = fit_decoders(problems)
    assert isinstance(fitted[2], DivergedError)
    assert "mlp: training diverged in epoch" in str(fitted[2])
    assert "at learning rate 1e+30" in str(fitted[2])
    with pytest.raises(InvalidInputError, match="not fitted"):
        problems[2].decoder.tensors()
    for i in (0, 1, 3, 4, 5, 6):
        assert fitted[i] is problems[i].decoder
        k, decoder = problems[i].n_classes, problems[i].decoder
        alone = build_decoder(decoder.name, **{key: v for key, v in decoder.config.items() if key != "name"})
        alone.fit(X_ND, np.arange(60) % k, X_VAL_ND, np.arange(20) % k, n_classes=k, seed=problems[i].seed)
        np.testing.assert_allclose(decoder.predict_proba(X_VAL_ND), alone.predict_proba(X_VAL_ND), atol=1e-4)


def test_guidance_of_several_kinds():
    models = [
        build_guidance("ridge"), build_guidance("autoencoder", hidden=(6,), epochs=4),
        build_guidance("autoencoder", hidden=(6,), epochs=4, standardise=False, learning_rate=1e30),
        build_guidance("autoencoder", hidden=(6, 3), epochs=4),
    ]  # fmt: skip
    fitted = fit_guidance([GuidanceProblem(model, X_ND, Y_ND, 0) for model in models])
    assert [result is model for result, model in zip(fitted, models, strict=True)] == [True, True, False, True]
    assert isinstance(fitted[2], DivergedError)
    for i in (1, 3):
        alone = build_guidance("autoencoder", hidden=models[i].config["hidden"], epochs=4).fit(X_ND, Y_ND, seed=0)
        np.testing.assert_allclose(models[i].predict(X_VAL_ND), alone.predict(X_VAL_ND), atol=1e-5)


def test_nothing_is_trained_where_one_problem_is_none():
    good, bad = problem("mlp", epochs=5), problem("mlp", epochs=5, class_weights=(1.0, 2.0))
    with pytest.raises(InvalidInputError, match="class_weights has 2 values but there are 3 classes"):
        fit_decoders([good, bad])
    with pytest.raises(InvalidInputError, match="not fitted"):
        good.decoder.tensors()
    assert fit_decoders([]) == []


def test_problems_on_the_same_codes_hold_them_standardised_once():
    """What is traced is numpy's memory: the codes, not the weights."""
    x_nd, x_val_nd = (RNG.normal(size=(n, 4000)).astype(np.float32) for n in (200, 20))

    def peak_bytes(n_problems: int) -> int:
        decoders = [build_decoder("mlp", hidden_units=0, epochs=1) for _ in range(n_problems)]
        problems = [DecoderProblem(d, x_nd, np.arange(200) % 2, x_val_nd, np.arange(20) % 2, 2, 0) for d in decoders]
        tracemalloc.start()
        fit_decoders(problems)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(12) < peak_bytes(1) + 2 * x_nd.nbytes
