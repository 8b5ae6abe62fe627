"""Kernel ridge regression on class scores, RBF: where classes are not told apart by a plane; also a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, check_numbers, take_tensor
from guidestore.heads.kernels.smoother import GAMMA, NEGLIGIBLE, rbf
from guidestore.heads.model import Tensors
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.onnx_graph.graph import Value, squared_distances
from guidestore.heads.transfer.students.common.family import Family
from guidestore.heads.transfer.students.ridge import Ridge, RidgeSettings
from guidestore.heads.transfer.targets import FLOOR, balanced, to_probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSettings:
    """Hyper-parameters of `Kernel`."""

    alphas: tuple[float, ...] = RidgeSettings().alphas
    """As those of the ridge student, in the kernel's space."""
    landmarks: int = 300
    """Rows that the kernel is spanned by (Nyström), drawn where there are more: a nested choice fits it hundreds of
    times, and 1,000 rows take 20 times as long."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "kernel-student: alphas", 0, open_low=True)
        check_number(self.landmarks, "kernel-student: landmarks", 2, integer=True)


class Kernel(Family):
    """The ridge student on k(x, landmarks) K^-1/2 with k(a, b) = exp(-.6 |a - b|^2). Contract: Student.

    It keeps the landmarks: prepared codes of train cases.
    """

    name: ClassVar[str] = "kernel-student"
    Settings = KernelSettings
    settings: KernelSettings

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
        rng, n_landmarks = np.random.default_rng(seed), min(self.settings.landmarks, len(x_nr))
        landmarks_lr = x_nr[np.sort(rng.choice(len(x_nr), n_landmarks, replace=False))]
        values_l, vectors_ll = np.linalg.eigh(rbf(landmarks_lr, landmarks_lr))
        kept = values_l > NEGLIGIBLE * values_l[-1]
        root_ls = vectors_ll[:, kept] / np.sqrt(values_l[kept])
        features_ns = rbf(x_nr, landmarks_lr) @ root_ls
        path = Ridge(alphas=self.settings.alphas).fit_scores(features_ns, targets_nc, weights_n, seed=seed)
        return [
            {"train": landmarks_lr, "dual": np.ascontiguousarray(root_ls @ fit["weight"].T), "bias": fit["bias"]}
            for fit in path
        ]

    def probabilities(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return to_probabilities(self.scores(tensors, x_nr))

    def scores(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        scores_nc = rbf(x_nr, tensors["train"]) @ tensors["dual"] + tensors["bias"]
        return check_finite_predictions(scores_nc, self.name)

    def check(self, tensors: Tensors, n_dims: int) -> dict[str, np.ndarray]:
        landmarks_lr = take_tensor(tensors, "train", (None, n_dims), self.name)
        dual_lk = take_tensor(tensors, "dual", (len(landmarks_lr), None), self.name)
        bias_k = take_tensor(tensors, "bias", (dual_lk.shape[1],), self.name)
        return {"train": landmarks_lr, "dual": dual_lk, "bias": bias_k}

    def onnx(self, tensors: Tensors, x: Value) -> Value:
        return self.scores_onnx(tensors, x).at_least(FLOOR).share()

    def scores_onnx(self, tensors: Tensors, x: Value) -> Value:
        kernel = (squared_distances(x, tensors["train"]) * -GAMMA).exp()
        return kernel @ tensors["dual"] + tensors["bias"]
