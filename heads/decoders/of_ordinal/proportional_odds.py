"""Proportional odds: one direction in the codes along which grades lie, its penalty chosen on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_numbers, take_tensor
from guidestore.heads.decoders.common.foretelling import ChosenForeteller
from guidestore.heads.decoders.common.grading import Grading
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value, linear, standardised
from guidestore.heads.proportional_odds import fit_odds, grade_probabilities, grades_onnx
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

type _State = tuple[Standardiser, np.ndarray, np.ndarray]
"""Scale, weight (1, d), thresholds (k - 1,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProportionalOddsSettings:
    """Hyper-parameters of `ProportionalOdds`."""

    alphas: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    """To choose among by the val loss: alpha / 2 |w|² beside the mean loss, on standardised codes."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "proportional_odds: alphas", 0, open_low=True)


class ProportionalOdds(Grading, ChosenForeteller[_State]):
    """Ordered logistic regression (heads.proportional_odds). alpha is that with the least val log loss; of equals the
    largest. The seed is not used."""

    name: ClassVar[str] = "proportional_odds"
    Settings = ProportionalOddsSettings
    settings: ProportionalOddsSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        scale, weight_r = Standardiser.fit(problem.x_nd), None
        u_nr, s_r, vt_rd = np.linalg.svd(scale.apply(problem.x_nd), full_matrices=False)
        kept = s_r > 1e-9 * s_r[0]
        x_nr = u_nr[:, kept] * s_r[kept]
        for alpha in sorted(self.settings.alphas, reverse=True):
            thresholds, weight_r = fit_odds(x_nr, problem.labels, problem.n_classes, penalty=alpha, start_d=weight_r)
            state = scale, (weight_r @ vt_rd[kept])[None], thresholds
            said_nk = self.say(state, problem.x_val_nd)
            chosen = said_nk[np.arange(len(said_nk)), problem.labels_val]
            yield state, {"alpha": alpha, "val_loss": float(-np.log(np.maximum(chosen, 1e-300)).mean())}

    def say(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        scale, weight_1d, thresholds = fitted
        return grade_probabilities(scale.apply(x_nd) @ weight_1d[0], thresholds)

    def code_dim(self, fitted: _State) -> int:
        return fitted[1].shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale, weight_1d, thresholds = fitted
        return scale.tensors("input") | {"weight": np.ascontiguousarray(weight_1d), "thresholds": thresholds}

    def unpack(self, tensors: Tensors) -> _State:
        weight_1d = take_tensor(tensors, "weight", (1, None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", weight_1d.shape[1], self.name)
        thresholds = take_tensor(tensors, "thresholds", (None,), self.name)
        if (np.diff(thresholds) < 0).any():
            raise InvalidInputError(f"{self.name}: its thresholds do not rise; the weights are damaged")
        return scale, weight_1d, thresholds

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        place = linear(standardised(x, tensors, "input"), tensors["weight"], np.zeros(1))
        return grades_onnx(place, tensors["thresholds"])
