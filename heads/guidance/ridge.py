"""Linear guidance in closed form: ridge regression z_I -> z_S, its penalty chosen by exact leave-one-out on train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers
from guidestore.heads.guidance.common.affine import Affine


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """Hyper-parameters of `Ridge`."""

    alphas: tuple[float, ...] = tuple(float(10.0 ** (half / 2)) for half in range(-4, 13))
    """Penalties on the squared weights of standardised z_I (the alpha of scikit-learn's Ridge) to choose among. On
    standardised codes the squared singular values sum to n * d, so 0.01 is next to none and 1e6 next to the mean."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "ridge: alphas", 0, open_low=True)


class Ridge(Affine):
    """min ||Y - XW||^2 + alpha ||W||^2 with an unpenalised intercept.

    One alpha for all columns of z_S: that with the least leave-one-out squared error over standardised z_S, exact from
    one SVD as e_i / (1 - h_ii). (The scaling is not left out with the case.)
    """

    name: ClassVar[str] = "ridge"
    Settings = RidgeSettings
    settings: RidgeSettings

    def solve(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
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
        weight_nd = vt_rd.T @ ((s_r / (s_r**2 + alpha))[:, None] * uty_rd)
        return weight_nd, {"alpha": alpha, "loo_mse_standardised": loo_mse}
