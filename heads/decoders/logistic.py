"""Logistic regression, its penalty chosen on val: the decoder to beat on any code."""

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
from guidestore.heads.model import Tensors
from guidestore.heads.networks import Layers, check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

type _State = tuple[Standardiser, np.ndarray, np.ndarray]
"""Scale, weight (k, d), bias (k,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticSettings:
    """Hyper-parameters of `Logistic`."""

    Cs: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    """Inverse penalties to choose among by the val loss, on standardised codes; 1 is scikit-learn's default."""
    class_weights: ClassWeights = "balanced"
    """Of the cross-entropy; see heads.decoders.common.class_weights."""
    max_iter: int = 1000
    """Steps of lbfgs for one C; scikit-learn's 100 is too few on 1,536 dimensions. Not reaching the optimum is recorded
    (`facts['converged']`), not an error."""

    def __post_init__(self) -> None:
        check_numbers(self.Cs, "logistic: Cs", 0, open_low=True)
        check_class_weights(self.class_weights, "logistic")
        check_number(self.max_iter, "logistic: max_iter", 1, integer=True)


class Logistic(FittedDecoder[_State]):
    """Multinomial logistic regression on codes standardised on train. Contract: heads.protocol.Decoder.

    C is that with the least val cross-entropy, rows weighted by class as in the fit; of equals the smallest. The
    seed is not used.
    """

    name: ClassVar[str] = "logistic"
    Settings = LogisticSettings
    settings: LogisticSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        labels, labels_val, n_classes = problem.labels, problem.labels_val, problem.n_classes
        scale = Standardiser.fit(problem.x_nd)
        x_nd, x_val_nd = scale.apply(problem.x_nd), scale.apply(problem.x_val_nd)
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
            converged = float(model.n_iter_.max() < self.settings.max_iter)
            yield (
                (scale, np.ascontiguousarray(weight_kd), bias_k),
                {"C": C, "val_loss": val_loss, "converged": converged},
            )

    def probabilities(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        scale, weight_kd, bias_k = fitted
        return softmax(check_finite_predictions(scale.apply(x_nd) @ weight_kd.T + bias_k, self.name))

    def code_dim(self, fitted: _State) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale, weight_kd, bias_k = fitted
        return scale.tensors("input") | {"weight": weight_kd, "bias": bias_k}

    def unpack(self, tensors: Tensors) -> _State:
        weight_kd = take_tensor(tensors, "weight", (None, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_kd.shape[1], self.name)
        return scale, weight_kd, take_tensor(tensors, "bias", (weight_kd.shape[0],), self.name)

    def layers(self) -> Layers:
        scale, weight_kd, bias_k = self.fitted
        return scale.into_layers([(weight_kd, bias_k)])

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        return linear(standardised(x, tensors, "input"), tensors["weight"], tensors["bias"]).softmax()
