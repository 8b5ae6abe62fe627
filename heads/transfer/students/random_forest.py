"""A random forest on soft targets: regression trees on all class scores at once (the Gini split, if one-hot)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, check_numbers
from guidestore.heads.forest import flatten, take_forest, walk
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.onnx_graph.trees import walked
from guidestore.heads.transfer.students.common.family import Family
from guidestore.heads.transfer.targets import balanced


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForestSettings:
    """Hyper-parameters of `RandomForest`."""

    min_leaves: tuple[int, ...] = (5, 2)
    """Least cases in a leaf, the most first."""
    trees: int = 50
    """Of one forest. They are stored whole: 50 trees on 1,000 taught cases of 10 classes take about 2 MB."""

    def __post_init__(self) -> None:
        check_numbers(self.min_leaves, "random_forest-student: min_leaves", 1, integer=True)
        check_number(self.trees, "random_forest-student: trees", 1, integer=True)


class RandomForest(Family):
    """Bagged regression trees, sqrt(r) columns tried at each split, kept as heads.forest does. Contract: Student."""

    name: ClassVar[str] = "random_forest-student"
    Settings = RandomForestSettings
    settings: RandomForestSettings

    @property
    def regularisations(self) -> tuple[float, ...]:
        return self.settings.min_leaves

    def fit_path(
        self, x_nr: np.ndarray, targets_nk: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        return self.fit_scores(x_nr, targets_nk, balanced(targets_nk, weights_n), seed=seed)

    def fit_scores(
        self, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        from sklearn.ensemble import RandomForestRegressor

        weights_n = weights_n / weights_n.sum() * len(x_nr)
        path = []
        for min_leaf in self.settings.min_leaves:
            forest = RandomForestRegressor(
                self.settings.trees,
                min_samples_leaf=min_leaf,
                max_features="sqrt",  # pyright: ignore[reportArgumentType]  (its stubs know numbers alone)
                random_state=np.random.RandomState(np.random.MT19937(seed)),
            )
            forest.fit(
                x_nr.astype(np.float32),
                targets_nc if targets_nc.shape[1] > 1 else targets_nc[:, 0],
                sample_weight=weights_n,
            )
            path.append(flatten([tree.tree_ for tree in forest.estimators_]))
        return path

    def probabilities(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        scores_nk = self.scores(tensors, x_nr)
        return scores_nk / scores_nk.sum(axis=1, keepdims=True)

    def scores(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return walk(tensors, x_nr)

    def check(self, tensors: Tensors, n_dims: int) -> dict[str, np.ndarray]:
        return take_forest(tensors, n_dims, self.name)

    def onnx(self, tensors: Tensors, x: Value) -> Value:
        return self.scores_onnx(tensors, x).share()

    def scores_onnx(self, tensors: Tensors, x: Value) -> Value:
        return walked(x, tensors)
