"""Ridge regression on class scores: the student to start with, and a teacher. Exact, and the whole path at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers, take_tensor
from guidestore.heads.model import Tensors
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.onnx_graph.graph import Value, linear
from guidestore.heads.transfer.students.common.family import Family
from guidestore.heads.transfer.targets import FLOOR, balanced, to_probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """Hyper-parameters of `Ridge`."""

    alphas: tuple[float, ...] = tuple(float(10.0 ** (half / 2)) for half in range(0, -9, -1))
    """Penalties on the squared weights beside the mean squared error, the strongest first. Prepared codes have mean
    squared norm 1, so 1 shrinks every direction by more than half and 1e-4 next to none."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "ridge-student: alphas", 0, open_low=True)


class Ridge(Family):
    """min sum_i w_i ||t_i - x_i W - b||^2 + alpha ||W||^2 with weights that sum to 1. Contract: Student.

    Scores below .001 are set to it and rows divided by their sum, which keeps their order at the top. The seed is not
    used.
    """

    name: ClassVar[str] = "ridge-student"
    Settings = RidgeSettings
    settings: RidgeSettings

    @property
    def regularisations(self) -> tuple[float, ...]:
        return self.settings.alphas

    def fit_path(
        self, x_nr: np.ndarray, targets_nk: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        return self.fit_scores(x_nr, targets_nk, balanced(targets_nk, weights_n), seed=seed)

    def fit_scores(
        self, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        weights_n = weights_n / weights_n.sum()
        x_mean_r, t_mean_c = weights_n @ x_nr, weights_n @ targets_nc
        weighted_nr = (x_nr - x_mean_r) * weights_n[:, None]
        eigenvalues_r, vectors_rr = np.linalg.eigh(weighted_nr.T @ (x_nr - x_mean_r))
        turned_rc = vectors_rr.T @ (weighted_nr.T @ (targets_nc - t_mean_c))
        path = []
        for alpha in self.settings.alphas:
            weight_rc = vectors_rr @ (turned_rc / (np.maximum(eigenvalues_r, 0.0) + alpha)[:, None])
            path.append({"weight": np.ascontiguousarray(weight_rc.T), "bias": t_mean_c - x_mean_r @ weight_rc})
        return path

    def probabilities(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return to_probabilities(self.scores(tensors, x_nr))

    def scores(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return check_finite_predictions(x_nr @ tensors["weight"].T + tensors["bias"], self.name)

    def check(self, tensors: Tensors, n_dims: int) -> dict[str, np.ndarray]:
        weight_kr = take_tensor(tensors, "weight", (None, n_dims), self.name)
        return {"weight": weight_kr, "bias": take_tensor(tensors, "bias", (len(weight_kr),), self.name)}

    def onnx(self, tensors: Tensors, x: Value) -> Value:
        return self.scores_onnx(tensors, x).at_least(FLOOR).share()

    def scores_onnx(self, tensors: Tensors, x: Value) -> Value:
        return linear(x, tensors["weight"], tensors["bias"])
