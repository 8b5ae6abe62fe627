"""What decoders of survival share: a risk, and who survives by it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import take_tensor
from guidestore.heads.cox import Baseline, RiskSets
from guidestore.heads.decoders.common.foretelling import Foretelling
from guidestore.heads.model import Tensors
from guidestore.heads.networks import Layers
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

ENOUGH_EVENTS = 10
"""Of the val cases, for the curve of who survives to be fitted on them; else it is fitted on train, whose risks are
somewhat too far apart."""


def baseline_of(risk_n: np.ndarray, risk_val_n: np.ndarray, problem: DecoderProblem) -> Baseline:
    """By the risks of train and val."""
    if problem.labels_val[:, 1].sum() >= ENOUGH_EVENTS:
        return Baseline.fit(risk_val_n, problem.labels_val)
    return Baseline.fit(risk_n, problem.labels)


def cox_loss(risk_n: np.ndarray, y_n2: np.ndarray) -> float:
    """Minus the log partial likelihood over the number of events."""
    sets = RiskSets.of(y_n2)
    return sets.loss(risk_n)[0] / max(sets.n_events, 1.0)


class Surviving[F](Foretelling[F]):
    """Contract: heads.protocol.SurvivalForeteller."""

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"survival"})

    @abstractmethod
    def baseline(self, fitted: F) -> Baseline:
        """Of a fit."""

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        return self.baseline(self.fitted).survival(self.predict(x_nd), times_t)


@dataclass(frozen=True, slots=True, eq=False)
class LinearRisk:
    """What a linear Cox model keeps."""

    scale: Standardiser
    weight: np.ndarray
    """(1, d) on standardised codes; a risk has no zero."""
    baseline: Baseline


class LinearSurviving(Surviving[LinearRisk]):
    """The risk is weight · standardised codes."""

    @abstractmethod
    def weights(
        self, x_nd: np.ndarray, y_n2: np.ndarray, *, seed: int
    ) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
        """(d,) of each candidate with its facts, of (n, d) standardised codes; the most regular first."""

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[LinearRisk, dict[str, float]]]:
        scale = Standardiser.fit(problem.x_nd)
        x_nd, x_val_nd = scale.apply(problem.x_nd), scale.apply(problem.x_val_nd)
        sets = RiskSets.of(problem.labels_val)
        told = [
            (weight_d, facts | {"val_loss": sets.loss(x_val_nd @ weight_d)[0] / sets.n_events})
            for weight_d, facts in self.weights(x_nd, problem.labels, seed=problem.seed)
        ]
        weight_d, facts = min(told, key=lambda candidate: candidate[1]["val_loss"])
        baseline = baseline_of(x_nd @ weight_d, x_val_nd @ weight_d, problem)
        yield LinearRisk(scale, weight_d[None].copy(), baseline), facts

    def baseline(self, fitted: LinearRisk) -> Baseline:
        return fitted.baseline

    def say(self, fitted: LinearRisk, x_nd: np.ndarray) -> np.ndarray:
        return fitted.scale.apply(x_nd) @ fitted.weight[0]

    def code_dim(self, fitted: LinearRisk) -> int:
        return fitted.weight.shape[1]

    def pack(self, fitted: LinearRisk) -> dict[str, np.ndarray]:
        return fitted.scale.tensors("input") | {"weight": fitted.weight} | fitted.baseline.tensors()

    def unpack(self, tensors: Tensors) -> LinearRisk:
        weight_1d = take_tensor(tensors, "weight", (1, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_1d.shape[1], self.name)
        return LinearRisk(scale, weight_1d, Baseline.from_tensors(tensors, self.name))

    def layers(self) -> Layers:
        """As heads.protocol.LayeredDecoder has it; one output."""
        return self.fitted.scale.into_layers([(self.fitted.weight, np.zeros(1))])

    def onnx(self, x: Value) -> Value:
        """The risk."""
        tensors = self.tensors()
        return linear(standardised(x, tensors, "input"), tensors["weight"], np.zeros(1))
