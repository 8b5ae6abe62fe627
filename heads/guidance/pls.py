"""Partial least squares: a linear map through the few directions of z_I that go along with z_S."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers
from guidestore.heads.guidance.common.affine import Affine
from guidestore.heads.guidance.common.inner_choice import choose, up_to
from guidestore.heads.guidance.common.principal import principal


@dataclass(frozen=True, slots=True, kw_only=True)
class PlsSettings:
    """Hyper-parameters of `Pls`."""

    n_components: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Numbers of directions to choose among by inner cross-validation; more than the rank of z_I means all. Many tend
    to least squares."""

    def __post_init__(self) -> None:
        check_numbers(self.n_components, "pls: n_components", 1, integer=True)


class Pls(Affine):
    """PLS2 by NIPALS (Wold 1975), scikit-learn's PLSRegression on standardised codes."""

    name: ClassVar[str] = "pls"
    Settings = PlsSettings
    settings: PlsSettings

    def solve(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        weight_nd, n_components, mse = choose(x_nd, y_nd, self._weights)
        return weight_nd, {"n_components": float(n_components), "cv_mse_standardised": mse}

    def _weights(self, x_nd: np.ndarray, y_nd: np.ndarray) -> dict[int, np.ndarray]:
        """Number of directions -> W. One fit serves them all: later directions leave the earlier ones as they are."""
        from sklearn.cross_decomposition import PLSRegression

        rank = len(principal(x_nd)[1])
        possible = up_to(self.settings.n_components, rank)
        if not rank or not y_nd.any():
            return {possible[0]: np.zeros((x_nd.shape[1], y_nd.shape[1]))}
        model = PLSRegression(n_components=min(possible[-1], rank), scale=False)
        with warnings.catch_warnings():
            # A direction that 500 steps did not settle, or z_S used up before z_I: either way the map is usable.
            warnings.simplefilter("ignore", UserWarning)
            model.fit(x_nd, y_nd)
        rotations, loadings = np.asarray(model.x_rotations_), np.asarray(model.y_loadings_)
        return {count: rotations[:, :count] @ loadings[:, :count].T for count in possible}
