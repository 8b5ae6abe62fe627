"""Least squares on class scores, without a penalty: the D_S of LuPTS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, take_tensor
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.metrics import balanced_log_loss
from guidestore.heads.model import Tensors
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import CONSTANT_SHARE, Standardiser
from guidestore.heads.transfer.targets import FLOOR, balanced, one_hot, to_probabilities

type _State = tuple[Standardiser, np.ndarray, np.ndarray]
"""Scale, weight (k, d), bias (k,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresSettings:
    """Hyper-parameters of `LeastSquares`."""

    resolution: float = CONSTANT_SHARE
    """Directions whose singular value is a smaller share of the largest are left out, as in the linear G."""

    def __post_init__(self) -> None:
        check_number(self.resolution, "least_squares: resolution", 0, 1)


class LeastSquares(FittedDecoder[_State]):
    """One-hot labels regressed on standardised codes, rows weighted so that the classes count alike. Contract: Decoder.

    Of all solutions the shortest; scores below .001 are set to it and rows divided by their sum. With a linear G it is
    LuPTS (Karlsson et al., "Using time-series privileged information for provably efficient learning of prediction
    models", AISTATS 2022, arXiv 2110.14993): G(I) of guidance lupts. The seed is not used.
    """

    name: ClassVar[str] = "least_squares"
    Settings = LeastSquaresSettings
    settings: LeastSquaresSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        scale, targets_nk = Standardiser.fit(problem.x_nd), one_hot(problem.labels, problem.n_classes)
        weights_n = balanced(targets_nk, np.ones(len(targets_nk)))
        x_nd, root_n1 = scale.apply(problem.x_nd), np.sqrt(weights_n)[:, None]
        x_mean, t_mean = weights_n @ x_nd, weights_n @ targets_nk
        weight_dk, _, rank, _ = np.linalg.lstsq(
            root_n1 * (x_nd - x_mean), root_n1 * (targets_nk - t_mean), rcond=self.settings.resolution
        )
        state = scale, np.ascontiguousarray(weight_dk.T), t_mean - x_mean @ weight_dk
        said_nk = self.probabilities(state, problem.x_val_nd)
        yield state, {"rank": float(rank), "val_loss": balanced_log_loss(problem.labels_val, said_nk)}

    def probabilities(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        scale, weight_kd, bias_k = fitted
        return to_probabilities(check_finite_predictions(scale.apply(x_nd) @ weight_kd.T + bias_k, self.name))

    def code_dim(self, fitted: _State) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale, weight_kd, bias_k = fitted
        return scale.tensors("input") | {"weight": weight_kd, "bias": bias_k}

    def unpack(self, tensors: Tensors) -> _State:
        weight_kd = take_tensor(tensors, "weight", (None, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_kd.shape[1], self.name)
        return scale, weight_kd, take_tensor(tensors, "bias", (weight_kd.shape[0],), self.name)

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        scores = linear(standardised(x, tensors, "input"), tensors["weight"], tensors["bias"])
        return scores.at_least(FLOOR).share()
