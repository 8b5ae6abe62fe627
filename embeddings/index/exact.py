"""Every code compared with every query: exact, and fast enough for a small code set."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.index.metric import GPU_MAX_K, Metric, faiss_metric, on_gpu, prepared, values_of

SPARE = 8
"""Candidates beyond those wanted: faiss rounds, so they are put in order once more, and equals by their row."""
ROWS_AT_ONCE = 1024
"""Queries whose candidates are put in order at once."""


class ExactIndex:
    """A flat faiss index of the finite rows of codes_nd (n, d) float32. See `Index`.

    rows_n: these rows, ascending.
    """

    def __init__(self, codes_nd: np.ndarray, metric: Metric) -> None:
        import faiss

        self._metric: Metric = metric
        self.rows_n = np.flatnonzero(np.isfinite(codes_nd).all(axis=1))
        chosen_nd = prepared(codes_nd[self.rows_n], metric)
        self._flat = faiss.IndexFlat(codes_nd.shape[1], faiss_metric(metric))
        self._flat.add(chosen_nd)  # pyright: ignore[reportCallIssue]
        self._fast = on_gpu(self._flat)

    @property
    def size(self) -> int:
        return len(self.rows_n)

    @property
    def width(self) -> int:
        return self._flat.d

    def search(self, queries_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        starts = range(0, len(queries_md), ROWS_AT_ONCE)
        parts = [self._search(queries_md[start : start + ROWS_AT_ONCE], k) for start in starts]
        return np.concatenate([values for values, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _search(self, queries_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        count = min(self.size, k + SPARE)
        index = self._fast if count <= GPU_MAX_K else self._flat
        _, places_mc = index.search(queries_md, count)
        values_mk = np.empty((len(queries_md), k), np.float32)
        rows_mk = np.empty((len(queries_md), k), np.int64)
        for i, query_d in enumerate(queries_md.astype(np.float64)):
            places = np.sort(places_mc[i])
            codes_cd = self._flat.reconstruct_batch(places).astype(np.float64)
            cosine = self._metric == "cosine"
            exact = np.einsum("cd,d->c", codes_cd, query_d) if cosine else ((codes_cd - query_d) ** 2).sum(axis=1)
            order = np.argsort(-exact if cosine else exact, kind="stable")[:k]
            values_mk[i] = values_of(exact[order], self._metric)
            rows_mk[i] = self.rows_n[places[order]]
        return values_mk, rows_mk

    def codes(self) -> np.ndarray:
        """The prepared codes of rows_n, a copy."""
        return np.asarray(self._flat.reconstruct_n(0, self.size))

    def code(self, row: int) -> np.ndarray | None:
        position = int(np.searchsorted(self.rows_n, row))
        return (
            np.asarray(self._flat.reconstruct(position))
            if position < self.size and self.rows_n[position] == row
            else None
        )
