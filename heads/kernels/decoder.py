"""A fitted smoother as a decoder of raw codes, which the store keeps and `load_decoder` loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, take_tensor
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import GAMMA, Weights
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value, squared_distances


class Smoother:
    """softmax(scores / T) of a smoother's scores on prepared codes. Contract: heads.protocol.FrozenDecoder.

    It has no fit of the Decoder contract: what is fitted and chosen how is up to the row (heads.references,
    heads.margins). One T > 0, so the class of the highest score stays the likeliest.
    """

    name: ClassVar[str] = "smoother"

    def __init__(self, preparation: Preparation, weights: Weights, temperature: float) -> None:
        # Laid out as the store keeps them, so that a loaded one adds up in the same order.
        as_kept = Weights(
            np.ascontiguousarray(weights.linear_dc.T).T,
            np.ascontiguousarray(weights.constant_c),
            weights.landmarks_ld.astype(np.float32).astype(np.float64),
            np.ascontiguousarray(weights.dual_lc),
        )
        self._preparation, self._weights, self._temperature = preparation, as_kept, temperature

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name, "gamma": GAMMA}

    @property
    def keeps_train_codes(self) -> bool:
        """Whether landmarks of an RBF kernel are among the weights."""
        return len(self._weights.landmarks_ld) > 0

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=len(self._preparation.mean))
        scores_nk = self._weights(self._preparation.apply(x_nd))
        return softmax(check_finite_predictions(scores_nk / self._temperature, self.name))

    def tensors(self) -> dict[str, np.ndarray]:
        of = self._weights
        tensors = self._preparation.tensors() | {
            "weight": np.ascontiguousarray(of.linear_dc.T),
            "bias": of.constant_c,
            "temperature": np.array([self._temperature]),
        }
        if self.keeps_train_codes:
            tensors |= {"train": of.landmarks_ld.astype(np.float32), "dual": np.ascontiguousarray(of.dual_lc)}
        return tensors

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        if config.get("name") != cls.name or config.get("gamma") != GAMMA:
            raise InvalidInputError(
                f"a config of {config.get('name')!r} with gamma {config.get('gamma')!r} cannot make a {cls.name} of "
                f"gamma {GAMMA}; load it by the version that wrote it"
            )
        preparation = Preparation.from_tensors(tensors, cls.name)
        d = len(preparation.mean)
        weight_kd = take_tensor(tensors, "weight", (None, d), cls.name)
        k = len(weight_kd)
        landmarks_ld, dual_lk = np.zeros((0, d)), np.zeros((0, k))
        if "train" in tensors:
            landmarks_ld = take_tensor(tensors, "train", (None, d), cls.name).astype(np.float64)
            dual_lk = take_tensor(tensors, "dual", (len(landmarks_ld), k), cls.name)
        weights = Weights(weight_kd.T, take_tensor(tensors, "bias", (k,), cls.name), landmarks_ld, dual_lk)
        (temperature,) = take_tensor(tensors, "temperature", (1,), cls.name)
        if not temperature > 0:
            raise InvalidInputError(f"{cls.name}: the temperature is {temperature:g}, but it must be above 0")
        return cls(preparation, weights, float(temperature))

    def onnx(self, x: Value) -> Value:
        of, z = self._weights, self._preparation.onnx(x)
        scores = z @ np.ascontiguousarray(of.linear_dc) + of.constant_c
        if self.keeps_train_codes:
            scores = scores + (squared_distances(z, of.landmarks_ld) * -GAMMA).exp() @ np.ascontiguousarray(of.dual_lc)
        return (scores / self._temperature).softmax()
