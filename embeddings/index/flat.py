"""All codes compared with each query, by faiss; by torch where faiss is not installed, on a GPU if there is one."""

# pyright: reportCallIssue=false
# faiss makes its classes at import: no checker sees what they take.

from __future__ import annotations

from typing import Protocol

import numpy as np

from guidestore.embeddings.index.metric import GPU_MAX_K, Metric, faiss_metric, on_gpu

_SCORES_AT_ONCE = 1 << 26
"""Of codes times queries: 256 MB."""


class Flat(Protocol):
    """Prepared codes, and which of them come nearest, as far as float32 tells."""

    def nearest(self, queries_md: np.ndarray, count: int) -> np.ndarray:
        """Numbers (m, count) of codes, in no particular order; count: at most as many as there are."""
        ...

    def take(self, places: np.ndarray) -> np.ndarray:
        """The codes (c, d) of these numbers."""
        ...


def has_faiss() -> bool:
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def flat_of(codes_nd: np.ndarray, metric: Metric) -> Flat:
    """Of prepared codes (n, d) float32, which it may keep."""
    return FaissFlat(codes_nd, metric) if has_faiss() else TorchFlat(codes_nd, metric)


class FaissFlat:
    def __init__(self, codes_nd: np.ndarray, metric: Metric) -> None:
        import faiss

        self._flat = faiss.IndexFlat(codes_nd.shape[1], faiss_metric(metric))
        self._flat.add(codes_nd)
        self._fast = on_gpu(self._flat)

    def nearest(self, queries_md: np.ndarray, count: int) -> np.ndarray:
        index = self._fast if count <= GPU_MAX_K else self._flat
        return index.search(queries_md, count)[1]

    def take(self, places: np.ndarray) -> np.ndarray:
        return self._flat.reconstruct_batch(places)


class TorchFlat:
    """One matrix product and a top-k."""

    def __init__(self, codes_nd: np.ndarray, metric: Metric) -> None:
        import torch

        self._codes_nd = codes_nd
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        # Distances do not know where 0 is, and about the mean their squares cancel least.
        self._middle_d = codes_nd.mean(axis=0, dtype=np.float64).astype(np.float32) if metric == "euclidean" else 0
        codes = torch.from_numpy(codes_nd - self._middle_d).to(self._device)
        self._half_squares_n = (codes * codes).sum(dim=1) / 2 if metric == "euclidean" else None
        self._codes_dn = codes.T

    def nearest(self, queries_md: np.ndarray, count: int) -> np.ndarray:
        import torch

        found = []
        for queries in torch.from_numpy(queries_md - self._middle_d).split(
            max(_SCORES_AT_ONCE // max(len(self._codes_nd), 1), 1)
        ):
            scores_mn = queries.to(self._device) @ self._codes_dn
            if self._half_squares_n is not None:
                scores_mn -= self._half_squares_n
            found.append(scores_mn.topk(count, dim=1).indices.cpu().numpy())
        return np.concatenate(found)

    def take(self, places: np.ndarray) -> np.ndarray:
        return self._codes_nd[places]
