"""Nearest class mean: one prototype per class, its temperature chosen on val (Snell et al., NeurIPS 2017, without the
learnt embedding)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers, take_tensor
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.metrics import balanced_log_loss
from guidestore.heads.model import Tensors
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

type _State = tuple[Standardiser, np.ndarray, np.ndarray]
"""Scale, means (k, d), temperature (1,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrototypeSettings:
    """Hyper-parameters of `Prototype`."""

    temperatures: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """To choose among by the val loss: what squared distances, as a mean over dimensions, are divided by."""

    def __post_init__(self) -> None:
        check_numbers(self.temperatures, "prototype: temperatures", 0, open_low=True)


class Prototype(FittedDecoder[_State]):
    """Softmax over minus the squared distance to each class's mean, on codes standardised on train. Contract:
    heads.protocol.Decoder.

    Every class counts alike, whatever its share of train. The temperature is that with the least val cross-entropy,
    rows weighted by their class; of equals the smallest. The seed is not used.
    """

    name: ClassVar[str] = "prototype"
    Settings = PrototypeSettings
    settings: PrototypeSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        scale = Standardiser.fit(problem.x_nd)
        scaled_nd = scale.apply(problem.x_nd)
        means_kd = np.stack([scaled_nd[problem.labels == c].mean(axis=0) for c in range(problem.n_classes)])
        distances_nk = _distances(scale.apply(problem.x_val_nd), means_kd)
        for temperature in sorted(self.settings.temperatures):
            loss = balanced_log_loss(problem.labels_val, softmax(-distances_nk / temperature))
            yield (scale, means_kd, np.array([temperature])), {"temperature": temperature, "val_loss": loss}

    def probabilities(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        scale, means_kd, temperature = fitted
        logits_nk = -_distances(scale.apply(x_nd), means_kd) / temperature
        return softmax(check_finite_predictions(logits_nk, self.name))

    def code_dim(self, fitted: _State) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale, means_kd, temperature = fitted
        return scale.tensors("input") | {"means": means_kd, "temperature": temperature}

    def unpack(self, tensors: Tensors) -> _State:
        means_kd = take_tensor(tensors, "means", (None, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", means_kd.shape[1], self.name)
        return scale, means_kd, take_tensor(tensors, "temperature", (1,), self.name)

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        apart = standardised(x, tensors, "input")[:, None, :] - tensors["means"]
        return ((apart * apart).mean(2) / -tensors["temperature"]).softmax()


def _distances(x_nd: np.ndarray, means_kd: np.ndarray) -> np.ndarray:
    """(n, k): squared, the mean over dimensions."""
    return np.stack([((x_nd - mean) ** 2).mean(axis=1) for mean in means_kd], axis=1)
