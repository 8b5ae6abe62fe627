"""A network with one hidden layer that says of each of some intervals who has the event in it, of those who reach it.
(Gensheimer & Narasimhan, PeerJ 7, 2019.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_number, take_tensor
from guidestore.heads.decoders.common.network import Network, NetworkForeteller, NetworkSettings
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.protocol import DecoderProblem

if TYPE_CHECKING:
    from guidestore.heads.training.head import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteTimeSettings(NetworkSettings):
    """Hyper-parameters of `DiscreteTime`."""

    intervals: int = 10
    """At most; each holds as many train events as others."""

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        check_number(self.intervals, "discrete_time: intervals", 2, integer=True)


class DiscreteTime(NetworkForeteller):
    """Hazards need not be proportional. The risk is the logarithm of the mean over intervals of the cumulative hazard:
    who dies sooner has more of it. Within an interval the hazard is even; beyond the last it goes on as in it."""

    name: ClassVar[str] = "discrete_time"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"survival"})
    Settings = DiscreteTimeSettings
    settings: DiscreteTimeSettings

    def task(self, problem: DecoderProblem, x_val_nd: np.ndarray) -> Outcomes:
        from guidestore.heads.training.head import Outcomes

        edges = self._edges(problem)
        y, y_val = (_intervals(of, edges) for of in (problem.labels, problem.labels_val))
        return Outcomes(x_val_nd=x_val_nd, patience=self.settings.patience, y_nc=y, y_val_nc=y_val, loss="binary")

    def _edges(self, problem: DecoderProblem) -> np.ndarray:
        """(k,) ends of the intervals, ascending."""
        times = problem.labels[problem.labels[:, 1] == 1, 0]
        edges = np.unique(np.quantile(times, np.linspace(0, 1, self.settings.intervals + 1)[1:]))
        if len(edges) < 2:
            raise InvalidInputError(
                f"{self.name}: every train event is at time {edges[0]:g}; use a decoder of proportional hazards"
            )
        return edges

    def extra(self, problem: DecoderProblem, network: Network) -> dict[str, np.ndarray]:
        return {"edges": self._edges(problem)}

    def unpack_extra(self, tensors: Tensors, network: Network) -> dict[str, np.ndarray]:
        edges = take_tensor(tensors, "edges", (len(network.layers[-1][1]),), self.name)
        if edges[0] <= 0 or (np.diff(edges) <= 0).any():
            raise InvalidInputError(f"{self.name}: the ends of its intervals do not rise; the weights are damaged")
        return {"edges": edges}

    def _hazards(self, fitted: Network, x_nd: np.ndarray) -> np.ndarray:
        """(n, k) cumulative at the end of each interval: -ln of who outlives it."""
        logits_nk = np.clip(fitted(x_nd), -500.0, 500.0)
        return np.cumsum(np.logaddexp(0.0, logits_nk), axis=1)

    def say(self, fitted: Network, x_nd: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(self._hazards(fitted, x_nd).mean(axis=1), 1e-300))

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        """As heads.protocol.SurvivalForeteller has it."""
        self.predict(x_nd)  # checks the codes
        fitted = self.fitted
        edges, hazards_nk = np.append(0.0, fitted.extra["edges"]), self._hazards(fitted, np.asarray(x_nd, np.float32))
        hazards_nk = np.concatenate([np.zeros((len(hazards_nk), 1)), hazards_nk], axis=1)
        place_t = np.clip(np.searchsorted(edges, times_t, side="left"), 1, len(edges) - 1)
        share_t = (times_t - edges[place_t - 1]) / (edges[place_t] - edges[place_t - 1])
        before, within = hazards_nk[:, place_t - 1], hazards_nk[:, place_t] - hazards_nk[:, place_t - 1]
        return np.exp(-(before + within * share_t))

    def onnx(self, x: Value) -> Value:
        """The risk."""
        logits, k = self.outputs_onnx(x), len(self.fitted.extra["edges"])
        # ln(1 + exp(l)); onnxruntime has no Softplus of float64.
        size = logits.relu() + (logits * -1.0).relu()
        hazards = logits.relu() + ((size * -1.0).exp() + 1.0).log()
        # The mean of cumulative sums counts the first interval k times, the last once.
        return (hazards @ ((k - np.arange(k)) / k)[:, None]).at_least(1e-300).log()


def _intervals(y_n2: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(n, k) float64: 1 in the interval of the event, 0 in those that were outlived, NaN in those not reached or left
    under observation before their middle."""
    time, event = y_n2.T
    starts = np.append(0.0, edges[:-1])
    reached = time[:, None] > starts
    outlived = time[:, None] >= edges
    here = reached & ~outlived
    last = (time > edges[-1]) & (event == 1)  # of val alone: beyond what train has seen
    told = np.where(outlived, 0.0, np.nan)
    at_edge = (time[:, None] == edges) & (event[:, None] == 1)
    told = np.where((here | at_edge) & (event[:, None] == 1), 1.0, told)
    middle = (starts + edges) / 2
    told = np.where(here & (event[:, None] == 0) & (time[:, None] >= middle), 0.0, told)
    told[last, -1] = 1.0
    return told
