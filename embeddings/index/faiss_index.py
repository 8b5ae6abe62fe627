"""An inverted-file (IVF) index: codes in lists around centroids, of which a search reads the nearest few.

Why IVF and not HNSW (2 cores, 200,000 x 256 clustered codes): built in 3 s, HNSW in 44 to 130 s for a recall of .98 or
more, and HNSW's build is the same twice only on one thread. IVF runs on a GPU too. It reads more lists for the same
recall, which at that size is 1 ms instead of 0.2 ms for a query.
"""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false
# faiss makes its classes at import: no checker sees what they have.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.index.exact import ExactIndex
from guidestore.embeddings.index.metric import GPU_MAX_K, Metric, faiss_metric, on_gpu, values_of

RECALL_K = 10
RECALL_WANTED = 0.95
"""As many lists are read as it takes to find this share of the true neighbours, on queries of their own."""
QUERIES = 200
"""Codes whose true neighbours choose how many lists are read, and as many again that the recall is measured on."""
PARAMETERS = {"lists_per_root_n": 2, "iterations": 10, "points_per_list": 64, "seed": 0, "recall_wanted": RECALL_WANTED}
"""Of a build, and part of its recipe. On 2 cores 2 sqrt(n) lists take 17 s for 1,000,000 x 256 codes; 4 sqrt(n) take
56 s and halve the 0.5 ms of a query. At 200,000 codes, 32 points a list cost .03 of recall; 256 points, or 25
iterations with them, take 3 to 16 times as long and gain nothing."""


@dataclass(frozen=True, slots=True)
class Built:
    """A serialised index and what it is like."""

    data: bytes
    size: int
    lists: int
    probes: int
    """Lists that a search reads."""
    recall: float
    """Share of the true RECALL_K neighbours that it finds, of codes that did not choose `probes`."""
    faiss: str
    """Version that built it."""


class FaissIndex:
    """An IVF index. See `Index`. `data`: bytes of `Built`, whose digest was checked; RuntimeError if faiss cannot read
    them."""

    def __init__(self, data: bytes, metric: Metric) -> None:
        import faiss

        self._metric: Metric = metric
        self._index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        self._fast = on_gpu(self._index)
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)

    @property
    def size(self) -> int:
        return self._index.ntotal

    @property
    def width(self) -> int:
        return self._index.d

    def search(self, queries_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        index = self._fast if k <= GPU_MAX_K else self._index
        found_mk, rows_mk = index.search(queries_md, k)
        short = (rows_mk < 0).any(axis=1)  # the lists that were read hold fewer than k
        if short.any():
            whole = faiss.SearchParametersIVF(nprobe=self._index.nlist)
            found_mk[short], rows_mk[short] = self._index.search(queries_md[short], k, params=whole)
        return values_of(found_mk, self._metric), rows_mk

    def code(self, row: int) -> np.ndarray | None:
        try:
            return np.asarray(self._index.reconstruct(row))
        except RuntimeError:
            return None


def build(codes_nd: np.ndarray, metric: Metric) -> Built:
    """Indexes the finite rows of codes_nd (n, d) float32 and measures the recall; the same codes, the same index.

    Raises InvalidInputError where no code is finite.
    """
    import faiss

    exact = ExactIndex(codes_nd, metric)
    if not exact.size:
        raise InvalidInputError(
            f"none of the {len(codes_nd):,} codes is finite, so none has a neighbour; encode them again"
        )
    chosen_nd, rows_n = exact.codes(), exact.rows_n
    lists = max(1, round(PARAMETERS["lists_per_root_n"] * math.sqrt(len(rows_n))))
    quantizer = faiss.IndexFlat(chosen_nd.shape[1], faiss_metric(metric))
    index = faiss.IndexIVFFlat(quantizer, chosen_nd.shape[1], lists, faiss_metric(metric))
    index.cp.niter = PARAMETERS["iterations"]
    index.cp.max_points_per_centroid = PARAMETERS["points_per_list"]
    index.cp.min_points_per_centroid = 1  # faiss warns below; a list of few codes is fine
    index.cp.seed = PARAMETERS["seed"]
    index.train(chosen_nd)
    index.add_with_ids(chosen_nd, rows_n)

    rng = np.random.default_rng(PARAMETERS["seed"])
    sample = rng.permutation(len(rows_n))[: 2 * QUERIES]
    k = min(RECALL_K + 1, len(rows_n))  # each finds itself, which does not count
    queries_md = chosen_nd[sample]
    worst_m = exact.search(queries_md, k)[0][:, -1]
    fast = on_gpu(index)

    def recall(half: slice, probes: int) -> float:
        parameters = faiss.SearchParametersIVF(nprobe=probes)
        found_mk, places_mk = fast.search(queries_md[half], k, params=parameters)
        values_mk, edge_m1 = values_of(found_mk, metric), worst_m[half, None]
        # By value and not by row, so that of equal codes each counts; 1e-5 is what faiss rounds.
        near = values_mk >= edge_m1 - 1e-5 if metric == "cosine" else values_mk <= edge_m1 * (1 + 1e-5) + 1e-12
        return float(((near & (places_mk >= 0)).sum(axis=1) - 1).clip(0).mean() / max(k - 1, 1))

    choosing, judging = slice(0, (len(sample) + 1) // 2), slice(len(sample) // 2, None)
    probes = 1
    while probes < lists and recall(choosing, probes) < RECALL_WANTED:
        probes = min(2 * probes, lists)
    index.nprobe = probes
    data = faiss.serialize_index(index).tobytes()
    return Built(data, len(rows_n), lists, probes, recall(judging, probes), faiss.__version__)
