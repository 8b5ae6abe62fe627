"""Random regression forest, the size of its leaves chosen on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_choice, check_number, check_numbers, take_tensor
from guidestore.heads.decoders.common.affine_value import squared_error
from guidestore.heads.decoders.common.foretelling import ChosenForeteller
from guidestore.heads.forest import Forest, flatten, take_forest, walk
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.onnx_graph.trees import walked
from guidestore.heads.protocol import DecoderProblem

type _State = tuple[Forest, int, np.ndarray]
"""Trees of values between 0 and 1, number of dimensions, and the least and the span of the values (2,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForestSettings:
    """Hyper-parameters of `RandomForest`."""

    min_leaves: tuple[int, ...] = (1, 3, 10)
    """Least cases in a leaf, to choose among by the val loss; 1 is scikit-learn's default."""
    trees: int = 100
    """As in scikit-learn."""
    columns: Literal["sqrt", "log2"] = "sqrt"
    """Tried at each split, as scikit-learn's max_features: sqrt or log2 of the dimensions. All of them, its default,
    take many times as long on wide codes."""

    def __post_init__(self) -> None:
        check_numbers(self.min_leaves, "random_forest: min_leaves", 1, integer=True)
        check_number(self.trees, "random_forest: trees", 1, integer=True)
        check_choice(self.columns, "random_forest: columns", ("sqrt", "log2"))


class RandomForest(ChosenForeteller[_State]):
    """The mean over bagged regression trees, on codes as they are; size of leaves of the least mean squared val error,
    of equals the largest."""

    name: ClassVar[str] = "random_forest"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"value"})
    Settings = RandomForestSettings
    settings: RandomForestSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        from sklearn.ensemble import RandomForestRegressor

        span = np.array([problem.labels.min(), np.ptp(problem.labels)])
        for min_leaf in sorted(self.settings.min_leaves, reverse=True):
            model = RandomForestRegressor(
                self.settings.trees,
                min_samples_leaf=min_leaf,
                max_features=self.settings.columns,  # pyright: ignore[reportArgumentType]
                random_state=np.random.RandomState(np.random.MT19937(problem.seed)),
            )
            model.fit(problem.x_nd, (problem.labels - span[0]) / span[1])
            state = flatten([tree.tree_ for tree in model.estimators_]), problem.x_nd.shape[1], span
            loss = squared_error(problem.labels_val, self.say(state, problem.x_val_nd))
            yield state, {"min_leaf": float(min_leaf), "val_loss": loss}

    def say(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        forest, _, (least, span) = fitted
        return walk(forest, x_nd)[:, 0] / len(forest["roots"]) * span + least

    def code_dim(self, fitted: _State) -> int:
        return fitted[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        forest, n_dims, span = fitted
        return forest | {"n_dims": np.array([float(n_dims)]), "span": span}

    def unpack(self, tensors: Tensors) -> _State:
        n_dims = int(take_tensor(tensors, "n_dims", (1,), self.name)[0])
        return take_forest(tensors, n_dims, self.name), n_dims, take_tensor(tensors, "span", (2,), self.name)

    def onnx(self, x: Value) -> Value:
        forest, _, (least, span) = self.fitted
        return walked(x, forest) * np.array([span / len(forest["roots"])]) + np.array([least])
