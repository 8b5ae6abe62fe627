"""Guidance by principal component regression: least squares on the first principal directions of z_I."""

import numpy as np


class PrincipalRegression:
    """Principal component regression: least squares on the first principal directions of z_I."""

    def __init__(self, directions: int = 16) -> None:
        self.directions = directions

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray) -> None:
        self.mean_i, self.mean_s = z_inferior_nd.mean(axis=0), z_superior_nd.mean(axis=0)
        u_nr, s_r, vt_rd = np.linalg.svd(z_inferior_nd - self.mean_i, full_matrices=False)
        r = min(self.directions, int((s_r > 1e-6 * max(s_r[0], 1e-12)).sum()))
        self.weight_ds = vt_rd[:r].T @ (u_nr[:, :r].T @ (z_superior_nd - self.mean_s) / s_r[:r, None])

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        return self.mean_s + (z_inferior_nd - self.mean_i) @ self.weight_ds
