"""Linear support vector machine, its penalty chosen on val."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, check_numbers, take_tensor
from guidestore.heads.decoders.common.class_weights import (
    ClassWeights,
    check_class_weights,
    class_weights_k,
    weighted_log_loss,
)
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.decoders.common.temperature import fit_temperature
from guidestore.heads.model import Tensors
from guidestore.heads.networks import Layers, check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

type _State = tuple[Standardiser, np.ndarray, np.ndarray, np.ndarray]
"""Scale, weight (k, d), bias (k,), temperature (1,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSvmSettings:
    """Hyper-parameters of `LinearSvm`."""

    Cs: tuple[float, ...] = (1e-5, 1e-4, 0.001, 0.01, 0.1)
    """Inverse penalties to choose among by the val loss, on standardised codes. 165 cases of 1,536 dimensions are
    separated from 0.001 on, and larger C changes little."""
    class_weights: ClassWeights = "balanced"
    """Of each row in the hinge loss of every class; see heads.decoders.common.class_weights. (scikit-learn's
    `class_weight` leaves those of the rest at 1.)"""
    max_iter: int = 1000
    """Newton steps for one C, as in scikit-learn. Not reaching the optimum is recorded (`facts['converged']`), not an
    error."""

    def __post_init__(self) -> None:
        check_numbers(self.Cs, "linear_svm: Cs", 0, open_low=True)
        check_class_weights(self.class_weights, "linear_svm")
        check_number(self.max_iter, "linear_svm: max_iter", 1, integer=True)


class LinearSvm(FittedDecoder[_State]):
    """One class against the rest, squared hinge loss, on codes standardised on train. Contract: heads.protocol.Decoder.

    Probabilities are the softmax of the margins over a temperature, so the likeliest class is that of the largest
    margin. (Platt's inner cross-validation needs several cases of every class, and may change which class is the
    likeliest.) The temperature of each C is fitted on val (heads.decoders.common.temperature); C is that with the least
    val cross-entropy then, rows weighted by class as in the fit; of equals the smallest. The seed is not used: the
    primal problem is solved, without random numbers.
    """

    name: ClassVar[str] = "linear_svm"
    Settings = LinearSvmSettings
    settings: LinearSvmSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        labels, labels_val, n_classes = problem.labels, problem.labels_val, problem.n_classes
        scale = Standardiser.fit(problem.x_nd)
        x_nd, x_val_nd = scale.apply(problem.x_nd), scale.apply(problem.x_val_nd)
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
            converged = float(np.max(model.n_iter_) < self.settings.max_iter)
            facts = {"C": C, "temperature": temperature, "val_loss": val_loss, "converged": converged}
            yield (scale, np.ascontiguousarray(weight_kd), bias_k, np.array([temperature])), facts

    def probabilities(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        scale, weight_kd, bias_k, temperature = fitted
        margins_nk = scale.apply(x_nd) @ weight_kd.T + bias_k
        return softmax(check_finite_predictions(margins_nk / temperature, self.name))

    def code_dim(self, fitted: _State) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale, weight_kd, bias_k, temperature = fitted
        return scale.tensors("input") | {"weight": weight_kd, "bias": bias_k, "temperature": temperature}

    def unpack(self, tensors: Tensors) -> _State:
        weight_kd = take_tensor(tensors, "weight", (None, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_kd.shape[1], self.name)
        bias_k = take_tensor(tensors, "bias", (weight_kd.shape[0],), self.name)
        return scale, weight_kd, bias_k, take_tensor(tensors, "temperature", (1,), self.name)

    def layers(self) -> Layers:
        """To the margins; the temperature only divides them."""
        scale, weight_kd, bias_k, _ = self.fitted
        return scale.into_layers([(weight_kd, bias_k)])

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        margins = linear(standardised(x, tensors, "input"), tensors["weight"], tensors["bias"])
        return (margins / tensors["temperature"]).softmax()
