"""Fusions as graphs: a learnt one is already written once over `Maths`, of which this is the third kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.fusion.late import Late
from guidestore.heads.fusion.learnt import LearntFusion
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.registry import load_fusion


class GraphMaths:
    """heads.fusion.learnt.Maths over values of a graph."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors

    def linear(self, name: str, x_nd: Value) -> Value:
        return linear(x_nd, self._tensors[f"{name}_weight"], self._tensors[f"{name}_bias"])

    def relu(self, x_nd: Value) -> Value:
        return x_nd.relu()

    def tanh(self, x_nd: Value) -> Value:
        return x_nd.graph.node("Tanh", x_nd)

    def sigmoid(self, x_nd: Value) -> Value:
        return x_nd.graph.node("Sigmoid", x_nd)

    def side_by_side(self, left_nd: Value, right_nd: Value) -> Value:
        return left_nd.beside(right_nd)

    def with_one(self, x_nd: Value) -> Value:
        return x_nd.graph.node("Pad", x_nd, np.array([0, 0, 0, 1]), 1.0)


def fused_views(
    left: Value, right: Value, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> tuple[Value, ...]:
    """The views of a fusion, each rounded to float32. Raises InvalidInputError where it has no graph."""
    fusion = load_fusion(config, tensors)
    if isinstance(fusion, Late):
        return (left, right)
    if not isinstance(fusion, LearntFusion):
        raise InvalidInputError(f"fusion {config['name']!r} has no ONNX form; export a head without it")
    scaled = (standardised(left, tensors, "left_input"), standardised(right, tensors, "right_input"))
    fused, *_ = fusion.fuse(GraphMaths(tensors), *scaled)
    kept = np.flatnonzero(tensors["kept"] > 0)
    return (fused.graph.node("Gather", fused, kept, axis=1).rounded(),)
