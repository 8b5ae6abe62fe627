from __future__ import annotations

import numpy as np
import pytest

from guidestore.heads.decoders.common.calibrated import Calibrated
from guidestore.heads.decoders.common.temperature import HOTTEST
from guidestore.heads.decoders.linear_svm import LinearSvm
from guidestore.heads.guidance.common.frozen_decoder import teacher_layers
from guidestore.heads.networks import run_layers
from guidestore.heads.scaling import Standardiser


def blobs(counts: tuple[int, ...], seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(5).normal(size=(len(counts), 4))
    return (centres[labels] + spread * rng.normal(size=(len(labels), 4))).astype(np.float32), labels


@pytest.mark.parametrize("counts", [(40, 20, 15), (40, 20)])
def test_margins_and_predictions_are_those_of_scikit_learn(counts):
    from sklearn.svm import LinearSVC

    (x_nd, labels), val = blobs(counts, 0, 2.0), blobs(counts, 1, 2.0)
    decoder = LinearSvm(Cs=(0.3,)).fit(x_nd, labels, *val, n_classes=len(counts), seed=0)
    scaled_nd = (x_nd - x_nd.mean(axis=0)) / x_nd.std(axis=0)
    dual: object = False
    model = LinearSVC(C=0.3, dual=dual, random_state=0)  # pyright: ignore[reportArgumentType]
    weights_k = len(labels) / (len(counts) * np.array(counts))
    model.fit(scaled_nd, labels, sample_weight=weights_k[labels])
    margins = model.decision_function(scaled_nd)
    log_p = np.log(decoder.predict_proba(x_nd)) * decoder.facts["temperature"]
    if len(counts) == 2:
        np.testing.assert_allclose(log_p[:, 1] - log_p[:, 0], 2 * margins, atol=1e-4)
    else:
        np.testing.assert_allclose(log_p - log_p[:, :1], margins - margins[:, :1], atol=1e-4)
    assert decoder.predict_proba(x_nd).argmax(axis=1).tolist() == list(model.predict(scaled_nd))


def test_the_penalty_is_that_of_the_least_val_loss():
    (x_nd, labels), (x_val_nd, labels_val) = blobs((12, 12), 0, 3.0), blobs((40, 40), 1, 3.0)
    decoder = LinearSvm().fit(x_nd, labels, x_val_nd, labels_val, n_classes=2, seed=0)
    alone = [
        LinearSvm(Cs=(C,)).fit(x_nd, labels, x_val_nd, labels_val, n_classes=2, seed=0).facts
        for C in decoder.settings.Cs
    ]
    assert decoder.facts == min(alone, key=lambda facts: facts["val_loss"])
    assert len({facts["temperature"] for facts in alone}) == len(alone)
    contrary = LinearSvm().fit(x_nd, labels, x_nd, 1 - labels, n_classes=2, seed=0)
    assert contrary.facts["temperature"] == pytest.approx(HOTTEST)
    assert contrary.facts["converged"] == 1.0
    assert LinearSvm(Cs=(9.0,), max_iter=1).fit(x_nd, labels, x_nd, labels, n_classes=2, seed=0).facts["converged"] == 0


def test_calibrating_it_again_changes_nothing():
    train, val = blobs((40, 20, 15), 0, 2.0), blobs((40, 20, 15), 1, 2.0)
    decoder = Calibrated(LinearSvm()).fit(*train, *val, n_classes=3, seed=0)
    assert decoder.facts["calibration_temperature"] == pytest.approx(1.0)


def test_guidance_can_be_trained_through_it():
    y_nd, labels = blobs((40, 20, 15), 0)
    decoder = LinearSvm().fit(y_nd, labels, y_nd, labels, n_classes=3, seed=0)
    scale = Standardiser.fit(y_nd)
    logits_nk = run_layers(teacher_layers(decoder, scale, scale.apply(y_nd), "test"), scale.apply(y_nd))
    log_p = np.log(decoder.predict_proba(y_nd))
    log_p -= log_p.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logits_nk, log_p / log_p.std(), atol=1e-4)
