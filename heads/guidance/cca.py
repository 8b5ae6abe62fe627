"""Canonical correlation: z_S predicted from the directions of z_I that correlate most with some direction of z_S."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers
from guidestore.heads.guidance.common.affine import Affine
from guidestore.heads.guidance.common.inner_choice import choose, up_to
from guidestore.heads.guidance.common.principal import principal


@dataclass(frozen=True, slots=True, kw_only=True)
class CcaSettings:
    """Hyper-parameters of `Cca`; inner cross-validation chooses a pair of them."""

    principal_components: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Of each modality, kept before the correlation is sought: with as many dimensions as cases every direction of z_S
    correlates perfectly with one of z_I. More than the rank means all."""
    n_components: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """Pairs of canonical directions that span the shared space. More than there are means all."""

    def __post_init__(self) -> None:
        check_numbers(self.principal_components, "cca: principal_components", 1, integer=True)
        check_numbers(self.n_components, "cca: n_components", 1, integer=True)


class Cca(Affine):
    """Hotelling 1936, in closed form: the singular vectors of Q_I^T Q_S, where Q are orthonormal principal scores.

    z_S is the least-squares prediction from the canonical scores of z_I. (scikit-learn's CCA iterates, and does not
    settle with more dimensions than cases; where both apply the correlations are the same.)
    """

    name: ClassVar[str] = "cca"
    Settings = CcaSettings
    settings: CcaSettings

    def solve(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        weight_nd, (kept, count), mse = choose(x_nd, y_nd, self._weights)
        facts = {"principal_components": float(kept), "n_components": float(count), "cv_mse_standardised": mse}
        return weight_nd, facts

    def _weights(self, x_nd: np.ndarray, y_nd: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
        """(principal components kept, directions) -> W."""
        q_nr, s_r, v_dr = principal(x_nd)
        q_superior_nr = principal(y_nd)[0]
        q_t_y_rd = q_nr.T @ y_nd
        weights: dict[tuple[int, int], np.ndarray] = {}
        for kept in up_to(self.settings.principal_components, max(len(s_r), q_superior_nr.shape[1])):
            u_rc, _ = canonical(q_nr[:, :kept], q_superior_nr[:, :kept])
            for count in up_to(self.settings.n_components, u_rc.shape[1]):
                shared_rc = u_rc[:, :count]
                scores_rd = shared_rc @ (shared_rc.T @ q_t_y_rd[:kept])
                weights[kept, count] = v_dr[:, :kept] @ (scores_rd / s_r[:kept, None])
        return weights


def canonical(q_nr: np.ndarray, q_superior_nr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Canonical directions of z_I in the basis (n, r), and their correlations, largest first."""
    u_rc, correlations_c, _ = np.linalg.svd(q_nr.T @ q_superior_nr, full_matrices=False)
    return u_rc, correlations_c
