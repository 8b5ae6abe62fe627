"""Random forest, the size of its leaves chosen on val."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_codes,
    check_fit,
    check_number,
    check_numbers,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.decoders.class_weights import (
    ClassWeights,
    check_class_weights,
    class_weights_k,
    weighted_log_loss,
)
from guidestore.heads.forest import Forest, flatten, take_forest, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForestSettings:
    """Hyper-parameters of `RandomForest`."""

    min_leaves: tuple[int, ...] = (1, 3, 10)
    """Least cases in a leaf, to choose among by the val loss; 1 is scikit-learn's default."""
    trees: int = 100
    """As in scikit-learn. They are stored whole: 100 trees on 400 cases of 3 classes take at most 1 MB."""
    class_weights: ClassWeights = "balanced"
    """How often a tree draws a case (before scikit-learn 1.9: how much a drawn one counts); see
    heads.decoders.class_weights."""

    def __post_init__(self) -> None:
        check_numbers(self.min_leaves, "random_forest: min_leaves", 1, integer=True)
        check_number(self.trees, "random_forest: trees", 1, integer=True)
        check_class_weights(self.class_weights, "random_forest")


class RandomForest:
    """Bagged classification trees, sqrt(d) columns tried at each split, on codes as they are. Contract:
    heads.protocol.Decoder.

    Probabilities are the mean over the trees and over one more that says 1 / k for every class, so that none is 0. The
    size of leaves is that with the least val cross-entropy, rows weighted by class as in the fit; of equals the
    largest.
    """

    name: ClassVar[str] = "random_forest"
    Settings = RandomForestSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(RandomForestSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Forest, int] | None = None
        """Trees and number of dimensions."""

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        from sklearn.ensemble import RandomForestClassifier

        self._fitted, self.facts = None, {}
        seed = check_seed(seed)
        x_nd, labels, x_val_nd, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        weights_k = class_weights_k(self.settings.class_weights, labels, n_classes, self.name)
        for min_leaf in sorted(self.settings.min_leaves, reverse=True):
            model = RandomForestClassifier(
                self.settings.trees,
                min_samples_leaf=min_leaf,
                random_state=np.random.RandomState(np.random.MT19937(seed)),
            )
            model.fit(x_nd, labels, sample_weight=weights_k[labels])
            forest = flatten([tree.tree_ for tree in model.estimators_])
            val_loss = weighted_log_loss(labels_val, _probabilities(forest, x_val_nd), weights_k)
            if self._fitted is None or val_loss < self.facts["val_loss"]:
                self._fitted = (forest, x_nd.shape[1])
                self.facts = {"min_leaf": float(min_leaf), "val_loss": val_loss}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        forest, n_dims = self._fitted
        return _probabilities(forest, check_codes(x_nd, f"{self.name}: codes", code_dim=n_dims))

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        forest, n_dims = self._fitted
        return forest | {"n_dims": np.array([float(n_dims)])}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(RandomForestSettings, config, cls.name)
        n_dims = int(take_tensor(tensors, "n_dims", (1,), cls.name)[0])
        model._fitted = (take_forest(tensors, n_dims, cls.name), n_dims)
        return model


def _probabilities(forest: Forest, x_nd: np.ndarray) -> np.ndarray:
    """(n, d) -> (n, k)."""
    scores_nk = walk(forest, x_nd)
    scores_nk += 1.0 / scores_nk.shape[1]
    return scores_nk / scores_nk.sum(axis=1, keepdims=True)
