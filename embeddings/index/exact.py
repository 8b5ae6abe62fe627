"""Every code compared with every query: exact, and fast enough for a small code set."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.index.flat import flat_of
from guidestore.embeddings.index.metric import Metric, prepared, values_of

SPARE = 8
"""Candidates beyond those wanted: float32 rounds, so they are put in order once more, and equals by their row."""
ROWS_AT_ONCE = 1024
"""Queries whose candidates are put in order at once."""


class ExactIndex:
    """The finite rows of codes_nd (n, d) float32, all compared. See `Index`.

    rows_n: these rows, ascending.
    """

    def __init__(self, codes_nd: np.ndarray, metric: Metric) -> None:
        self._metric: Metric = metric
        self.rows_n = np.flatnonzero(np.isfinite(codes_nd).all(axis=1))
        self._width = codes_nd.shape[1]
        self._flat = flat_of(prepared(codes_nd[self.rows_n], metric), metric)

    @property
    def size(self) -> int:
        return len(self.rows_n)

    @property
    def width(self) -> int:
        return self._width

    def search(self, queries_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        starts = range(0, len(queries_md), ROWS_AT_ONCE)
        parts = [self._search(queries_md[start : start + ROWS_AT_ONCE], k) for start in starts]
        return np.concatenate([values for values, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _search(self, queries_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        count = min(self.size, k + SPARE)
        places_mc = self._flat.nearest(queries_md, count)
        values_mk = np.empty((len(queries_md), k), np.float32)
        rows_mk = np.empty((len(queries_md), k), np.int64)
        for i, query_d in enumerate(queries_md.astype(np.float64)):
            places = np.sort(places_mc[i])
            codes_cd = self._flat.take(places).astype(np.float64)
            cosine = self._metric == "cosine"
            exact = np.einsum("cd,d->c", codes_cd, query_d) if cosine else ((codes_cd - query_d) ** 2).sum(axis=1)
            order = np.argsort(-exact if cosine else exact, kind="stable")[:k]
            values_mk[i] = values_of(exact[order], self._metric)
            rows_mk[i] = self.rows_n[places[order]]
        return values_mk, rows_mk

    def codes(self) -> np.ndarray:
        """The prepared codes of rows_n, a copy."""
        return self._flat.take(np.arange(self.size))

    def code(self, row: int) -> np.ndarray | None:
        position = int(np.searchsorted(self.rows_n, row))
        there = position < self.size and self.rows_n[position] == row
        return self._flat.take(np.array([position]))[0] if there else None
