"""Guidance by looking up: the mean of the z_S of the train cases whose z_I are nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers, take_tensor
from guidestore.heads.guidance.common.fitted import GuidanceBase
from guidestore.heads.model import Tensors
from guidestore.heads.nearest import Nearest, take_k
from guidestore.heads.onnx_graph.graph import Value, nearest, standardised
from guidestore.heads.protocol import GuidanceProblem
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    scale_in: Standardiser
    train_nd: np.ndarray
    """(n, d_I) z_I of the train cases as they came."""
    superior_nd: np.ndarray
    """(n, d_S) their z_S."""
    k: int
    nearest: Nearest
    """Of the train rows, standardised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """Hyper-parameters of `Retrieval`."""

    ks: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20, 30, 50)
    """Numbers of neighbours to choose among; those beyond the other train cases are left out."""

    def __post_init__(self) -> None:
        check_numbers(self.ks, "retrieval: ks", 1, integer=True)


class Retrieval(GuidanceBase[_State]):
    """k nearest neighbours by Euclidean distance of standardised z_I, all of equal weight.

    k is that with the least leave-one-out squared error over standardised z_S, of equals the smallest. The seed is not
    used. It keeps z_I and z_S of every train case. Contract: heads.protocol.GuidanceModel.
    """

    name: ClassVar[str] = "retrieval"
    Settings = RetrievalSettings
    settings: RetrievalSettings
    keeps_train_codes: ClassVar[bool] = True

    def learn(self, problem: GuidanceProblem) -> tuple[_State, dict[str, float]]:
        z_inferior_nd, z_superior_nd = problem.z_inferior_nd, problem.z_superior_nd
        scale_in = Standardiser.fit(z_inferior_nd)
        x_nd, y_nd = scale_in.apply(z_inferior_nd), Standardiser.fit(z_superior_nd).apply(z_superior_nd)
        others = len(x_nd) - 1
        ks = [k for k in sorted(set(self.settings.ks)) if k <= others] or [others]
        neighbours = Nearest(x_nd)
        rows = neighbours.search(x_nd, ks[-1] + 1)
        own = rows == np.arange(len(rows))[:, None]
        own[~own.any(axis=1), -1] = True  # its equals came first: any of them may go
        rows = rows[~own].reshape(len(rows), -1)
        sums_nd, best = np.zeros_like(y_nd), (np.inf, 0)
        for k in range(1, ks[-1] + 1):
            sums_nd += y_nd[rows[:, k - 1]]
            if k in ks:
                best = min(best, (float(np.mean((sums_nd / k - y_nd) ** 2)), k))
        loo_mse, k = best
        state = _State(scale_in, z_inferior_nd, z_superior_nd, k, neighbours)
        return state, {"k": float(k), "loo_mse_standardised": loo_mse}

    def foretell(self, fitted: _State, z_inferior_nd: np.ndarray) -> np.ndarray:
        rows = fitted.nearest.search(fitted.scale_in.apply(z_inferior_nd), fitted.k)
        sums_nd = np.zeros((len(rows), fitted.superior_nd.shape[1]))
        for column in rows.T:
            sums_nd += fitted.superior_nd[column]
        return sums_nd / float(fitted.k)

    def code_dim(self, fitted: _State) -> int:
        return fitted.train_nd.shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        kept = {"train_inferior": fitted.train_nd, "train_superior": fitted.superior_nd}
        return fitted.scale_in.tensors("inferior") | kept | {"k": np.array([float(fitted.k)])}

    def unpack(self, tensors: Tensors) -> _State:
        train_nd = take_tensor(tensors, "train_inferior", (None, None), self.name)
        superior_nd = take_tensor(tensors, "train_superior", (len(train_nd), None), self.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", train_nd.shape[1], self.name)
        k = take_k(tensors, len(train_nd), self.name)
        return _State(scale_in, train_nd, superior_nd, k, Nearest(scale_in.apply(train_nd)))

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        k = float(tensors["k"][0])
        train_nd = (tensors["train_inferior"].astype(np.float64) - tensors["inferior_mean"]) / tensors["inferior_scale"]
        rows = nearest(standardised(z, tensors, "inferior"), train_nd, int(k))
        return z.graph.constant(tensors["train_superior"]).rows_at(rows).sum(1) / k
