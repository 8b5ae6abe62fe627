"""Values: scores are of standardised values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from guidestore.heads.checks import take_tensor
from guidestore.heads.onnx_graph.graph import Value


@dataclass(frozen=True, slots=True, eq=False)
class ValueLink:
    """intercept + slope * score."""

    line: np.ndarray
    """(2,) intercept and slope."""

    @staticmethod
    def targets(y_n: np.ndarray, n_names: int) -> np.ndarray:
        return ((y_n - y_n.mean()) / (y_n.std() or 1.0))[:, None]

    @staticmethod
    def score(y_n: np.ndarray, scores_nc: np.ndarray, reference: float) -> float:
        """R² of the least squares line on the scores, where that rises; 0 where it does not."""
        if not scores_nc.std() or not y_n.std():
            return 0.0
        return float(max(0.0, np.corrcoef(scores_nc[:, 0], y_n)[0, 1])) ** 2

    @classmethod
    def fit(cls, scores_nc: np.ndarray, y_n: np.ndarray, n_names: int) -> Self:
        """Least squares; the mean where scores do not rise with the values."""
        score_n = scores_nc[:, 0]
        spread = float(score_n.var())
        together = float(((score_n - score_n.mean()) * (y_n - y_n.mean())).mean())
        slope = max(0.0, together / spread) if spread else 0.0
        return cls(np.array([y_n.mean() - slope * score_n.mean(), slope]))

    def say(self, scores_nc: np.ndarray) -> np.ndarray:
        return self.line[0] + self.line[1] * scores_nc[:, 0]

    def tensors(self) -> dict[str, np.ndarray]:
        return {"link_line": self.line}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Self:
        return cls(take_tensor(tensors, "link_line", (2,), what))

    def onnx(self, scores: Value) -> Value:
        return scores * self.line[1:] + self.line[:1]
