"""An ONNX graph written as numpy is: values with operators, each of which adds a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

OPSET, TREES_OPSET, IR_VERSION = 17, 3, 8
"""Of 2022, so that a runtime need not be new: the operators, those of ai.onnx.ml (trees), and the file."""

type Operand = Value | np.ndarray | float


class Graph:
    """Collects nodes and constants. Numbers are float64 unless `Value.cast` says otherwise, as in the heads themselves.

    Float32 constants are kept as such and widened when they are read. Equal calls give equal bytes.
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: np.ndarray) -> Value:
        """`array` as a value; float64 of floats, int64 of integers."""
        from onnx.numpy_helper import from_array

        name = f"constant{len(self._constants)}"
        self._constants.append(from_array(np.ascontiguousarray(array), name))
        value = Value(self, name)
        return value.cast(np.float64) if array.dtype == np.float32 else value

    def node(self, op: str, *inputs: Operand, domain: str = "", **attributes: Any) -> Value:
        """The only output of an operator."""
        return self.nodes(op, 1, *inputs, domain=domain, **attributes)[0]

    def nodes(self, op: str, n_outputs: int, *inputs: Operand, domain: str = "", **attributes: Any) -> list[Value]:
        """All outputs of an operator of several."""
        from onnx.helper import make_node

        names = [self._named(value) for value in inputs]
        outputs = [f"{op.lower()}{len(self._nodes)}_{i}" for i in range(n_outputs)]
        self._nodes.append(make_node(op, names, outputs, domain=domain, **attributes))
        return [Value(self, name) for name in outputs]

    def _named(self, value: Operand) -> str:
        if isinstance(value, Value):
            return value.name
        return self.constant(value if isinstance(value, np.ndarray) else np.array(value, np.float64)).name

    def serialize(self, inputs: Mapping[str, tuple[str, int]], outputs: Mapping[str, tuple[Value, str, int]]) -> bytes:
        """The model as bytes.

        inputs: name of a float32 matrix -> name of its rows' axis, number of columns. outputs: name -> value (float64),
        name of its rows' axis, number of columns.
        """
        from onnx import TensorProto
        from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

        taken = [
            make_tensor_value_info(name, TensorProto.FLOAT, [rows, columns])  # pyright: ignore[reportArgumentType]
            for name, (rows, columns) in inputs.items()
        ]
        given = [
            make_tensor_value_info(name, TensorProto.DOUBLE, [rows, columns])  # pyright: ignore[reportArgumentType]
            for name, (_, rows, columns) in outputs.items()
        ]
        named = [make_node("Identity", [value.name], [name]) for name, (value, _, _) in outputs.items()]
        model = make_model(
            make_graph([*self._nodes, *named], "guidestore", taken, given, self._constants),
            producer_name="guidestore",
            ir_version=IR_VERSION,
            opset_imports=[make_opsetid("", OPSET), make_opsetid("ai.onnx.ml", TREES_OPSET)],
        )
        return model.SerializeToString(deterministic=True)


class Value:
    """An intermediate result of a graph: + - * / @ and indexing by `:` and None mean what they do in numpy."""

    __array_ufunc__ = None  # an array on the left leaves the operator to us

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Operand) -> Value:
        return self.graph.node("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.node("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.node("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.node("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.node("Div", self, other)

    def __matmul__(self, other: Operand) -> Value:
        return self.graph.node("MatMul", self, other)

    def __getitem__(self, key: tuple[slice | None, ...]) -> Value:
        """`:` and None alone."""
        axes = [axis for axis, part in enumerate(key) if part is None]
        return self.graph.node("Unsqueeze", self, np.array(axes))

    def __len__(self) -> int:
        """0, which a reshape reads as: as many rows as there are."""
        return 0

    def reshape(self, *shape: int) -> Value:
        """As numpy's; 0 leaves the axis as it is."""
        return self.graph.node("Reshape", self, np.array(shape))

    def cast(self, dtype: type[np.generic]) -> Value:
        from onnx.helper import np_dtype_to_tensor_dtype

        return self.graph.node("Cast", self, to=np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def rounded(self) -> Value:
        """The nearest float32, as float64: what a code is when it is handed on."""
        return self.cast(np.float32).cast(np.float64)

    def columns(self, first: int, end: int) -> Value:
        """[:, first:end]."""
        return self.graph.node("Slice", self, np.array([first]), np.array([end]), np.array([1]))

    def rows_at(self, index: Value) -> Value:
        """(m, d) and index (n, k) -> (n, k, d)."""
        return self.graph.node("Gather", self, index, axis=0)

    def sum(self, axis: int) -> Value:
        """The axis is gone."""
        return self.graph.node("ReduceSum", self, np.array([axis]), keepdims=0)

    def mean(self, axis: int) -> Value:
        """The axis is gone."""
        return self.graph.node("ReduceMean", self, axes=[axis], keepdims=0)

    def share(self) -> Value:
        """Each row over its sum."""
        return self / self.graph.node("ReduceSum", self, np.array([1]), keepdims=1)

    def clip(self, low: float, high: float) -> Value:
        return self.graph.node("Clip", self, low, high)

    def at_least(self, low: float) -> Value:
        return self.graph.node("Max", self, low)

    def softmax(self) -> Value:
        return self.graph.node("Softmax", self, axis=1)

    def exp(self) -> Value:
        return self.graph.node("Exp", self)

    def log(self) -> Value:
        return self.graph.node("Log", self)

    def relu(self) -> Value:
        return self.at_least(0.0)

    def beside(self, right: Value) -> Value:
        """[self, right] side by side."""
        return self.graph.node("Concat", self, right, axis=1)


def onnx_of(model: Any, value: Value) -> Value:
    """What a fitted model computes of `value`, by its own method `onnx`. Raises InvalidInputError where it has none."""
    write = getattr(model, "onnx", None)
    if write is None:
        raise InvalidInputError(f"{model.name!r} has no ONNX form; export a head without it")
    return write(value)


def nearest(value: Value, train_nd: np.ndarray, k: int) -> Value:
    """(n, d) -> (n, k) row numbers of the nearest train rows, nearest first, of equals the earlier."""
    distances = squared_distances(value, train_nd)
    _, index = value.graph.nodes("TopK", 2, distances, np.array([k]), axis=1, largest=0, sorted=1)
    return index


def squared_distances(value: Value, train_nd: np.ndarray) -> Value:
    """(n, d) -> (n, m) squared Euclidean distances to (m, d) train rows."""
    own = (value * value).sum(1)[:, None]
    return (own + (train_nd**2).sum(axis=1) - 2.0 * (value @ np.ascontiguousarray(train_nd.T))).at_least(0.0)


def standardised(value: Value, tensors: Mapping[str, np.ndarray], prefix: str) -> Value:
    """As heads.scaling.Standardiser.apply."""
    return (value - tensors[f"{prefix}_mean"]) / tensors[f"{prefix}_scale"]


def unstandardised(value: Value, tensors: Mapping[str, np.ndarray], prefix: str) -> Value:
    """As heads.scaling.Standardiser.invert."""
    return value * tensors[f"{prefix}_scale"] + tensors[f"{prefix}_mean"]


def layered(value: Value, tensors: Mapping[str, np.ndarray], prefix: str = "") -> Value:
    """As heads.networks.run_layers, of the layers that start with `prefix`."""
    n_layers = sum(name.startswith(f"{prefix}layer") and name.endswith("_weight") for name in tensors)
    for i in range(n_layers):
        value = linear(value, tensors[f"{prefix}layer{i}_weight"], tensors[f"{prefix}layer{i}_bias"])
        if i < n_layers - 1:
            value = value.relu()
    return value


def linear(value: Value, weight_kd: np.ndarray, bias_k: np.ndarray) -> Value:
    """value W^T + b."""
    return value @ np.ascontiguousarray(weight_kd.T) + bias_k
