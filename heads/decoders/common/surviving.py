"""What decoders of survival share: a risk, and who survives by it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_seed, take_tensor
from guidestore.heads.cox import Baseline, RidgePath, RiskSets
from guidestore.heads.decoders.common.foretelling import ChosenForeteller, checked
from guidestore.heads.errors import DivergedError
from guidestore.heads.model import Tensors, fitted_alone
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


class Surviving[F](ChosenForeteller[F]):
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


@dataclass(frozen=True, eq=False)
class LinearLesson:
    """Codes standardised on train, and what is made of them once."""

    problem: DecoderProblem
    scale: Standardiser
    x_nd: np.ndarray
    x_val_nd: np.ndarray

    @classmethod
    def of(cls, problem: DecoderProblem) -> LinearLesson:
        """Of a checked problem."""
        scale = Standardiser.fit(problem.x_nd)
        return cls(problem, scale, scale.apply(problem.x_nd), scale.apply(problem.x_val_nd))

    @cached_property
    def sets(self) -> RiskSets:
        """Of train."""
        return RiskSets.of(self.problem.labels)

    @cached_property
    def ridge(self) -> tuple[RidgePath, np.ndarray]:
        """In the span of the rows, where the solution lies; and the (r, d) way back."""
        u_nr, s_r, vt_rd = np.linalg.svd(self.x_nd, full_matrices=False)
        kept = s_r > 1e-9 * s_r[0]
        return RidgePath.of(u_nr[:, kept] * s_r[kept], self.sets), vt_rd[kept]


class LinearSurviving(Surviving[LinearRisk]):
    """The risk is weight · standardised codes."""

    @abstractmethod
    def weights(self, lesson: LinearLesson) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
        """(d,) of each candidate with its facts; the most regular first."""

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[LinearRisk, dict[str, float]]]:
        yield self.learnt(LinearLesson.of(problem))

    def learnt(self, lesson: LinearLesson) -> tuple[LinearRisk, dict[str, float]]:
        """The candidate of the least val loss, of equals the first."""
        sets, x_nd, x_val_nd = RiskSets.of(lesson.problem.labels_val), lesson.x_nd, lesson.x_val_nd
        told = [
            (weight_d, facts | {"val_loss": sets.loss(x_val_nd @ weight_d)[0] / sets.n_events})
            for weight_d, facts in self.weights(lesson)
        ]
        weight_d, facts = min(told, key=lambda candidate: candidate[1]["val_loss"])
        baseline = baseline_of(x_nd @ weight_d, x_val_nd @ weight_d, lesson.problem)
        return LinearRisk(lesson.scale, weight_d[None].copy(), baseline), facts

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        return fitted_alone(self.fit_many([DecoderProblem(self, x_nd, labels, x_val_nd, labels_val, n_classes, seed)]))

    @classmethod
    def fit_many(cls, problems: Sequence[DecoderProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        """As heads.protocol.BatchDecoder.fit_many: what does not hang on penalties is done once for equal codes and
        outcomes."""
        groups: dict[Hashable, list[int]] = {}
        for i, problem in enumerate(problems):
            y, y_val = (np.asarray(part, np.float64).tobytes() for part in (problem.labels, problem.labels_val))
            groups.setdefault((id(problem.x_nd), id(problem.x_val_nd), y, y_val), []).append(i)
        for places in groups.values():
            lesson = LinearLesson.of(checked(problems[places[0]], cls.kind(), cls.name))
            for i in places:
                model = cast(Self, problems[i].decoder)
                check_seed(problems[i].seed)
                model._fitted, model.facts = model.learnt(lesson)
        return [cast(Self, problem.decoder) for problem in problems]

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
