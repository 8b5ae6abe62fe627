"""Survival: scores are of martingale residuals, and are the risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from guidestore.heads.cox import Baseline, martingale_residuals
from guidestore.heads.metrics.metric import Scored
from guidestore.heads.metrics.survival import UNO_C
from guidestore.heads.metrics.table import truth_of
from guidestore.heads.onnx_graph.graph import Value


@dataclass(frozen=True, slots=True, eq=False)
class SurvivalLink:
    """The score as it is, larger is worse; and who survives by it."""

    baseline: Baseline

    @staticmethod
    def targets(y_n: np.ndarray, n_names: int) -> np.ndarray:
        """Residuals of the null model, above 0 where it happened sooner than expected: the direction in which Cox's
        partial likelihood rises from equal risks."""
        residuals = martingale_residuals(y_n)
        return (residuals / (residuals.std() or 1.0))[:, None]

    @staticmethod
    def score(y_n: np.ndarray, scores_nc: np.ndarray, reference: float) -> float:
        """Uno's C up to the horizon; .5 where no pair of these cases can be compared."""
        told = UNO_C.value(Scored(truth_of("survival", y_n, reference), scores_nc[:, :1]))
        return 0.5 if told is None else told

    @classmethod
    def fit(cls, scores_nc: np.ndarray, y_n: np.ndarray, n_names: int) -> Self:
        return cls(Baseline.fit(scores_nc[:, 0], y_n))

    def say(self, scores_nc: np.ndarray) -> np.ndarray:
        return scores_nc[:, 0]

    def tensors(self) -> dict[str, np.ndarray]:
        return self.baseline.tensors()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Self:
        return cls(Baseline.from_tensors(tensors, what))

    def onnx(self, scores: Value) -> Value:
        return scores
