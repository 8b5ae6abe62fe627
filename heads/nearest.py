"""The nearest train rows of each row: exact, by faiss where it can be imported and by numpy elsewhere, alike.

Either only proposes candidates, some more than are wanted, by distances that are fast and rounded. The candidates are
then ordered by their exact distance, of equals the earlier row. Where the candidates end within the rounding of the
last one wanted, as among many equal rows, that row is compared with all. So both give the same neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guidestore.heads.checks import check_number, take_tensor
from guidestore.heads.model import Tensors

SPARE = 8
"""Candidates beyond those wanted."""
ROUNDING = 3e-5
"""Of a proposed squared distance, as a share of the squared lengths it comes from; float32 products of 4,096
dimensions stay below 1e-5."""
ROWS_AT_ONCE = 1024
"""Of a search: numpy's products and faiss's answers are for so many rows."""


class Nearest:
    """Searches (n, d) float64 train rows by Euclidean distance."""

    def __init__(self, train_nd: np.ndarray) -> None:
        self._train_nd = train_nd
        self._lengths_n = (train_nd**2).sum(axis=1)
        self._index = _faiss_index(train_nd)

    def search(self, x_nd: np.ndarray, k: int) -> np.ndarray:
        """(m, d) -> (m, k) int64 row numbers, nearest first; k <= n."""
        parts = [self._search(x_nd[i : i + ROWS_AT_ONCE], k) for i in range(0, len(x_nd), ROWS_AT_ONCE)]
        return np.concatenate(parts)

    def _search(self, x_nd: np.ndarray, k: int) -> np.ndarray:
        n = len(self._train_nd)
        n_candidates = min(n, k + SPARE)
        squares, candidates = self._candidates(x_nd, n_candidates)
        nearest = np.empty((len(x_nd), k), dtype=np.int64)
        lengths = (x_nd**2).sum(axis=1) + self._lengths_n.max()
        with np.errstate(invalid="ignore"):  # inf - inf where float32 overflowed, which is then not sure
            sure = (squares[:, -1] - squares[:, k - 1] > ROUNDING * lengths) | (n_candidates == n)
        for i, x_d in enumerate(x_nd):
            rows = np.sort(candidates[i]) if sure[i] else np.arange(n)
            exact = ((self._train_nd[rows] - x_d) ** 2).sum(axis=1)
            nearest[i] = rows[np.argsort(exact, kind="stable")[:k]]
        return nearest

    def _candidates(self, x_nd: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rounded squared distances (m, count), ascending, and row numbers."""
        if count == len(self._train_nd):
            return np.zeros((len(x_nd), count)), np.tile(np.arange(count), (len(x_nd), 1))
        if self._index is not None:
            with np.errstate(over="ignore"):
                return self._index.search(np.ascontiguousarray(x_nd, dtype=np.float32), count)
        squares = (x_nd**2).sum(axis=1)[:, None] + self._lengths_n - 2.0 * (x_nd @ self._train_nd.T)
        rows = np.argpartition(squares, count - 1, axis=1)[:, :count]
        rows = np.take_along_axis(rows, np.argsort(np.take_along_axis(squares, rows, axis=1), axis=1), axis=1)
        return np.take_along_axis(squares, rows, axis=1), rows


def take_k(tensors: Tensors, n_train: int, what: str) -> int:
    """How many neighbours a stored model asks for. Raises InvalidInputError where there are not so many train rows."""
    k = int(take_tensor(tensors, "k", (1,), what)[0])
    check_number(k, f"{what}: k", 1, n_train, integer=True)
    return k


def _faiss_index(train_nd: np.ndarray) -> Any:
    """An exact index of the rows; None without faiss."""
    try:
        import faiss
    except ImportError:
        return None
    index = faiss.IndexFlatL2(train_nd.shape[1])
    with np.errstate(over="ignore"):
        index.add(np.ascontiguousarray(train_nd, dtype=np.float32))  # pyright: ignore[reportCallIssue]
    return index
