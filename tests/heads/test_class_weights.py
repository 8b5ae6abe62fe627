"""Class weights of every decoder that has a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.class_weights import class_weights_k, weighted_log_loss, weights_as_given_k
from guidestore.heads.registry import build_decoder, check_class_weights

WEIGHTED = [
    pytest.param("linear_svm", {"Cs": (0.01,)}, id="linear_svm"),
    pytest.param("logistic", {"Cs": (0.1,)}, id="logistic"),
    pytest.param("mlp", {"epochs": 40}, id="mlp"),
    pytest.param("random_forest", {"trees": 40, "min_leaves": (5,)}, id="random_forest"),
    pytest.param("xgboost", {"rounds": 30}, id="xgboost"),
]


def blobs(counts: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(5).normal(size=(len(counts), 4))
    return (centres[labels] + 1.5 * rng.normal(size=(len(labels), 4))).astype(np.float32), labels


TRAIN, VAL, TEST = blobs((180, 20), 0), blobs((90, 10), 1), blobs((400, 400), 2)


def fitted(name: str, params: dict[str, Any], weights: Any) -> Any:
    decoder: Any = build_decoder(name, **params, class_weights=weights)
    return decoder.fit(*TRAIN, *VAL, n_classes=2, seed=0)


@pytest.mark.parametrize(("name", "params"), WEIGHTED)
class TestEveryDecoder:
    def test_recall_of_the_rare_class_grows_with_its_weight(self, name, params):
        x_nd, labels = TEST
        recalls = [
            (fitted(name, params, weights).predict_proba(x_nd).argmax(axis=1) == labels)[labels == 1].mean()
            for weights in ("none", "balanced", (1.0, 60.0))
        ]
        assert recalls[1] > recalls[0] + 0.15
        assert recalls[2] > recalls[1]

    def test_words_are_numbers(self, name, params):
        x_nd, _ = TEST
        for word, numbers in (("none", (2.0, 2.0)), ("balanced", (1.0, 9.0))):
            first, second = (fitted(name, params, given).predict_proba(x_nd) for given in (word, numbers))
            np.testing.assert_allclose(first, second, atol=1e-3)

    def test_balanced_is_the_default(self, name, params):
        assert build_decoder(name).config["class_weights"] == "balanced"
        assert build_decoder(name, class_weights=[1, 2]).config["class_weights"] == [1, 2]

    def test_others_are_refused_in_a_sentence(self, name, params):
        with pytest.raises(InvalidInputError, match="class_weights 'balancd' is unknown: did you mean 'balanced'"):
            build_decoder(name, class_weights="balancd")
        with pytest.raises(InvalidInputError, match="an entry is 0; it must be a number above 0"):
            build_decoder(name, class_weights=(1, 0))
        with pytest.raises(InvalidInputError, match=f"{name}: class_weights has 3 values but there are 2 classes"):
            fitted(name, params, (1.0, 2.0, 3.0))
        with pytest.raises(InvalidInputError, match="3 class weights, but the target has 2 classes"):
            check_class_weights(name, ("a", "b"), {"class_weights": (1.0, 2.0, 3.0)})


@pytest.mark.parametrize(("name", "params"), [("logistic", {"Cs": (0.1,)}), ("linear_svm", {"Cs": (0.01,)})])
def test_a_weight_counts_as_repeated_rows(name, params):
    """(1, 3), of mean 1 over the 240 rows that they stand for: C is per row."""
    (x_nd, labels), sums = TRAIN, 180 + 3 * 20
    rows = np.repeat(np.arange(200), np.where(labels == 1, 3, 1))
    scaled: Any = build_decoder(name, **params, class_weights=(1.0, 3.0)).fit(x_nd, labels, *VAL, n_classes=2, seed=0)
    standard_nd = scaled._fitted[0].apply(x_nd)
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression as Reference
    else:
        from sklearn.svm import LinearSVC as Reference
    reference: Any = Reference(C=params["Cs"][0] * len(labels) / sums, tol=1e-6)
    reference.fit(standard_nd[rows], labels[rows])
    weight_kd = scaled.tensors()["weight"]
    np.testing.assert_allclose(weight_kd[1], reference.coef_[0], atol=1e-3)


def test_the_weights():
    labels = np.repeat([0, 1, 2], [6, 3, 3])
    np.testing.assert_allclose(class_weights_k("balanced", labels, 3, "x"), [2 / 3, 4 / 3, 4 / 3])
    np.testing.assert_allclose(class_weights_k("none", labels, 3, "x"), 1.0)
    np.testing.assert_allclose(weights_as_given_k((1.0, 2.0, 6.0), labels, 3, "x"), [1, 2, 6])
    of_mean_one = class_weights_k((1.0, 2.0, 6.0), labels, 3, "x")
    assert of_mean_one[labels].mean() == pytest.approx(1.0)
    np.testing.assert_allclose(of_mean_one / of_mean_one[0], [1, 2, 6])


def test_the_val_loss_is_that_of_scikit_learn():
    from sklearn.metrics import log_loss

    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=20)
    labels, weights_k = np.arange(20) % 3, np.array([1.0, 2.0, 5.0])
    expected = log_loss(labels, probabilities, sample_weight=weights_k[labels])
    assert weighted_log_loss(labels, probabilities, weights_k) == pytest.approx(expected)
    assert weighted_log_loss(np.array([1]), np.array([[1.0, 0.0]]), weights_k) < 1000


def test_decoders_without_a_loss_take_none():
    for name in ("knn", "prototype"):
        with pytest.raises(InvalidInputError, match="parameter 'class_weights' is unknown"):
            build_decoder(name, class_weights="none")
