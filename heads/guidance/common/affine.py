"""What all linear guidance models are once fitted: one matrix and an intercept."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from guidestore.heads.checks import take_tensor
from guidestore.heads.guidance.common.fitted import GuidanceBase
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value, standardised
from guidestore.heads.protocol import GuidanceProblem
from guidestore.heads.scaling import Standardiser

type _State = tuple[Standardiser, np.ndarray, np.ndarray]
"""Scaling of z_I, W (d_I, d_S) in units of z_S, mean of z_S (d_S,)."""


class Affine(GuidanceBase[_State]):
    """G(z_I) = standardised(z_I) W + mean of z_S, all in float64. Contract: heads.protocol.GuidanceModel.

    A model is how it finds W from standardised codes: `solve`. No seed is used.
    """

    @abstractmethod
    def solve(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """W (d_I, d_S) of y = x W, and facts, for the columns of (n, d_I) and (n, d_S) standardised, float64."""

    def learn(self, problem: GuidanceProblem) -> tuple[_State, dict[str, float]]:
        scale_in, scale_out = Standardiser.fit(problem.z_inferior_nd), Standardiser.fit(problem.z_superior_nd)
        weight_nd, facts = self.solve(scale_in.apply(problem.z_inferior_nd), scale_out.apply(problem.z_superior_nd))
        return (scale_in, np.ascontiguousarray(weight_nd * scale_out.scale), scale_out.mean), facts

    def foretell(self, fitted: _State, z_inferior_nd: np.ndarray) -> np.ndarray:
        scale_in, weight_nd, bias_d = fitted
        return scale_in.apply(z_inferior_nd) @ weight_nd + bias_d

    def code_dim(self, fitted: _State) -> int:
        return len(fitted[1])

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale_in, weight_nd, bias_d = fitted
        return scale_in.tensors("inferior") | {"weight": weight_nd, "bias": bias_d}

    def unpack(self, tensors: Tensors) -> _State:
        weight_nd = take_tensor(tensors, "weight", (None, None), self.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", weight_nd.shape[0], self.name)
        return scale_in, weight_nd, take_tensor(tensors, "bias", (weight_nd.shape[1],), self.name)

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        return standardised(z, tensors, "inferior") @ tensors["weight"] + tensors["bias"]
