"""Nearest neighbours vote, each class with the same weight; how many is chosen on val."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_codes,
    check_fit,
    check_numbers,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.guidance.nearest import Nearest
from guidestore.heads.metrics import balanced_log_loss
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnSettings:
    """Hyper-parameters of `Knn`."""

    ks: tuple[int, ...] = (1, 3, 5, 10, 20, 40)
    """To choose among by the val loss; those beyond the train rows count as all of them."""

    def __post_init__(self) -> None:
        check_numbers(self.ks, "knn: ks", 1, integer=True)


class Knn:
    """Votes of the nearest train rows (Euclidean, exact; faiss where it is there), on codes standardised on train.
    Contract: heads.protocol.Decoder.

    A vote counts 1 / the size of its class, and each class has one vote beforehand, so that no probability is 0. k is
    that with the least val cross-entropy, rows weighted by their class; of equals the smallest. The seed is not used.
    The weights hold the codes of the train cases themselves.
    """

    name: ClassVar[str] = "knn"
    Settings = KnnSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(KnnSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray, int] | None = None
        """Scale, standardised train rows (n, d), their votes (n, n_classes), k."""
        self._nearest: Nearest | None = None

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
        self._fitted, self._nearest, self.facts = None, None, {}
        check_seed(seed)
        x_nd, labels, x_val_nd, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        scale = Standardiser.fit(x_nd)
        train_nd = scale.apply(x_nd)
        # Weights of mean 1, so that a vote beforehand is one of them whatever the number of cases.
        votes_nk = np.eye(n_classes)[labels] * (len(labels) / (n_classes * np.bincount(labels, minlength=n_classes)))
        self._nearest = Nearest(train_nd)
        ks = sorted({min(k, len(train_nd)) for k in self.settings.ks})
        neighbours = self._nearest.search(scale.apply(x_val_nd), ks[-1])
        for k in ks:
            loss = balanced_log_loss(labels_val, _shares(votes_nk[neighbours[:, :k]]))
            if self._fitted is None or loss < self.facts["val_loss"]:
                self._fitted = (scale, train_nd, votes_nk, k)
                self.facts = {"k": float(k), "val_loss": loss}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None or self._nearest is None:
            raise not_fitted(self.name)
        scale, train_nd, votes_nk, k = self._fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=train_nd.shape[1])
        return _shares(votes_nk[self._nearest.search(scale.apply(x_nd), k)])

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, train_nd, votes_nk, k = self._fitted
        return scale.tensors("input") | {"train": train_nd, "votes": votes_nk, "k": np.array([float(k)])}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(KnnSettings, config, cls.name)
        train_nd = take_tensor(tensors, "train", (None, None), cls.name)
        votes_nk = take_tensor(tensors, "votes", (len(train_nd), None), cls.name)
        scale = Standardiser.from_tensors(tensors, "input", train_nd.shape[1], cls.name)
        k = int(take_tensor(tensors, "k", (1,), cls.name)[0])
        model._fitted, model._nearest = (scale, train_nd, votes_nk, k), Nearest(train_nd)
        return model


def _shares(votes_nmk: np.ndarray) -> np.ndarray:
    """(n, k) probabilities of the votes (n, m, k) of m neighbours, and one beforehand for each class."""
    counts_nk = votes_nmk.sum(axis=1) + 1.0
    return counts_nk / counts_nk.sum(axis=1, keepdims=True)
