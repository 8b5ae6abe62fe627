"""Logistic regression, its penalty chosen on val: the decoder to beat on any code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_codes,
    check_fit,
    check_number,
    check_numbers,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.decoders.class_weights import (
    ClassWeights,
    check_class_weights,
    class_weights_k,
    weighted_log_loss,
)
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticSettings:
    """Hyper-parameters of `Logistic`."""

    Cs: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    """Inverse penalties to choose among by the val loss, on standardised codes; 1 is scikit-learn's default."""
    class_weights: ClassWeights = "balanced"
    """Of the cross-entropy; see heads.decoders.class_weights."""
    max_iter: int = 1000
    """Steps of lbfgs for one C; scikit-learn's 100 is too few on 1,536 dimensions. Not reaching the optimum is recorded
    (`facts['converged']`), not an error."""

    def __post_init__(self) -> None:
        check_numbers(self.Cs, "logistic: Cs", 0, open_low=True)
        check_class_weights(self.class_weights, "logistic")
        check_number(self.max_iter, "logistic: max_iter", 1, integer=True)


class Logistic:
    """Multinomial logistic regression on codes standardised on train. Contract: heads.protocol.Decoder.

    C is that with the least val cross-entropy, rows weighted by class as in the fit; of equals the smallest. The
    seed is not used.
    """

    name: ClassVar[str] = "logistic"
    Settings = LogisticSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(LogisticSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray] | None = None

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        self._fitted, self.facts = None, {}
        check_seed(seed)
        x_nd, labels, x_val_nd, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        scale = Standardiser.fit(x_nd)
        x_nd, x_val_nd = scale.apply(x_nd), scale.apply(x_val_nd)
        weights_k = class_weights_k(self.settings.class_weights, labels, n_classes, self.name)
        for C in sorted(self.settings.Cs):
            model = LogisticRegression(C=C, max_iter=self.settings.max_iter)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x_nd, labels, sample_weight=weights_k[labels])
            weight_kd, bias_k = np.asarray(model.coef_), np.asarray(model.intercept_)
            if n_classes == 2:  # scikit-learn keeps the row of class 1 alone
                weight_kd = np.vstack([np.zeros_like(weight_kd), weight_kd])
                bias_k = np.append(0.0, bias_k)
            val_loss = weighted_log_loss(labels_val, softmax(x_val_nd @ weight_kd.T + bias_k), weights_k)
            if self._fitted is None or val_loss < self.facts["val_loss"]:
                self._fitted = (scale, np.ascontiguousarray(weight_kd), bias_k)
                converged = float(model.n_iter_.max() < self.settings.max_iter)
                self.facts = {"C": C, "val_loss": val_loss, "converged": converged}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, weight_kd, bias_k = self._fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=weight_kd.shape[1])
        return softmax(check_finite_predictions(scale.apply(x_nd) @ weight_kd.T + bias_k, self.name))

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, weight_kd, bias_k = self._fitted
        return scale.tensors("input") | {"weight": weight_kd, "bias": bias_k}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        # Stored before there was a choice, they are balanced.
        config = {"class_weights": "balanced", **config}
        model.settings = settings_from_config(LogisticSettings, config, cls.name)
        weight_kd = take_tensor(tensors, "weight", (None, None), cls.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_kd.shape[1], cls.name)
        model._fitted = (scale, weight_kd, take_tensor(tensors, "bias", (weight_kd.shape[0],), cls.name))
        return model
