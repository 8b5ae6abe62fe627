"""Kernel ridge over some rows, decomposed once for every penalty, target and permutation of targets.

K = n Q diag(e) Q' over n rows; the prediction of a row q is (K_q Q / n) diag(1 / (e + alpha)) Q' T, which is kernel
ridge with the penalty n alpha. All is done in the features that K's own axes span: u = K_q Q diag(n e)^-1/2, so that
K = u u', and where rows outnumber dimensions, the linear kernel is never written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Kernel = Literal["linear", "rbf"]
KERNELS: tuple[Kernel, ...] = ("linear", "rbf")
"""linear: z z' + .01. rbf: exp(-.6 |z - z'|^2). On prepared codes, of mean squared norm 1."""
ALPHAS = tuple(float(alpha) for alpha in np.logspace(1, -3.5, 9))
"""Penalties to choose among, the strongest first: the kernels' mean eigenvalue is about 1 / n."""
CONSTANT = 0.1
"""Of the column that stands for the constant in the linear kernel; its square is the .01."""
GAMMA = 0.6
"""Of the RBF kernel."""
EXACT_ROWS, LANDMARKS = 2_000, 1_000
"""Up to so many rows the RBF kernel is exact; beyond, it is that of so many landmarks (Nyström, drawn among the
rows)."""
TILE = 64
"""Rows of a prediction come in multiples of this: a matrix product adds up those at its edge in another order."""
NEGLIGIBLE = 1e-12
"""Eigenvalues below this share of the largest are rounding; the least penalty is 3e-4."""


def squared_distances(x_nd: np.ndarray, to_md: np.ndarray) -> np.ndarray:
    """(n, m) squared Euclidean distances."""
    lengths = (x_nd**2).sum(axis=1)[:, None] + (to_md**2).sum(axis=1)
    return np.maximum(lengths - 2.0 * (x_nd @ to_md.T), 0.0)


def rbf(x_nd: np.ndarray, to_md: np.ndarray) -> np.ndarray:
    """(n, m) of the RBF kernel."""
    return np.exp(-GAMMA * squared_distances(x_nd, to_md))


def _with_constant(z_nd: np.ndarray) -> np.ndarray:
    return np.hstack([z_nd, np.full((len(z_nd), 1), CONSTANT)])


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A fitted smoother of c targets: the part that is linear in prepared codes, and the part on landmarks.

    A linear kernel has no landmarks, an RBF kernel no linear part; sums of smoothers have both.
    """

    linear_dc: np.ndarray
    """(d, c)."""
    constant_c: np.ndarray
    """(c,)."""
    landmarks_ld: np.ndarray
    """(l, d) prepared codes of train rows, float32 values; l is 0 without an RBF kernel."""
    dual_lc: np.ndarray
    """(l, c)."""

    def __call__(self, z_nd: np.ndarray) -> np.ndarray:
        """(n, d) prepared codes -> (n, c); a row to the bit whatever its company."""
        n = len(z_nd)
        z_nd = np.pad(z_nd, ((0, -n % TILE), (0, 0)))
        scores_nc = z_nd @ self.linear_dc + self.constant_c
        if len(self.landmarks_ld):
            scores_nc = scores_nc + rbf(z_nd, self.landmarks_ld) @ self.dual_lc
        return scores_nc[:n]

    def as_kept(self) -> Weights:
        """Laid out and rounded as the store keeps it, so that what is loaded adds up in the same order."""
        return Weights(
            np.ascontiguousarray(self.linear_dc.T).T,
            np.ascontiguousarray(self.constant_c),
            self.landmarks_ld.astype(np.float32).astype(np.float64),
            np.ascontiguousarray(self.dual_lc),
        )

    def scaled(self, factor: float) -> Weights:
        """`factor` times this."""
        return Weights(self.linear_dc * factor, self.constant_c * factor, self.landmarks_ld, self.dual_lc * factor)

    def plus(self, other: Weights) -> Weights:
        """The sum; landmarks that both have are kept once."""
        if not (len(self.landmarks_ld) and len(other.landmarks_ld)):
            landmarks_ld = self.landmarks_ld if len(self.landmarks_ld) else other.landmarks_ld
            dual_lc = self.dual_lc if len(self.landmarks_ld) else other.dual_lc
            return Weights(self.linear_dc + other.linear_dc, self.constant_c + other.constant_c, landmarks_ld, dual_lc)
        landmarks_md, place_m = np.unique(
            np.vstack([self.landmarks_ld, other.landmarks_ld]), axis=0, return_inverse=True
        )
        dual_mc = np.zeros((len(landmarks_md), self.dual_lc.shape[1]))
        np.add.at(dual_mc, place_m.ravel(), np.vstack([self.dual_lc, other.dual_lc]))
        return Weights(self.linear_dc + other.linear_dc, self.constant_c + other.constant_c, landmarks_md, dual_mc)


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """K over n rows as u u' with u'u = n diag(e): r features of a row, in which a smoother is a ridge."""

    kernel: Kernel
    landmarks_ld: np.ndarray
    """(l, d), where the kernel is an RBF; (0, d) otherwise."""
    map_ar: np.ndarray
    """(l, r), or (d + 1, r): the kernel to the landmarks, or the codes and the constant -> features."""
    eigenvalues_r: np.ndarray
    """e."""
    features_nr: np.ndarray
    """u of the rows themselves."""

    @classmethod
    def of(cls, kernel: Kernel, z_nd: np.ndarray, *, seed: int = 0) -> Decomposition:
        """Of (n, d) prepared codes, n >= 1. seed: draws the landmarks where there are more than EXACT_ROWS rows."""
        n, d = z_nd.shape
        if kernel == "linear":
            z_na = _with_constant(z_nd)
            if d < n:
                values_r, vectors_ar = _axes(z_na.T @ z_na)
                return cls(kernel, z_nd[:0], vectors_ar, values_r / n, z_na @ vectors_ar)
            values_r, q_nr = _axes(z_na @ z_na.T)
            features_nr = q_nr * np.sqrt(values_r)
            return cls(kernel, z_nd[:0], (z_na.T @ q_nr) / np.sqrt(values_r), values_r / n, features_nr)
        z_nd = z_nd.astype(np.float32).astype(np.float64)  # as the store keeps landmarks
        if n <= EXACT_ROWS:
            values_r, q_nr = _axes(rbf(z_nd, z_nd))
            return cls(kernel, z_nd, q_nr / np.sqrt(values_r), values_r / n, q_nr * np.sqrt(values_r))
        rows = np.sort(np.random.default_rng([seed, n]).choice(n, LANDMARKS, replace=False))
        landmarks_ld = z_nd[rows]
        values_r, q_lr = _axes(rbf(landmarks_ld, landmarks_ld))
        root_lr = q_lr / np.sqrt(values_r)
        u_nr = rbf(z_nd, landmarks_ld) @ root_lr
        values_r, vectors_rr = _axes(u_nr.T @ u_nr)
        return cls(kernel, landmarks_ld, root_lr @ vectors_rr, values_r / n, u_nr @ vectors_rr)

    def features(self, z_md: np.ndarray) -> np.ndarray:
        """(m, d) prepared codes -> (m, r)."""
        return (_with_constant(z_md) if self.kernel == "linear" else rbf(z_md, self.landmarks_ld)) @ self.map_ar

    def _shrunk(self, alpha: float) -> np.ndarray:
        return 1.0 / (len(self.features_nr) * (self.eigenvalues_r + alpha))

    def _shrunk_at(self, alphas: Sequence[float]) -> np.ndarray:
        """(r, a)."""
        return np.stack([self._shrunk(alpha) for alpha in alphas], axis=1)

    def predictions(self, targets_nc: np.ndarray, features_mr: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
        """(a, m, c) of rows with these features, for each alpha."""
        return self.shrunk_predictions(self.features_nr.T @ targets_nc, features_mr, alphas)

    def shrunk_predictions(self, onto_rc: np.ndarray, features_mr: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
        """`predictions`, of targets that are given as their (r, c) sums with the features."""
        shrunk_ra, c = self._shrunk_at(alphas), onto_rc.shape[1]
        said = features_mr @ (shrunk_ra[:, :, None] * onto_rc[:, None]).reshape(-1, len(alphas) * c)
        return np.ascontiguousarray(said.reshape(-1, len(alphas), c).swapaxes(0, 1))

    def left_out(self, targets_nc: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
        """(a, n, c): what each row is said to be by the smoother of all others, exactly."""
        fitted = self.predictions(targets_nc, self.features_nr, alphas)
        hat_an = ((self.features_nr**2) @ self._shrunk_at(alphas)).T
        # A row that alone decides what is said of it (h = 1) is then said to be what the others say of nothing: 0.
        return targets_nc - (targets_nc - fitted) / np.maximum(1.0 - hat_an, 1e-9)[:, :, None]

    def without(self, held_m: np.ndarray, targets_nc: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
        """(a, r, c) what the smoothers of all rows but those at (m,) held_m weigh the features with, exactly.

        targets_nc: of the other n - m rows, in order. By the Woodbury identity: one decomposition serves all folds.
        """
        n, m = len(self.features_nr), len(held_m)
        held_mr, onto_rc = self.features_nr[held_m], np.delete(self.features_nr, held_m, axis=0).T @ targets_nc
        # Of the rows that are fitted on: their number is a factor of the penalty.
        gain_ar = 1.0 / (n * self.eigenvalues_r + (n - m) * np.asarray(alphas)[:, None])
        if m > len(onto_rc):
            held_rr = held_mr.T @ held_mr
            return np.stack([np.linalg.solve(np.diag(1.0 / gain_r) - held_rr, onto_rc) for gain_r in gain_ar])
        weighed_amr = gain_ar[:, None, :] * held_mr
        left_amm = np.eye(m) - weighed_amr @ held_mr.T
        back_amc = np.linalg.solve(left_amm, weighed_amr @ onto_rc)
        return gain_ar[:, :, None] * onto_rc + weighed_amr.swapaxes(1, 2) @ back_amc

    def weights(self, targets_nc: np.ndarray, alpha: float) -> Weights:
        """Of the smoother fitted with that penalty."""
        return self.weighing(self._shrunk(alpha)[:, None] * (self.features_nr.T @ targets_nc))

    def weighing(self, weights_rc: np.ndarray) -> Weights:
        """Of a smoother that weighs the features with these."""
        weight_ac = self.map_ar @ weights_rc
        d, c = self.landmarks_ld.shape[1], weights_rc.shape[1]
        if self.kernel == "linear":
            return Weights(weight_ac[:-1], CONSTANT * weight_ac[-1], self.landmarks_ld, np.zeros((0, c)))
        return Weights(np.zeros((d, c)), np.zeros(c), self.landmarks_ld, weight_ac)


def _axes(symmetric_aa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues that are not rounding, and their vectors (a, r)."""
    values_a, vectors_aa = np.linalg.eigh(symmetric_aa)
    kept = values_a > NEGLIGIBLE * values_a[-1]
    return values_a[kept], np.ascontiguousarray(vectors_aa[:, kept])


@dataclass(frozen=True, slots=True, eq=False)
class Decompositions:
    """Those of one code set over sets of its rows, each made once."""

    codes_nd: np.ndarray
    """(N, d) prepared codes of all rows; NaN where a case has none."""
    seed: int
    _made: dict[tuple[Kernel, bytes], Decomposition] = field(default_factory=dict)

    def of(self, kernel: Kernel, rows_n: np.ndarray) -> Decomposition:
        """Over the cases at these row numbers."""
        key = (kernel, rows_n.tobytes())
        if key not in self._made:
            self._made[key] = Decomposition.of(kernel, self.codes_nd[rows_n], seed=self.seed)
        return self._made[key]
