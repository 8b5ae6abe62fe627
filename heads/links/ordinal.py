"""Grades: scores are of being above each grade but the last; their sum is how far up a case lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from guidestore.heads.checks import take_tensor
from guidestore.heads.metrics.metric import Scored
from guidestore.heads.metrics.ordinal import QUADRATIC_KAPPA
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.proportional_odds import fit_odds, grade_probabilities, grades_onnx


@dataclass(frozen=True, slots=True, eq=False)
class OrdinalLink:
    """Proportional odds in the sum of the scores."""

    thresholds: np.ndarray
    """(k - 1,) ascending."""
    slope: np.ndarray
    """(1,) at least 0."""

    @staticmethod
    def targets(y_n: np.ndarray, n_names: int) -> np.ndarray:
        """Cumulative one-hots: above each grade but the last, each column standardised."""
        above = (y_n[:, None] > np.arange(n_names - 1)).astype(np.float64)
        return (above - above.mean(axis=0)) / np.maximum(above.std(axis=0), 1e-3)

    @staticmethod
    def score(y_n: np.ndarray, scores_nc: np.ndarray, reference: float) -> float:
        """Quadratic kappa of the grades that a link fitted to these scores says; 0 where it is not defined."""
        link = OrdinalLink.fit(scores_nc, y_n, scores_nc.shape[1] + 1)
        told = QUADRATIC_KAPPA.value(Scored(y_n, link.say(scores_nc)))
        return 0.0 if told is None else told

    @classmethod
    def fit(cls, scores_nc: np.ndarray, y_n: np.ndarray, n_names: int) -> Self:
        thresholds, slope_1 = fit_odds(scores_nc.sum(axis=1, keepdims=True), y_n, n_names, penalty=1e-4)
        return cls(thresholds, np.maximum(slope_1, 0.0))

    def say(self, scores_nc: np.ndarray) -> np.ndarray:
        return grade_probabilities(self.slope[0] * scores_nc.sum(axis=1), self.thresholds)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"link_thresholds": self.thresholds, "link_slope": self.slope}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Self:
        thresholds = take_tensor(tensors, "link_thresholds", (None,), what)
        return cls(thresholds, take_tensor(tensors, "link_slope", (1,), what))

    def onnx(self, scores: Value) -> Value:
        return grades_onnx(scores @ np.full((len(self.thresholds), 1), self.slope[0]), self.thresholds)
