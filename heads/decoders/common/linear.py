"""A linear head with given weights: how D_I and D_S, the heads of the trained classifiers C_I and C_S, are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, take_tensor
from guidestore.heads.networks import Layers, check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value, linear


class Linear:
    """softmax(W z + b) on codes as they are. Contract: heads.protocol.FrozenDecoder; it has no fit of its own.

    weight_kd: (k, d) floats, k >= 2; bias_k: (k,) floats: those of the torch.nn.Linear that ends the classifier.
    """

    name: ClassVar[str] = "linear"

    def __init__(self, weight_kd: np.ndarray, bias_k: np.ndarray) -> None:
        tensors = {"weight": weight_kd, "bias": bias_k}
        self._weight_kd = take_tensor(tensors, "weight", (None, None), self.name)
        if self._weight_kd.shape[0] < 2:
            raise InvalidInputError("linear: the weight has one row; give one row per class, two for a binary target")
        self._bias_k = take_tensor(tensors, "bias", (self._weight_kd.shape[0],), self.name)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name}

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=self._weight_kd.shape[1])
        logits_nk = x_nd.astype(np.float64) @ self._weight_kd.astype(np.float64).T + self._bias_k
        return softmax(check_finite_predictions(logits_nk, self.name))

    def tensors(self) -> dict[str, np.ndarray]:
        return {"weight": self._weight_kd, "bias": self._bias_k}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        if config.get("name") != cls.name:
            raise InvalidInputError(f"a config of {config.get('name')!r} cannot make a linear; load it by its own name")
        for name in ("weight", "bias"):
            take_tensor(tensors, name, (None, None) if name == "weight" else (None,), cls.name)
        return cls(tensors["weight"], tensors["bias"])

    def layers(self) -> Layers:
        return [(self._weight_kd.astype(np.float64), self._bias_k.astype(np.float64))]

    def onnx(self, x: Value) -> Value:
        return linear(x, self._weight_kd, self._bias_k).softmax()
