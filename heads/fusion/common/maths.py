"""What the networks of learnt fusions are written over: torch trains them, numpy runs them, a graph exports them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from guidestore.heads.onnx_graph.graph import Value, linear

type Weights = dict[str, tuple[np.ndarray, np.ndarray]]
"""Linear map by name -> weight (d_out, d_in), bias (d_out,)."""
type Fused = tuple[Any, Any, Any]
"""The fused code (n, d) and the embeddings of left and right (n, width) that it is made of."""


class Maths(Protocol):
    """What differs between torch, numpy and a graph, over their (n, d) matrices; + * [:, None] reshape are alike."""

    def linear(self, name: str, x_nd: Any) -> Any:
        """The linear map of that name."""
        ...

    def relu(self, x_nd: Any) -> Any: ...

    def tanh(self, x_nd: Any) -> Any: ...

    def sigmoid(self, x_nd: Any) -> Any: ...

    def side_by_side(self, left_nd: Any, right_nd: Any) -> Any:
        """(n, d_left + d_right)."""
        ...

    def with_one(self, x_nd: Any) -> Any:
        """[x, 1]: (n, d + 1)."""
        ...


class NumpyMaths:
    """`Maths` in float64."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def linear(self, name: str, x_nd: np.ndarray) -> np.ndarray:
        weight, bias = self._weights[name]
        return x_nd @ weight.astype(np.float64).T + bias

    def relu(self, x_nd: np.ndarray) -> np.ndarray:
        return np.maximum(x_nd, 0.0)

    def tanh(self, x_nd: np.ndarray) -> np.ndarray:
        return np.tanh(x_nd)

    def sigmoid(self, x_nd: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(0.5 * x_nd)

    def side_by_side(self, left_nd: np.ndarray, right_nd: np.ndarray) -> np.ndarray:
        return np.hstack([left_nd, right_nd])

    def with_one(self, x_nd: np.ndarray) -> np.ndarray:
        return np.hstack([x_nd, np.ones((len(x_nd), 1))])


class GraphMaths:
    """`Maths` over values of an ONNX graph."""

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
