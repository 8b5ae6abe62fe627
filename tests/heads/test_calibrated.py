"""Temperature scaling around any decoder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.calibrated import Calibrated
from guidestore.heads.decoders.common.temperature import COLDEST, HOTTEST, fit_temperature
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.guidance.common.frozen_decoder import teacher_layers
from guidestore.heads.networks import softmax
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import DECODERS, build_decoder, load_decoder
from guidestore.heads.scaling import Standardiser
from tests.heads.counting import CountedMlp, offer_counted

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"epochs": 5}, "random_forest": {"trees": 10}, "xgboost": {"rounds": 10},
}  # fmt: skip


def blobs(n: int, seed: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(5).normal(size=(3, 8))
    return (centres[labels] + spread * rng.normal(size=(n, 8))).astype(np.float32), labels


TRAIN, VAL, TEST = blobs(60, 0), blobs(60, 1), blobs(600, 2)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error over 10 equal bins of the confidence."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).sum() for b in np.unique(bins)]
    return sum(gaps) / len(labels)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_finds_the_temperature_that_labels_were_drawn_at(temperature):
    rng = np.random.default_rng(0)
    logits_nk = 2 * rng.normal(size=(8000, 4))
    probabilities = softmax(logits_nk / temperature)
    labels = (probabilities.cumsum(axis=1) > rng.random((8000, 1))).argmax(axis=1)
    assert fit_temperature(logits_nk, labels) == pytest.approx(temperature, rel=0.05)


def test_has_the_least_cross_entropy_to_the_softened_labels():
    rng = np.random.default_rng(0)
    logits_nk, labels = 3 * rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    wanted_nk = (40 * np.eye(3)[labels] + 1 / 3) / 41

    def loss(temperature: float) -> float:
        return float(-(wanted_nk * np.log(softmax(logits_nk / temperature))).sum())

    temperature = fit_temperature(logits_nk, labels)
    assert COLDEST < temperature < HOTTEST
    assert all(loss(temperature) < loss(temperature * factor) for factor in (0.98, 1.02))


def test_val_without_a_mistake_or_with_hardly_a_row_asks_for_nothing_wild():
    logits_nk = np.log(np.full((20, 2), 0.2) + 0.6 * np.eye(2)[np.arange(20) % 2])
    labels = np.arange(20) % 2
    sure = softmax(logits_nk / fit_temperature(logits_nk, labels)).max(axis=1)
    np.testing.assert_allclose(sure, (20 + 0.5) / 21)  # a case more that may be either
    assert fit_temperature(logits_nk, 1 - labels) == pytest.approx(HOTTEST)
    assert fit_temperature(logits_nk[:1], labels[:1]) == 1.0
    decoder = build_decoder("logistic", calibration="temperature")
    decoder.fit(*TRAIN, VAL[0][:1], VAL[1][:1], n_classes=3, seed=0)
    assert decoder.facts["calibration_temperature"] == 1.0
    with pytest.raises(InvalidInputError, match="val codes have 0 rows"):
        decoder.fit(*TRAIN, VAL[0][:0], VAL[1][:0], n_classes=3, seed=0)


@pytest.mark.parametrize("name", DECODERS.names())
def test_goes_around_any_decoder_and_leaves_the_likeliest_class(name):
    plain, decoder = (
        build_decoder(name, **SMALL.get(name, {}), calibration=how).fit(*TRAIN, *VAL, n_classes=3, seed=0)
        for how in ("none", "temperature")
    )
    assert decoder.config == {"name": "calibrated", "calibration": "temperature", "decoder": plain.config}
    assert decoder.facts == plain.facts | {"calibration_temperature": decoder.facts["calibration_temperature"]}
    assert decoder.tensors().keys() - plain.tensors().keys() == {"calibration_temperature"}
    before, after = plain.predict_proba(TEST[0]), decoder.predict_proba(TEST[0])
    assert before.argmax(axis=1).tolist() == after.argmax(axis=1).tolist()
    expected = softmax(np.log(before) / decoder.facts["calibration_temperature"])
    np.testing.assert_allclose(after, expected, rtol=1e-12)
    loaded = load_decoder(json.loads(json.dumps(decoder.config)), decoder.tensors())
    assert np.array_equal(loaded.predict_proba(TEST[0]), after)
    assert loaded.config == decoder.config


def test_a_sure_decoder_becomes_calibrated():
    params = {"epochs": 200, "patience": 200, "learning_rate": 0.05, "hidden_units": 50, "dropout": 0.0}
    # Stopped on train itself, so never.
    sure = build_decoder("mlp", **params).fit(*TRAIN, *TRAIN, n_classes=3, seed=0)
    around = Calibrated(sure)
    around.calibrate(DecoderProblem(around, *TRAIN, *blobs(120, 3), 3, 0))
    errors = [calibration_error(decoder.predict_proba(TEST[0]), TEST[1]) for decoder in (sure, around)]
    assert around.facts["calibration_temperature"] > 1.5
    assert errors[0] > 0.1
    assert errors[1] < 0.5 * errors[0]


def test_a_batch_is_each_as_alone_and_a_divergence_stays_in_its_place(monkeypatch):
    offer_counted(monkeypatch)
    wild = {"standardise": False, "learning_rate": 1e30, "epochs": 9}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("counted_mlp", {"epochs": 5, "calibration": "temperature"}),
        ("logistic", {"calibration": "temperature"}),
        ("counted_mlp", {"epochs": 5}),
        ("counted_mlp", wild | {"calibration": "temperature"}),
        ("counted_mlp", {"epochs": 6, "calibration": "temperature"}),
    ]
    problems = [DecoderProblem(build_decoder(name, **params), *TRAIN, *VAL, 3, 0) for name, params in asked]
    fitted = fit_decoders(problems)
    assert [len(batch) for batch in CountedMlp.batches] == [4]
    for i, (name, params) in enumerate(asked):
        if i == 3:
            assert isinstance(fitted[i], DivergedError)
            with pytest.raises(InvalidInputError, match="not fitted"):
                problems[i].decoder.predict_proba(TEST[0])
            continue
        assert fitted[i] is problems[i].decoder
        alone = build_decoder(name, **params).fit(*TRAIN, *VAL, n_classes=3, seed=0)
        np.testing.assert_allclose(problems[i].decoder.predict_proba(TEST[0]), alone.predict_proba(TEST[0]), atol=1e-4)
        assert problems[i].decoder.facts == pytest.approx(alone.facts, rel=1e-3)


def test_guidance_is_trained_through_what_is_within():
    y_nd = VAL[0]
    scale = Standardiser.fit(y_nd)
    plain, decoder = (
        build_decoder("logistic", calibration=how).fit(*TRAIN, *VAL, n_classes=3, seed=0)
        for how in ("none", "temperature")
    )
    both = [teacher_layers(d_s, scale, scale.apply(y_nd), "test") for d_s in (plain, decoder)]
    for (weight, bias), (same_weight, same_bias) in zip(*both, strict=True):
        np.testing.assert_array_equal(weight, same_weight)
        np.testing.assert_array_equal(bias, same_bias)
    forest = build_decoder("random_forest", trees=3, calibration="temperature").fit(*TRAIN, *VAL, n_classes=3, seed=0)
    with pytest.raises(InvalidInputError, match="'random_forest' has no layers to go through; use logistic or"):
        teacher_layers(forest, scale, scale.apply(y_nd), "test")


def test_what_is_asked_wrongly_is_a_sentence():
    with pytest.raises(InvalidInputError, match="calibration 'temprature' is unknown: did you mean 'temperature'"):
        build_decoder("mlp", calibration="temprature")
    with pytest.raises(InvalidInputError, match="goes around another; build that one with calibration='temperature'"):
        build_decoder("calibrated")
    decoder = build_decoder("radpath-paper", calibration="temperature")
    with pytest.raises(InvalidInputError, match="calibrated is not fitted"):
        decoder.predict_proba(TEST[0])
    with pytest.raises(InvalidInputError, match="calibrated is not fitted"):
        decoder.tensors()
    fitted = build_decoder("prototype", calibration="temperature").fit(*TRAIN, *VAL, n_classes=3, seed=0)
    with pytest.raises(InvalidInputError, match="the config of calibrated lacks calibration, decoder"):
        load_decoder({"name": "calibrated"}, fitted.tensors())
    with pytest.raises(InvalidInputError, match="calibration 'isotonic' is unknown"):
        load_decoder(fitted.config | {"calibration": "isotonic"}, fitted.tensors())
    with pytest.raises(InvalidInputError, match="'calibration_temperature' is missing"):
        load_decoder(fitted.config, {k: v for k, v in fitted.tensors().items() if k != "calibration_temperature"})
