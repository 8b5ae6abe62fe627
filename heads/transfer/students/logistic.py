"""Multinomial logistic regression on soft targets, from the strongest penalty to the weakest; also a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import (
    check_number,
    check_numbers,
    take_tensor,
)
from guidestore.heads.model import Tensors
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value, linear
from guidestore.heads.transfer.students.common.family import Family
from guidestore.heads.transfer.targets import balanced


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticSettings:
    """Hyper-parameters of `Logistic`."""

    alphas: tuple[float, ...] = (0.1, 0.03, 0.01, 0.003, 0.001)
    """Penalties on half the squared weights beside the mean cross-entropy, the strongest first. On prepared codes of 60
    dimensions and 50 cases, .001 is scikit-learn's C = .3 on standardised ones; weaker ones
    take most of the time of a path."""
    max_iter: int = 200
    """Steps of lbfgs for one penalty; each starts where the stronger one ended."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "logistic-student: alphas", 0, open_low=True)
        check_number(self.max_iter, "logistic-student: max_iter", 1, integer=True)


class Logistic(Family):
    """min sum_i w_i CE(t_i, softmax(x_i W + b)) + alpha/2 ||W||^2 with weights that sum to 1. Contract: Student.

    The seed is not used.
    """

    name: ClassVar[str] = "logistic-student"
    Settings = LogisticSettings
    settings: LogisticSettings

    @property
    def regularisations(self) -> tuple[float, ...]:
        return self.settings.alphas

    def fit_path(
        self, x_nr: np.ndarray, targets_nk: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        from scipy.optimize import minimize

        weights_n = balanced(targets_nk, weights_n)
        x_ns = np.hstack([x_nr, np.ones((len(x_nr), 1))])  # the last column is the bias
        shape = (targets_nk.shape[1], x_ns.shape[1])
        flat = np.zeros(shape).ravel()
        path = []
        for alpha in self.settings.alphas:

            def loss(flat: np.ndarray, alpha: float = alpha) -> tuple[float, np.ndarray]:
                w_ks = flat.reshape(shape)
                p_nk = softmax(x_ns @ w_ks.T)
                penalised_ks = w_ks * alpha
                penalised_ks[:, -1] = 0.0
                value = -float(weights_n @ (targets_nk * np.log(np.maximum(p_nk, 1e-300))).sum(axis=1))
                gradient_ks = ((p_nk - targets_nk) * weights_n[:, None]).T @ x_ns + penalised_ks
                return value + 0.5 * float((penalised_ks * w_ks).sum()), gradient_ks.ravel()

            options = {"maxiter": self.settings.max_iter, "gtol": 1e-5}
            flat = minimize(loss, flat, jac=True, method="L-BFGS-B", options=options).x
            w_ks = flat.reshape(shape)
            path.append({"weight": np.ascontiguousarray(w_ks[:, :-1]), "bias": np.ascontiguousarray(w_ks[:, -1])})
        return path

    def probabilities(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return softmax(check_finite_predictions(x_nr @ tensors["weight"].T + tensors["bias"], self.name))

    def check(self, tensors: Tensors, n_dims: int) -> dict[str, np.ndarray]:
        weight_kr = take_tensor(tensors, "weight", (None, n_dims), self.name)
        return {"weight": weight_kr, "bias": take_tensor(tensors, "bias", (len(weight_kr),), self.name)}

    def onnx(self, tensors: Tensors, x: Value) -> Value:
        return linear(x, tensors["weight"], tensors["bias"]).softmax()
