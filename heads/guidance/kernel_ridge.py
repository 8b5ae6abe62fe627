"""Kernel ridge regression: smooth non-linear guidance in closed form, bandwidth and penalty by exact leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers, take_tensor
from guidestore.heads.guidance.common.fitted import GuidanceBase
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value, squared_distances, standardised, unstandardised
from guidestore.heads.protocol import GuidanceProblem
from guidestore.heads.scaling import Standardiser

type _State = tuple[Standardiser, np.ndarray, np.ndarray, np.ndarray, Standardiser]
"""Scaling, z_I of the train rows after it (n, d_I), s (1,), (K + alpha)^-1 Y (n, d_S), scaling of z_S."""

ROWS_AT_ONCE = 2048
"""Of a prediction: so many rows of the kernel to all train rows are in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRidgeSettings:
    """Hyper-parameters of `KernelRidge`."""

    bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Standard deviations of the kernel to choose among, in units of the median distance between train rows, so that
    they mean the same for 10 and for 1,000 dimensions. The smallest sees neighbours alone, the largest is nearly
    linear."""
    alphas: tuple[float, ...] = tuple(float(10.0 ** (half / 2)) for half in range(-6, 5))
    """Penalties to choose among (the alpha of scikit-learn's KernelRidge). The kernel of a row with itself is 1."""

    def __post_init__(self) -> None:
        check_numbers(self.bandwidths, "kernel_ridge: bandwidths", 0, open_low=True)
        check_numbers(self.alphas, "kernel_ridge: alphas", 0, open_low=True)


class KernelRidge(GuidanceBase[_State]):
    """G(z_I) = k(z_I, train) (K + alpha)^-1 Y with k(a, b) = exp(-|a - b|^2 / (2 s^2)), on standardised codes.

    (s, alpha) is the pair with the least leave-one-out squared error over standardised z_S, exact from one
    eigendecomposition per bandwidth: with R = (K + alpha)^-1 the errors are (R Y)_i / R_ii. Of equals the first. All
    in float64, O(n^3); the seed is not used. It keeps z_I of every train case. Contract: heads.protocol.GuidanceModel.
    """

    name: ClassVar[str] = "kernel_ridge"
    Settings = KernelRidgeSettings
    settings: KernelRidgeSettings
    keeps_train_codes: ClassVar[bool] = True

    def learn(self, problem: GuidanceProblem) -> tuple[_State, dict[str, float]]:
        z_inferior_nd, z_superior_nd = problem.z_inferior_nd, problem.z_superior_nd
        scale_in, scale_out = Standardiser.fit(z_inferior_nd), Standardiser.fit(z_superior_nd)
        x_nd, y_nd = scale_in.apply(z_inferior_nd), scale_out.apply(z_superior_nd)
        squares_nn = _squared_distances(x_nd, x_nd)
        median = float(np.sqrt(np.median(squares_nn[np.triu_indices(len(x_nd), k=1)]))) or 1.0
        best = (np.inf, 0.0, 0.0)
        dual_nd = y_nd
        for bandwidth in self.settings.bandwidths:
            values_n, vectors_nn = np.linalg.eigh(_kernel(squares_nn, bandwidth * median))
            values_n = np.maximum(values_n, 0.0)  # below is rounding
            vty_nd = vectors_nn.T @ y_nd
            for alpha in self.settings.alphas:
                inverse_n = 1.0 / (values_n + alpha)
                candidate_nd = vectors_nn @ (inverse_n[:, None] * vty_nd)
                errors_nd = candidate_nd / ((vectors_nn**2) @ inverse_n)[:, None]
                mse = float(np.mean(errors_nd**2))
                if mse < best[0]:
                    best, dual_nd = (mse, bandwidth, alpha), candidate_nd
        loo_mse, bandwidth, alpha = best
        facts = {"bandwidth": bandwidth, "alpha": alpha, "loo_mse_standardised": loo_mse}
        return (scale_in, x_nd, np.array([bandwidth * median]), dual_nd, scale_out), facts

    def foretell(self, fitted: _State, z_inferior_nd: np.ndarray) -> np.ndarray:
        scale_in, train_nd, deviation, dual_nd, scale_out = fitted
        x_nd = scale_in.apply(z_inferior_nd)
        parts = [
            _kernel(_squared_distances(x_nd[first : first + ROWS_AT_ONCE], train_nd), deviation[0]) @ dual_nd
            for first in range(0, len(x_nd), ROWS_AT_ONCE)
        ]
        return scale_out.invert(np.concatenate(parts))

    def code_dim(self, fitted: _State) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale_in, train_nd, deviation, dual_nd, scale_out = fitted
        kept = {"train": train_nd, "deviation": deviation, "dual": dual_nd}
        return scale_in.tensors("inferior") | kept | scale_out.tensors("superior")

    def unpack(self, tensors: Tensors) -> _State:
        train_nd = take_tensor(tensors, "train", (None, None), self.name)
        dual_nd = take_tensor(tensors, "dual", (len(train_nd), None), self.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", train_nd.shape[1], self.name)
        scale_out = Standardiser.from_tensors(tensors, "superior", dual_nd.shape[1], self.name)
        return scale_in, train_nd, take_tensor(tensors, "deviation", (1,), self.name), dual_nd, scale_out

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        squares = squared_distances(standardised(z, tensors, "inferior"), tensors["train"])
        kernel = (squares / (-2.0 * float(tensors["deviation"][0]) ** 2)).exp()
        return unstandardised(kernel @ tensors["dual"], tensors, "superior")


def _squared_distances(x_nd: np.ndarray, train_nd: np.ndarray) -> np.ndarray:
    """(n, n_train) squared Euclidean distances."""
    lengths = (x_nd**2).sum(axis=1)[:, None] + (train_nd**2).sum(axis=1)
    return np.maximum(lengths - 2.0 * (x_nd @ train_nd.T), 0.0)


def _kernel(squares_nn: np.ndarray, deviation: float) -> np.ndarray:
    return np.exp(squares_nn / (-2.0 * deviation**2))
