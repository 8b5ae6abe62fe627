"""A network with one hidden layer whose output is the risk of Cox's model. (Katzman et al., BMC Medical Research
Methodology 18, 2018, "DeepSurv".)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.cox import Baseline
from guidestore.heads.decoders.common.network import Network, NetworkForeteller, NetworkSettings
from guidestore.heads.decoders.common.surviving import baseline_of
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.protocol import DecoderProblem

if TYPE_CHECKING:
    from guidestore.heads.training.head import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings(NetworkSettings):
    """Hyper-parameters of `Mlp`."""

    learning_rate: float = 0.02
    """One step an epoch."""
    weight_decay: float = 1e-3
    """A risk has no zero and no scale that the loss would hold on to."""
    batch_size: int = 2048
    """Cases are compared with those of their step; at most so many at once, else all."""


class Mlp(NetworkForeteller):
    """Minus the partial log likelihood by Efron, of all train cases in one step where there are no more than 2,048."""

    name: ClassVar[str] = "mlp"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"survival"})
    Settings = MlpSettings
    settings: MlpSettings
    can_be_taught: ClassVar[bool] = True

    def task(self, problem: DecoderProblem, x_val_nd: np.ndarray) -> Outcomes:
        from guidestore.heads.training.head import Outcomes

        y, y_val = problem.labels, problem.labels_val
        return Outcomes(x_val_nd=x_val_nd, patience=self.settings.patience, y_nc=y, y_val_nc=y_val, loss="cox")

    def taught(self, problem: DecoderProblem, says_nk: np.ndarray, heat: float) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's risks, which have no zero, in their own scale: that of Cox's model."""
        return says_nk - says_nk.mean(axis=0), np.ones_like(says_nk)

    def extra(self, problem: DecoderProblem, network: Network) -> dict[str, np.ndarray]:
        risk_n, risk_val_n = (network(codes_nd)[:, 0] for codes_nd in (problem.x_nd, problem.x_val_nd))
        return baseline_of(risk_n, risk_val_n, problem).tensors()

    def unpack_extra(self, tensors: Tensors, network: Network) -> dict[str, np.ndarray]:
        return Baseline.from_tensors(tensors, self.name).tensors()

    def say(self, fitted: Network, x_nd: np.ndarray) -> np.ndarray:
        return fitted(x_nd)[:, 0]

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        """As heads.protocol.SurvivalForeteller has it."""
        return Baseline.from_tensors(self.fitted.extra, self.name).survival(self.predict(x_nd), times_t)

    def onnx(self, x: Value) -> Value:
        """The risk."""
        return self.outputs_onnx(x)
