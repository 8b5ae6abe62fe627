"""The contract of student families, stated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from guidestore.heads.onnx_graph.graph import Value

type Tensors = dict[str, np.ndarray]


class Student(Protocol):
    """A family of models on prepared codes that learn soft targets; teachers are of two such families.

    - A fit gives a **path**: one model per regularisation, the strongest first, as tensors that safetensors can hold.
      Families with one training along the path (a decomposition, steps of an optimiser) pay for it once.
    - Rows count by their weights, which `fit_path` balances over the classes.
    - Deterministic given the seed, whose generator is the fit's own.
    - Prediction is row by row, from the tensors alone: a loaded student predicts bit for bit what the fitted one does.
    """

    name: ClassVar[str]
    """As stored decoders are registered: FAMILY-student."""

    @property
    def config(self) -> dict[str, Any]:
        """{"name": …} and every hyper-parameter."""
        ...

    @property
    def regularisations(self) -> tuple[float, ...]:
        """What is chosen among, the strongest first, in the family's own unit."""
        ...

    def fit_path(self, x_nr: np.ndarray, targets_nk: np.ndarray, weights_n: np.ndarray, *, seed: int) -> list[Tensors]:
        """(n, r) prepared codes, (n, k) targets whose rows sum to 1, (n,) weights >= 0 -> one per regularisation."""
        ...

    def fit_scores(
        self, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[Tensors]:
        """As `fit_path`, by squared error to (n, c) targets of any value: outcomes that are no class. Optional."""
        ...

    def scores(self, tensors: Mapping[str, np.ndarray], x_nr: np.ndarray) -> np.ndarray:
        """(n, r) -> (n, c) float64 of a model of `fit_scores`."""
        ...

    def scores_onnx(self, tensors: Mapping[str, np.ndarray], x: Value) -> Value:
        """`scores` as a graph."""
        ...

    def probabilities(self, tensors: Mapping[str, np.ndarray], x_nr: np.ndarray) -> np.ndarray:
        """(n, r) -> (n, k) float64; rows sum to 1."""
        ...

    def check(self, tensors: Mapping[str, np.ndarray], n_dims: int) -> Tensors:
        """The model's own tensors among `tensors`, for codes of n_dims. Raises InvalidInputError."""
        ...

    def onnx(self, tensors: Mapping[str, np.ndarray], x: Value) -> Value:
        """`probabilities` as a graph."""
        ...

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Student:
        """The inverse of `config`. Raises InvalidInputError."""
        ...
