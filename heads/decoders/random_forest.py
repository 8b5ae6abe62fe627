"""Random forest, the size of its leaves chosen on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, check_numbers, take_tensor
from guidestore.heads.decoders.common.class_weights import (
    ClassWeights,
    check_class_weights,
    class_weights_k,
    weighted_log_loss,
)
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.forest import Forest, flatten, take_forest, walk
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.onnx_graph.trees import walked
from guidestore.heads.protocol import DecoderProblem

type _State = tuple[Forest, int]
"""Trees and number of dimensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForestSettings:
    """Hyper-parameters of `RandomForest`."""

    min_leaves: tuple[int, ...] = (1, 3, 10)
    """Least cases in a leaf, to choose among by the val loss; 1 is scikit-learn's default."""
    trees: int = 100
    """As in scikit-learn. They are stored whole: 100 trees on 400 cases of 3 classes take at most 1 MB."""
    class_weights: ClassWeights = "balanced"
    """How often a tree draws a case (before scikit-learn 1.9: how much a drawn one counts); see
    heads.decoders.common.class_weights."""

    def __post_init__(self) -> None:
        check_numbers(self.min_leaves, "random_forest: min_leaves", 1, integer=True)
        check_number(self.trees, "random_forest: trees", 1, integer=True)
        check_class_weights(self.class_weights, "random_forest")


class RandomForest(FittedDecoder[_State]):
    """Bagged classification trees, sqrt(d) columns tried at each split, on codes as they are. Contract:
    heads.protocol.Decoder.

    Probabilities are the mean over the trees and over one more that says 1 / k for every class, so that none is 0. The
    size of leaves is that with the least val cross-entropy, rows weighted by class as in the fit; of equals the
    largest.
    """

    name: ClassVar[str] = "random_forest"
    Settings = RandomForestSettings
    settings: RandomForestSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        from sklearn.ensemble import RandomForestClassifier

        x_nd, labels, n_classes = problem.x_nd, problem.labels, problem.n_classes
        weights_k = class_weights_k(self.settings.class_weights, labels, n_classes, self.name)
        for min_leaf in sorted(self.settings.min_leaves, reverse=True):
            model = RandomForestClassifier(
                self.settings.trees,
                min_samples_leaf=min_leaf,
                random_state=np.random.RandomState(np.random.MT19937(problem.seed)),
            )
            model.fit(x_nd, labels, sample_weight=weights_k[labels])
            forest = flatten([tree.tree_ for tree in model.estimators_])
            val_loss = weighted_log_loss(problem.labels_val, _probabilities(forest, problem.x_val_nd), weights_k)
            yield (forest, x_nd.shape[1]), {"min_leaf": float(min_leaf), "val_loss": val_loss}

    def probabilities(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        return _probabilities(fitted[0], x_nd)

    def code_dim(self, fitted: _State) -> int:
        return fitted[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        forest, n_dims = fitted
        return forest | {"n_dims": np.array([float(n_dims)])}

    def unpack(self, tensors: Tensors) -> _State:
        n_dims = int(take_tensor(tensors, "n_dims", (1,), self.name)[0])
        return take_forest(tensors, n_dims, self.name), n_dims

    def onnx(self, x: Value) -> Value:
        forest, _ = self.fitted
        return (walked(x, forest) + 1.0 / forest["scores"].shape[1]).share()


def _probabilities(forest: Forest, x_nd: np.ndarray) -> np.ndarray:
    """(n, d) -> (n, k)."""
    scores_nk = walk(forest, x_nd)
    scores_nk += 1.0 / scores_nk.shape[1]
    return scores_nk / scores_nk.sum(axis=1, keepdims=True)
