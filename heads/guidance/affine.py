"""What all linear guidance models are once fitted: one matrix and an intercept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_codes,
    check_pairs,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.scaling import Standardiser


class Affine(ABC):
    """G(z_I) = standardised(z_I) W + mean of z_S, all in float64. Contract: heads.protocol.GuidanceModel.

    A model is how it finds W from standardised codes: `solve`. No seed is used.
    """

    name: ClassVar[str]
    Settings: ClassVar[type]
    settings: Any

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(self.Settings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray] | None = None

    @abstractmethod
    def solve(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """W (d_I, d_S) of y = x W, and facts, for the columns of (n, d_I) and (n, d_S) standardised, float64."""

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        self._fitted, self.facts = None, {}
        check_seed(seed)
        z_inferior_nd, z_superior_nd = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        scale_in, scale_out = Standardiser.fit(z_inferior_nd), Standardiser.fit(z_superior_nd)
        weight_nd, self.facts = self.solve(scale_in.apply(z_inferior_nd), scale_out.apply(z_superior_nd))
        self._fitted = (scale_in, np.ascontiguousarray(weight_nd * scale_out.scale), scale_out.mean)
        return self

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, weight_nd, bias_d = self._fitted
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=len(weight_nd))
        with np.errstate(over="ignore"):
            predicted_nd = (scale_in.apply(z_inferior_nd) @ weight_nd + bias_d).astype(np.float32)
        return check_finite_predictions(predicted_nd, self.name)

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, weight_nd, bias_d = self._fitted
        return scale_in.tensors("inferior") | {"weight": weight_nd, "bias": bias_d}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(cls.Settings, config, cls.name)
        weight_nd = take_tensor(tensors, "weight", (None, None), cls.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", weight_nd.shape[0], cls.name)
        model._fitted = (scale_in, weight_nd, take_tensor(tensors, "bias", (weight_nd.shape[1],), cls.name))
        return model
