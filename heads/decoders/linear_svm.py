"""Linear support vector machine, its penalty chosen on val."""

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
from guidestore.heads.decoders.temperature import fit_temperature
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSvmSettings:
    """Hyper-parameters of `LinearSvm`."""

    Cs: tuple[float, ...] = (1e-5, 1e-4, 0.001, 0.01, 0.1)
    """Inverse penalties to choose among by the val loss, on standardised codes. 165 cases of 1,536 dimensions are
    separated from 0.001 on, and larger C changes little."""
    class_weights: ClassWeights = "balanced"
    """Of each row in the hinge loss of every class; see heads.decoders.class_weights. (scikit-learn's `class_weight`
    leaves those of the rest at 1.)"""
    max_iter: int = 1000
    """Newton steps for one C, as in scikit-learn. Not reaching the optimum is recorded (`facts['converged']`), not an
    error."""

    def __post_init__(self) -> None:
        check_numbers(self.Cs, "linear_svm: Cs", 0, open_low=True)
        check_class_weights(self.class_weights, "linear_svm")
        check_number(self.max_iter, "linear_svm: max_iter", 1, integer=True)


class LinearSvm:
    """One class against the rest, squared hinge loss, on codes standardised on train. Contract: heads.protocol.Decoder.

    Probabilities are the softmax of the margins over a temperature, so the likeliest class is that of the largest
    margin. (Platt's inner cross-validation needs several cases of every class, and may change which class is the
    likeliest.) The temperature of each C is fitted on val (heads.decoders.temperature); C is that with the least val
    cross-entropy then, rows weighted by class as in the fit; of equals the smallest. The seed is not used: the primal
    problem is solved, without random numbers.
    """

    name: ClassVar[str] = "linear_svm"
    Settings = LinearSvmSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(LinearSvmSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray, np.ndarray] | None = None
        """Scale, weight (k, d), bias (k,), temperature (1,)."""

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
        from sklearn.svm import LinearSVC

        self._fitted, self.facts = None, {}
        check_seed(seed)
        x_nd, labels, x_val_nd, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        scale = Standardiser.fit(x_nd)
        x_nd, x_val_nd = scale.apply(x_nd), scale.apply(x_val_nd)
        weights_k = class_weights_k(self.settings.class_weights, labels, n_classes, self.name)
        for C in sorted(self.settings.Cs):
            # liblinear's dual solver draws from one generator for the whole process, which threads would share.
            model = LinearSVC(
                C=C,
                dual=False,  # pyright: ignore[reportArgumentType]  (its stubs know "auto" alone)
                max_iter=self.settings.max_iter,
                random_state=0,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x_nd, labels, sample_weight=weights_k[labels])
            weight_kd, bias_k = np.asarray(model.coef_), np.asarray(model.intercept_)
            if n_classes == 2:  # scikit-learn keeps the row of class 1 alone
                weight_kd, bias_k = np.vstack([-weight_kd, weight_kd]), np.append(-bias_k, bias_k)
            margins_nk = x_val_nd @ weight_kd.T + bias_k
            temperature = fit_temperature(margins_nk, labels_val)
            val_loss = weighted_log_loss(labels_val, softmax(margins_nk / temperature), weights_k)
            if self._fitted is None or val_loss < self.facts["val_loss"]:
                self._fitted = (scale, np.ascontiguousarray(weight_kd), bias_k, np.array([temperature]))
                converged = float(np.max(model.n_iter_) < self.settings.max_iter)
                self.facts = {"C": C, "temperature": temperature, "val_loss": val_loss, "converged": converged}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, weight_kd, bias_k, temperature = self._fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=weight_kd.shape[1])
        margins_nk = scale.apply(x_nd) @ weight_kd.T + bias_k
        return softmax(check_finite_predictions(margins_nk / temperature, self.name))

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, weight_kd, bias_k, temperature = self._fitted
        return scale.tensors("input") | {"weight": weight_kd, "bias": bias_k, "temperature": temperature}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(LinearSvmSettings, config, cls.name)
        weight_kd = take_tensor(tensors, "weight", (None, None), cls.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_kd.shape[1], cls.name)
        bias_k = take_tensor(tensors, "bias", (weight_kd.shape[0],), cls.name)
        model._fitted = (scale, weight_kd, bias_k, take_tensor(tensors, "temperature", (1,), cls.name))
        return model
