"""How well G foretells z_S on cases it was not fitted on: R² per dimension, cosine, and the rank of the true pair.

R² says how much of each dimension of z_S G tells; cosine and rank say whether it tells one case from another. A G that
answers with the mean of z_S has an R² of 0 and ranks by chance, though its cosine may be high: codes often share a
direction. So every cosine stands beside that with another case's z_S, and every rank beside chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, check_seed


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Of one G on n test pairs, or of several, one after another (`pool`)."""

    r2_d: np.ndarray
    """(d,) float64, at most 1; NaN where a dimension of z_S does not vary among the cases."""
    cosine_n: np.ndarray
    """(n,) float64 of G(z_I) and the case's own z_S; 0 where one of them is all zeros."""
    cosine_other_n: np.ndarray
    """(n,) float64 of G(z_I) and z_S of another case, drawn at random."""
    rank_n: np.ndarray
    """(n,) float64 of the case's own z_S among all by cosine to G(z_I): 1 is the nearest, equals share the middle."""
    candidates_n: np.ndarray
    """(n,) int64: how many z_S it was ranked among."""

    @property
    def median_rank(self) -> float:
        return float(np.median(self.rank_n))

    @property
    def median_rank_by_chance(self) -> float:
        return float(np.median((self.candidates_n + 1) / 2))

    def recall_at(self, k: int) -> float:
        """Share of the cases whose own z_S is among the k nearest to G(z_I)."""
        return float(np.mean(self.rank_n <= k))

    def recall_by_chance(self, k: int) -> float:
        """The same for a G that knows nothing."""
        return float(np.mean(np.minimum(k / self.candidates_n, 1.0)))


def reliability(guided_nd: np.ndarray, superior_nd: np.ndarray, *, seed: int = 0) -> Reliability:
    """G(z_I) against z_S, both (n, d), row by row of the same case, n >= 2; `seed` draws the other cases.

    Raises InvalidInputError.
    """
    superior_nd = check_codes(superior_nd, "reliability: z_S", min_rows=2).astype(np.float64)
    guided_nd = check_codes(guided_nd, "reliability: G(z_I)").astype(np.float64)
    if guided_nd.shape != superior_nd.shape:
        raise InvalidInputError(
            f"reliability: G(z_I) have shape {guided_nd.shape} and z_S {superior_nd.shape}; give both for the same "
            "cases, and a G that foretells this z_S"
        )
    n = len(superior_nd)
    # Rounded, so that equal z_S are equal however the product was blocked.
    cosine_nn = (_unit(guided_nd) @ _unit(superior_nd).T).round(12)
    # Neighbours on a random round: each case gets one other, never itself.
    order = np.random.default_rng(check_seed(seed)).permutation(n)
    other = np.empty(n, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return Reliability(
        r2_per_dimension(guided_nd, superior_nd),
        np.diag(cosine_nn).copy(),
        cosine_nn[np.arange(n), other],
        rank_of_true(cosine_nn),
        np.full(n, n),
    )


def pool(parts: Sequence[Reliability]) -> Reliability:
    """Several Gs (folds, seeds, permutations) as one: every dimension and every case of each counts alike."""
    if not parts:
        raise InvalidInputError("reliability: there is nothing to pool; give at least one G")
    names = ("r2_d", "cosine_n", "cosine_other_n", "rank_n", "candidates_n")
    return Reliability(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def r2_per_dimension(guided_nd: np.ndarray, superior_nd: np.ndarray) -> np.ndarray:
    """(d,) float64: 1 - squared error / variance around the mean of these cases; NaN where z_S does not vary."""
    error_d = ((superior_nd - guided_nd) ** 2).sum(axis=0)
    spread_d = ((superior_nd - superior_nd.mean(axis=0)) ** 2).sum(axis=0)
    varies_d = np.ptp(superior_nd, axis=0) > 0
    return np.where(varies_d, 1.0 - error_d / np.where(varies_d, spread_d, 1.0), np.nan)


def rank_of_true(similarity_nn: np.ndarray) -> np.ndarray:
    """(n,) float64 rank of entry i among row i, 1 the largest; equals share the middle of their ranks."""
    true_n1 = np.diag(similarity_nn)[:, None]
    above_n = (similarity_nn > true_n1).sum(axis=1)
    equal_n = (similarity_nn == true_n1).sum(axis=1)  # itself among them
    return above_n + (equal_n + 1) / 2


def _unit(codes_nd: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    length_n1 = np.linalg.norm(codes_nd, axis=1, keepdims=True)
    return codes_nd / np.where(length_n1 > 0, length_n1, 1.0)
