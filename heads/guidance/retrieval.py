"""Guidance by looking up: the mean of the z_S of the train cases whose z_I are nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_codes,
    check_number,
    check_numbers,
    check_pairs,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.guidance.nearest import Nearest
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """Hyper-parameters of `Retrieval`."""

    ks: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20, 30, 50)
    """Numbers of neighbours to choose among; those beyond the other train cases are left out."""

    def __post_init__(self) -> None:
        check_numbers(self.ks, "retrieval: ks", 1, integer=True)


class Retrieval:
    """k nearest neighbours by Euclidean distance of standardised z_I, all of equal weight.

    k is that with the least leave-one-out squared error over standardised z_S, of equals the smallest. The seed is not
    used. It keeps z_I and z_S of every train case. Contract: heads.protocol.GuidanceModel.
    """

    name: ClassVar[str] = "retrieval"
    Settings = RetrievalSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(RetrievalSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray, np.ndarray] | None = None
        """Scaling, z_I (n, d_I) and z_S (n, d_S) of the train cases as they came, k (1,)."""
        self._nearest: Nearest | None = None

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        self._fitted, self._nearest, self.facts = None, None, {}
        check_seed(seed)
        z_inferior_nd, z_superior_nd = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        scale_in = Standardiser.fit(z_inferior_nd)
        x_nd, y_nd = scale_in.apply(z_inferior_nd), Standardiser.fit(z_superior_nd).apply(z_superior_nd)
        others = len(x_nd) - 1
        ks = [k for k in sorted(set(self.settings.ks)) if k <= others] or [others]
        nearest = Nearest(x_nd)
        rows = nearest.search(x_nd, ks[-1] + 1)
        own = rows == np.arange(len(rows))[:, None]
        own[~own.any(axis=1), -1] = True  # its equals came first: any of them may go
        rows = rows[~own].reshape(len(rows), -1)
        sums_nd, best = np.zeros_like(y_nd), (np.inf, 0)
        for k in range(1, ks[-1] + 1):
            sums_nd += y_nd[rows[:, k - 1]]
            if k in ks:
                best = min(best, (float(np.mean((sums_nd / k - y_nd) ** 2)), k))
        loo_mse, k = best
        self._fitted, self._nearest = (scale_in, z_inferior_nd, z_superior_nd, np.array([float(k)])), nearest
        self.facts = {"k": float(k), "loo_mse_standardised": loo_mse}
        return self

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, train_nd, superior_nd, k = self._fitted
        x_nd = scale_in.apply(check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=train_nd.shape[1]))
        if self._nearest is None:
            self._nearest = Nearest(scale_in.apply(train_nd))
        rows = self._nearest.search(x_nd, int(k[0]))
        sums_nd = np.zeros((len(x_nd), superior_nd.shape[1]))
        for column in rows.T:
            sums_nd += superior_nd[column]
        return (sums_nd / k[0]).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, train_nd, superior_nd, k = self._fitted
        return scale_in.tensors("inferior") | {"train_inferior": train_nd, "train_superior": superior_nd, "k": k}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(RetrievalSettings, config, cls.name)
        train_nd = take_tensor(tensors, "train_inferior", (None, None), cls.name)
        superior_nd = take_tensor(tensors, "train_superior", (len(train_nd), None), cls.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", train_nd.shape[1], cls.name)
        k = take_tensor(tensors, "k", (1,), cls.name)
        check_number(int(k[0]), f"{cls.name}: k", 1, len(train_nd), integer=True)
        model._fitted = (scale_in, train_nd, superior_nd, k)
        return model
