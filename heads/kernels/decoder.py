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
        self._preparation, self._weights, self._temperature = preparation, weights.as_kept(), temperature

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
        temperature = {"temperature": np.array([self._temperature])}
        return self._preparation.tensors() | weights_to_tensors(self._weights) | temperature

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        if config.get("name") != cls.name or config.get("gamma") != GAMMA:
            raise InvalidInputError(
                f"a config of {config.get('name')!r} with gamma {config.get('gamma')!r} cannot make a {cls.name} of "
                f"gamma {GAMMA}; load it by the version that wrote it"
            )
        preparation = Preparation.from_tensors(tensors, cls.name)
        weights = weights_from_tensors(tensors, len(preparation.mean), cls.name)
        (temperature,) = take_tensor(tensors, "temperature", (1,), cls.name)
        if not temperature > 0:
            raise InvalidInputError(f"{cls.name}: the temperature is {temperature:g}, but it must be above 0")
        return cls(preparation, weights, float(temperature))

    def onnx(self, x: Value) -> Value:
        return (weights_onnx(self._weights, self._preparation.onnx(x)) / self._temperature).softmax()


def weights_to_tensors(weights: Weights) -> dict[str, np.ndarray]:
    """{weight, bias}, and with landmarks {train, dual}."""
    tensors = {"weight": np.ascontiguousarray(weights.linear_dc.T), "bias": weights.constant_c}
    if len(weights.landmarks_ld):
        tensors |= {"train": weights.landmarks_ld.astype(np.float32), "dual": weights.dual_lc}
    return tensors


def weights_from_tensors(tensors: Mapping[str, np.ndarray], code_dim: int, what: str) -> Weights:
    """The inverse of `weights_to_tensors`. Raises InvalidInputError."""
    weight_cd = take_tensor(tensors, "weight", (None, code_dim), what)
    c = len(weight_cd)
    landmarks_ld, dual_lc = np.zeros((0, code_dim)), np.zeros((0, c))
    if "train" in tensors:
        landmarks_ld = take_tensor(tensors, "train", (None, code_dim), what).astype(np.float64)
        dual_lc = take_tensor(tensors, "dual", (len(landmarks_ld), c), what)
    return Weights(weight_cd.T, take_tensor(tensors, "bias", (c,), what), landmarks_ld, dual_lc)


def weights_onnx(weights: Weights, z: Value) -> Value:
    """What a smoother says of prepared codes, as a graph."""
    scores = z @ np.ascontiguousarray(weights.linear_dc) + weights.constant_c
    if not len(weights.landmarks_ld):
        return scores
    squares = squared_distances(z, weights.landmarks_ld)
    return scores + (squares * -GAMMA).exp() @ np.ascontiguousarray(weights.dual_lc)
