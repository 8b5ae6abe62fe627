"""A network with one hidden layer on values: squared error, or Huber's where some are far out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_choice, take_tensor
from guidestore.heads.decoders.common.network import Network, NetworkForeteller, NetworkSettings
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.protocol import DecoderProblem

if TYPE_CHECKING:
    from guidestore.heads.training.head import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings(NetworkSettings):
    """Hyper-parameters of `Mlp`."""

    loss: Literal["mse", "huber"] = "mse"
    """Of standardised values; huber counts what is further than one standard deviation off by its distance alone."""

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        check_choice(self.loss, "mlp: loss", ("mse", "huber"))


class Mlp(NetworkForeteller):
    """The val loss is that of training, over all val rows at once, without dropout."""

    name: ClassVar[str] = "mlp"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"value"})
    Settings = MlpSettings
    settings: MlpSettings
    can_be_taught: ClassVar[bool] = True

    def task(self, problem: DecoderProblem, x_val_nd: np.ndarray) -> Outcomes:
        from guidestore.heads.training.head import Outcomes

        mean, sd = _moments(problem)
        y_nc, y_val_nc = ((y_n[:, None] - mean) / sd for y_n in (problem.labels, problem.labels_val))
        patience, loss = self.settings.patience, self.settings.loss
        return Outcomes(x_val_nd=x_val_nd, patience=patience, y_nc=y_nc, y_val_nc=y_val_nc, loss=loss)

    def taught(self, problem: DecoderProblem, says_nk: np.ndarray, heat: float) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = _moments(problem)
        return (says_nk - mean) / sd, np.ones_like(says_nk)

    def extra(self, problem: DecoderProblem, network: Network) -> dict[str, np.ndarray]:
        return {"moments": _moments(problem)}

    def unpack_extra(self, tensors: Tensors, network: Network) -> dict[str, np.ndarray]:
        return {"moments": take_tensor(tensors, "moments", (2,), self.name)}

    def say(self, fitted: Network, x_nd: np.ndarray) -> np.ndarray:
        mean, sd = fitted.extra["moments"]
        return fitted(x_nd)[:, 0] * sd + mean

    def onnx(self, x: Value) -> Value:
        mean, sd = self.fitted.extra["moments"]
        return self.outputs_onnx(x) * np.array([sd]) + np.array([mean])


def _moments(problem: DecoderProblem) -> np.ndarray:
    """(2,) mean and deviation of the train values."""
    return np.array([problem.labels.mean(), problem.labels.std()])
