"""Every guidance model and decoder as a scikit-learn estimator, by scikit-learn's own checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.estimators import DecoderClassifier, DecoderRegressor, GuidanceRegressor
from guidestore.heads.registry import DECODERS, DECODERS_OF, GUIDANCE, build_decoder_of, build_guidance
from guidestore.testing.decoder import labelled
from guidestore.testing.foreteller import outcomes
from guidestore.testing.guidance import pairs

SMALL_NETWORK: dict[str, Any] = {"hidden": (8,), "epochs": 100, "learning_rate": 0.02}
SMALL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("autoencoder", "contrastive", "residual_mlp"), SMALL_NETWORK),
    "variational": SMALL_NETWORK | {"hidden": (32,), "dropout": 0.0, "latent": 8, "beta": 0.1},
    "mlp": {"hidden_units": 8, "epochs": 60},
    "random_forest": {"trees": 10},
    "xgboost": {"rounds": 20},
}


TRAINED = {"mlp", "random_forest", "xgboost", *SMALL}
"""Whose checks take seconds each."""
EVERY = [
    *(GuidanceRegressor(name, SMALL.get(name)) for name in GUIDANCE.names() if name != "task_aware"),
    *(DecoderClassifier(name, SMALL.get(name)) for name in DECODERS.names()),
    *(DecoderRegressor(name, SMALL.get(name)) for name in DECODERS_OF["value"].names()),
]
"""task_aware learns through a decoder, which no regressor is given."""


def name_of(estimator: Any) -> str:
    return estimator.guidance if isinstance(estimator, GuidanceRegressor) else estimator.decoder


@parametrize_with_checks([estimator for estimator in EVERY if name_of(estimator) not in TRAINED])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([estimator for estimator in EVERY if name_of(estimator) in TRAINED])
def test_scikit_learns_checks_of_what_is_trained(estimator: Any, check: Any) -> None:
    check(estimator)


def test_they_are_what_the_models_are() -> None:
    z_i, z_s = pairs()
    regressor = GuidanceRegressor("ridge", {"alphas": (1.0,)}, seed=3).fit(z_i, z_s)
    assert np.array_equal(
        regressor.predict(z_i), build_guidance("ridge", alphas=(1.0,)).fit(z_i, z_s, seed=3).predict(z_i)
    )
    codes_nd, labels = labelled()
    names = np.array(["low", "mid", "high"])[labels]
    classifier = DecoderClassifier("logistic", val_fraction=0.25).fit(codes_nd, names)
    assert classifier.classes_.tolist() == ["high", "low", "mid"]
    assert (classifier.predict(codes_nd) == names).mean() > 0.85
    assert classifier.predict_proba(codes_nd).argmax(axis=1).tolist() == [
        classifier.classes_.tolist().index(name) for name in classifier.predict(codes_nd)
    ]


def test_they_clone_and_are_searched_and_validated() -> None:
    codes_nd, labels = labelled(120)
    search = GridSearchCV(DecoderClassifier(), {"decoder": ["logistic", "knn"], "seed": [0, 1]}, cv=3).fit(
        codes_nd, labels
    )
    assert search.best_score_ > 0.85
    scores = cross_val_score(make_pipeline(StandardScaler(), DecoderClassifier("prototype")), codes_nd, labels, cv=3)
    assert scores.mean() > 0.85
    own = clone(DecoderClassifier(GaussianNB(), seed=4))
    assert isinstance(own.decoder, GaussianNB)
    assert own.fit(codes_nd, labels).score(codes_nd, labels) > 0.85
    assert own.set_params(decoder="knn").get_params()["decoder"] == "knn"


def test_a_wrong_share_of_val_is_refused() -> None:
    codes_nd, labels = labelled()
    for wrong in (DecoderClassifier(val_fraction=1), DecoderRegressor(val_fraction=1)):
        with pytest.raises(InvalidInputError, match="val_fraction is 1"):
            wrong.fit(codes_nd, labels)


def test_a_value_is_foretold_as_the_decoder_does() -> None:
    codes_nd, y = outcomes("value")
    regressor = DecoderRegressor("ridge", seed=2).fit(codes_nd, y)
    rows = np.random.default_rng(2).permutation(len(y))
    train, val = np.sort(rows[24:]), np.sort(rows[:24])
    decoder: Any = build_decoder_of("value", "ridge")
    decoder.fit(codes_nd[train], y[train], codes_nd[val], y[val], n_classes=1, seed=2)
    assert np.array_equal(regressor.predict(codes_nd), decoder.predict(codes_nd))
    assert regressor.score(codes_nd, y) > 0.8
