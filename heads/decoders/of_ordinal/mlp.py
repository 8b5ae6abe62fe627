"""A network with one hidden layer that says of each grade but the last who is above it, of those who reach it: so the
probabilities of being above fall from grade to grade. (Shi, Cao & Raschka, PAA 26, 2023, "CORN", who mend CORAL.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from guidestore.heads.decoders.common.grading import Grading
from guidestore.heads.decoders.common.network import Network, NetworkForeteller, NetworkSettings
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.proportional_odds import between, between_onnx
from guidestore.heads.protocol import DecoderProblem

if TYPE_CHECKING:
    from guidestore.heads.training.head import Outcomes


class Mlp(Grading, NetworkForeteller):
    """The loss of a case is the sum over the grades that it reaches of the cross-entropy of going on."""

    name: ClassVar[str] = "mlp"
    Settings = NetworkSettings
    settings: NetworkSettings
    can_be_taught: ClassVar[bool] = True

    def task(self, problem: DecoderProblem, x_val_nd: np.ndarray) -> Outcomes:
        from guidestore.heads.training.head import Outcomes

        steps = np.arange(problem.n_classes - 1)
        y, y_val = (
            np.where(labels[:, None] >= steps, (labels[:, None] > steps).astype(np.float64), np.nan)
            for labels in (problem.labels, problem.labels_val)
        )
        return Outcomes(x_val_nd=x_val_nd, patience=self.settings.patience, y_nc=y, y_val_nc=y_val, loss="binary")

    def taught(self, problem: DecoderProblem, says_nk: np.ndarray, heat: float) -> tuple[np.ndarray, np.ndarray]:
        """Who goes on, of those who reach a grade; weighted by how many do."""
        reach_nk = np.cumsum(says_nk[:, ::-1], axis=1)[:, ::-1]
        reach_nc, above_nc = np.maximum(reach_nk[:, :-1], 1e-12), reach_nk[:, 1:]
        going_on_nc = np.clip(above_nc / reach_nc, 1e-6, 1.0 - 1e-6)
        return 1.0 / (1.0 + ((1.0 - going_on_nc) / going_on_nc) ** (1.0 / heat)), reach_nc

    def say(self, fitted: Network, x_nd: np.ndarray) -> np.ndarray:
        going_on_nk = 1.0 / (1.0 + np.exp(-np.clip(fitted(x_nd), -500.0, 500.0)))
        return between(np.cumprod(going_on_nk, axis=1))

    def onnx(self, x: Value) -> Value:
        going_on = x.graph.node("Sigmoid", self.outputs_onnx(x))
        k = len(self.fitted.layers[-1][1])
        # A product of the first j as the sum of their logarithms.
        above = (going_on.at_least(1e-300).log() @ np.triu(np.ones((k, k)))).exp()
        return between_onnx(above, k)
