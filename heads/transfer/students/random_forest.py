"""A random forest on soft targets: regression trees on all class scores at once (the Gini split, if one-hot)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from embeddings.errors import InvalidInputError
from heads.checks import (
    check_number,
    check_numbers,
    make_settings,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from heads.transfer.students.protocol import Tensors
from heads.transfer.targets import balanced


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForestStudentSettings:
    """Hyper-parameters of `RandomForestStudent`."""

    min_leaves: tuple[int, ...] = (5, 2)
    """Least cases in a leaf, the most first."""
    trees: int = 50
    """Of one forest. They are stored whole: 50 trees on 1,000 taught cases of 10 classes take about 2 MB."""

    def __post_init__(self) -> None:
        check_numbers(self.min_leaves, "random_forest-student: min_leaves", 1, integer=True)
        check_number(self.trees, "random_forest-student: trees", 1, integer=True)


class RandomForestStudent:
    """Bagged regression trees, sqrt(r) columns tried at each split. Contract: Student.

    The trees are kept as arrays over all nodes of all trees, and walked in numpy as scikit-learn walks them (codes as
    float32, left where code <= threshold).
    """

    name: ClassVar[str] = "random_forest-student"

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(RandomForestStudentSettings, params, self.name)

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    @property
    def regularisations(self) -> tuple[float, ...]:
        return self.settings.min_leaves

    def fit_path(self, x_nr: np.ndarray, targets_nk: np.ndarray, weights_n: np.ndarray, *, seed: int) -> list[Tensors]:
        from sklearn.ensemble import RandomForestRegressor

        weights_n = balanced(targets_nk, weights_n) * len(x_nr)
        path = []
        for min_leaf in self.settings.min_leaves:
            forest = RandomForestRegressor(
                self.settings.trees,
                min_samples_leaf=min_leaf,
                max_features="sqrt",  # pyright: ignore[reportArgumentType]  (its stubs know numbers alone)
                random_state=np.random.RandomState(np.random.MT19937(seed)),
            )
            forest.fit(x_nr.astype(np.float32), targets_nk, sample_weight=weights_n)
            path.append(_flatten([tree.tree_ for tree in forest.estimators_]))
        return path

    def probabilities(self, tensors: Mapping[str, np.ndarray], x_nr: np.ndarray) -> np.ndarray:
        x_nr = x_nr.astype(np.float32)
        column, threshold = tensors["column"].astype(np.int64), tensors["threshold"]
        left, right = tensors["left"].astype(np.int64), tensors["right"].astype(np.int64)
        node_nt = np.tile(tensors["roots"].astype(np.int64), (len(x_nr), 1))
        rows_n1 = np.arange(len(x_nr))[:, None]
        while (left[node_nt] != node_nt).any():  # a leaf leads to itself
            goes_left_nt = x_nr[rows_n1, column[node_nt]] <= threshold[node_nt]
            node_nt = np.where(goes_left_nt, left[node_nt], right[node_nt])
        scores_nk = np.zeros((len(x_nr), tensors["scores"].shape[1]))
        for t in range(node_nt.shape[1]):
            scores_nk += tensors["scores"][node_nt[:, t]]
        return scores_nk / scores_nk.sum(axis=1, keepdims=True)

    def check(self, tensors: Mapping[str, np.ndarray], n_dims: int) -> Tensors:
        own = {"scores": take_tensor(tensors, "scores", (None, None), self.name)}
        n_nodes = len(own["scores"])
        for name in ("column", "threshold", "left", "right"):
            own[name] = take_tensor(tensors, name, (n_nodes,), self.name)
        own["roots"] = take_tensor(tensors, "roots", (None,), self.name)
        limits = {"column": n_dims, "left": n_nodes, "right": n_nodes, "roots": n_nodes}
        for name, limit in limits.items():
            if own[name].size and not 0 <= own[name].min() <= own[name].max() < limit:
                raise InvalidInputError(f"{self.name}: tensor {name!r} leads outside the trees; it is of another model")
        return own

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        student = cls()
        student.settings = settings_from_config(RandomForestStudentSettings, config, cls.name)
        return student


def _flatten(trees: list[Any]) -> Tensors:
    """Nodes of all trees in one list; numbers of nodes and columns as float64, which safetensors' readers check."""
    counts = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *counts[:-1]])
    kept: dict[str, list[np.ndarray]] = {name: [] for name in ("column", "threshold", "left", "right", "scores")}
    for tree, root in zip(trees, roots, strict=True):
        leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        kept["column"].append(np.where(leaf, 0, tree.feature).astype(np.float32))
        kept["threshold"].append(np.where(leaf, 0.0, tree.threshold))
        kept["left"].append(np.where(leaf, own, tree.children_left) + float(root))
        kept["right"].append(np.where(leaf, own, tree.children_right) + float(root))
        kept["scores"].append(np.maximum(tree.value[:, :, 0], 0.0).astype(np.float32))
    return {name: np.concatenate(parts) for name, parts in kept.items()} | {"roots": roots.astype(np.float64)}
