"""Several labels: scores are of having each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from guidestore.heads.checks import take_tensor
from guidestore.heads.metrics.metric import Scored
from guidestore.heads.metrics.multilabel import MACRO_AUROC
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.proportional_odds import fit_odds


@dataclass(frozen=True, slots=True, eq=False)
class MultilabelLink:
    """Per label a logistic curve of its own score."""

    slope: np.ndarray
    """(L,) at least 0."""
    offset: np.ndarray
    """(L,)."""

    @staticmethod
    def targets(y_n: np.ndarray, n_names: int) -> np.ndarray:
        """Each label standardised over the cases that were looked at; 0, its mean, where a case was not."""
        with np.errstate(invalid="ignore"):
            scaled = (y_n - np.nanmean(y_n, axis=0)) / np.maximum(np.nanstd(y_n, axis=0), 1e-3)
        return np.nan_to_num(scaled)

    @staticmethod
    def score(y_n: np.ndarray, scores_nc: np.ndarray, reference: float) -> float:
        """Macro AUROC; .5 where it is not defined."""
        told = MACRO_AUROC.value(Scored(y_n, scores_nc))
        return 0.5 if told is None else told

    @classmethod
    def fit(cls, scores_nc: np.ndarray, y_n: np.ndarray, n_names: int) -> Self:
        slopes, offsets = np.zeros(n_names), np.zeros(n_names)
        for label in range(n_names):
            known = ~np.isnan(y_n[:, label])
            own = y_n[known, label].astype(np.int64)
            if len(np.unique(own)) < 2:  # then what is known is said, softened by one case of either kind
                share = (own.sum() + 1.0) / (len(own) + 2.0)
                offsets[label] = np.log(share / (1.0 - share))
                continue
            thresholds, slope_1 = fit_odds(scores_nc[known, label : label + 1], own, 2, penalty=1e-4)
            slopes[label], offsets[label] = max(0.0, slope_1[0]), -thresholds[0]
        return cls(slopes, offsets)

    def say(self, scores_nc: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-np.clip(scores_nc * self.slope + self.offset, -500.0, 500.0)))

    def tensors(self) -> dict[str, np.ndarray]:
        return {"link_slope": self.slope, "link_offset": self.offset}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Self:
        slope = take_tensor(tensors, "link_slope", (None,), what)
        return cls(slope, take_tensor(tensors, "link_offset", (len(slope),), what))

    def onnx(self, scores: Value) -> Value:
        return sigmoid(scores * self.slope + self.offset)


def sigmoid(value: Value) -> Value:
    """As a graph."""
    return value.graph.node("Sigmoid", value)
