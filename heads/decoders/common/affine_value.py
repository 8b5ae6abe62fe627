"""A linear decoder of values: what ridge, elastic net and least squares keep."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import take_tensor
from guidestore.heads.decoders.common.foretelling import ChosenForeteller
from guidestore.heads.model import Tensors
from guidestore.heads.networks import Layers
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.scaling import Standardiser

type AffineState = tuple[Standardiser, np.ndarray, np.ndarray]
"""Scale, weight (1, d), bias (1,)."""


class AffineForeteller(ChosenForeteller[AffineState]):
    """weight · standardised codes + bias."""

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"value"})

    def say(self, fitted: AffineState, x_nd: np.ndarray) -> np.ndarray:
        scale, weight_1d, bias_1 = fitted
        return scale.apply(x_nd) @ weight_1d[0] + bias_1[0]

    def code_dim(self, fitted: AffineState) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: AffineState) -> dict[str, np.ndarray]:
        scale, weight_1d, bias_1 = fitted
        return scale.tensors("input") | {"weight": np.ascontiguousarray(weight_1d), "bias": bias_1}

    def unpack(self, tensors: Tensors) -> AffineState:
        weight_1d = take_tensor(tensors, "weight", (1, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_1d.shape[1], self.name)
        return scale, weight_1d, take_tensor(tensors, "bias", (1,), self.name)

    def layers(self) -> Layers:
        """As heads.protocol.LayeredDecoder has it; one output."""
        scale, weight_1d, bias_1 = self.fitted
        return scale.into_layers([(weight_1d, bias_1)])

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        return linear(standardised(x, tensors, "input"), tensors["weight"], tensors["bias"])


def squared_error(y_n: np.ndarray, said_n: np.ndarray) -> float:
    """The mean."""
    return float(((y_n - said_n) ** 2).mean())
