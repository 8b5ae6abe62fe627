"""A G that is a smoother: z_I -> z_S, kept as a guidance model is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, take_tensor
from guidestore.heads.kernels.decoder import weights_from_tensors, weights_onnx, weights_to_tensors
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import GAMMA, Weights
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.onnx_graph.graph import Value


class SmootherGuidance:
    """Prepared z_I -> z_S in its own units. Contract: heads.protocol.GuidanceModel, without its fit: heads.plug chooses
    kernel and penalty together with those of the decoder that reads it."""

    name: ClassVar[str] = "smoother"

    def __init__(self, preparation: Preparation, weights: Weights) -> None:
        """weights: to z_S as it is."""
        self._preparation, self._weights = preparation, weights.as_kept()

    @classmethod
    def of(cls, inferior: Preparation, weights: Weights, superior: Preparation) -> Self:
        """weights: to prepared z_S. Columns that do not vary come out as their mean."""
        per_unit_d = np.where(superior.gain > 0, superior.gain, np.inf) * superior.scale
        in_units = Weights(
            weights.linear_dc / per_unit_d,
            (weights.constant_c + superior.offset) / per_unit_d + superior.mean,
            weights.landmarks_ld,
            weights.dual_lc / per_unit_d,
        )
        return cls(inferior, in_units)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name, "gamma": GAMMA}

    @property
    def keeps_train_codes(self) -> bool:
        """Whether landmarks of an RBF kernel are among the weights."""
        return len(self._weights.landmarks_ld) > 0

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        z_nd = check_codes(z_inferior_nd, f"{self.name}: codes", code_dim=len(self._preparation.mean))
        guided_nd = check_finite_predictions(self._weights(self._preparation.apply(z_nd)), self.name)
        return guided_nd.astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        return self._preparation.tensors() | weights_to_tensors(self._weights)

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        if config.get("name") != cls.name or config.get("gamma") != GAMMA:
            raise InvalidInputError(f"a config of {config!r} cannot make a {cls.name}; load it by what wrote it")
        preparation = Preparation.from_tensors(tensors, cls.name)
        take_tensor(tensors, "weight", (None, len(preparation.mean)), cls.name)
        return cls(preparation, weights_from_tensors(tensors, len(preparation.mean), cls.name))

    def onnx(self, z: Value) -> Value:
        return weights_onnx(self._weights, self._preparation.onnx(z))
