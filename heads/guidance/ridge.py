"""Linear guidance in closed form: ridge regression z_I -> z_S, its penalty chosen by exact leave-one-out on train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from heads.checks import (
    check_codes,
    check_numbers,
    check_pairs,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from heads.networks import check_finite_predictions
from heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """Hyper-parameters of `Ridge`."""

    alphas: tuple[float, ...] = tuple(float(10.0 ** (half / 2)) for half in range(-4, 13))
    """Penalties on the squared weights of standardised z_I (the alpha of scikit-learn's Ridge) to choose among. On
    standardised codes the squared singular values sum to n * d, so 0.01 is next to none and 1e6 next to the mean."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "ridge: alphas", 0, open_low=True)


class Ridge:
    """min ||Y - XW||^2 + alpha ||W||^2 with an unpenalised intercept. Contract: heads.protocol.GuidanceModel.

    One alpha for all columns of z_S: that with the least leave-one-out squared error over standardised z_S, exact from
    one SVD as e_i / (1 - h_ii). (The scaling is not left out with the case.) All in float64; the seed is not used.
    """

    name: ClassVar[str] = "ridge"
    Settings = RidgeSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(RidgeSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray] | None = None

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        self._fitted, self.facts = None, {}
        check_seed(seed)
        z_inferior_nd, z_superior_nd = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        scale_in, scale_out = Standardiser.fit(z_inferior_nd), Standardiser.fit(z_superior_nd)
        x_nd, y_nd = scale_in.apply(z_inferior_nd), scale_out.apply(z_superior_nd)
        u_nr, s_r, vt_rd = np.linalg.svd(x_nd, full_matrices=False)
        uty_rd = u_nr.T @ y_nd
        best = (np.inf, 0.0)
        for alpha in self.settings.alphas:
            shrink_r = s_r**2 / (s_r**2 + alpha)
            leverage_n = (u_nr**2) @ shrink_r + 1.0 / len(x_nd)
            residual_nd = y_nd - u_nr @ (shrink_r[:, None] * uty_rd)
            # A leverage of 1 means the row fits itself and says nothing of alpha.
            errors_nd = residual_nd / np.maximum(1.0 - leverage_n, 1e-12)[:, None]
            best = min(best, (float(np.mean(errors_nd**2)), alpha))
        loo_mse, alpha = best
        weight_nd = vt_rd.T @ ((s_r / (s_r**2 + alpha))[:, None] * uty_rd) * scale_out.scale
        self._fitted = (scale_in, weight_nd, scale_out.mean)
        self.facts = {"alpha": alpha, "loo_mse_standardised": loo_mse}
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
        model.settings = settings_from_config(RidgeSettings, config, cls.name)
        weight_nd = take_tensor(tensors, "weight", (None, None), cls.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", weight_nd.shape[0], cls.name)
        model._fitted = (scale_in, weight_nd, take_tensor(tensors, "bias", (weight_nd.shape[1],), cls.name))
        return model
