"""What a link is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np

from guidestore.heads.onnx_graph.graph import Value


class Link(Protocol):
    """Of one kind of target. n cases, c columns of targets and scores."""

    @staticmethod
    def targets(y_n: np.ndarray, n_names: int) -> np.ndarray:
        """(n, c) float64 that least squares regresses, of the known outcomes of n train cases; columns of mean 0."""
        ...

    @staticmethod
    def score(y_n: np.ndarray, scores_nc: np.ndarray, reference: float) -> float:
        """How well scores tell outcomes, on the scale of the kind's main metric: what gates and choices go by."""
        ...

    @classmethod
    def fit(cls, scores_nc: np.ndarray, y_n: np.ndarray, n_names: int) -> Self:
        """On scores of held-out cases."""
        ...

    def say(self, scores_nc: np.ndarray) -> np.ndarray:
        """(n,) values or risks; (n, k) probabilities of grades, or of labels."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """{link_…}."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Self:
        """The inverse. Raises InvalidInputError."""
        ...

    def onnx(self, scores: Value) -> Value:
        """`say` as a graph; (n, 1) of values and risks."""
        ...
