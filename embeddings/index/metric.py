"""Cosine similarity and Euclidean distance, as faiss computes them: inner products of unit codes, squared distances."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

Metric = Literal["cosine", "euclidean"]
"""cosine is the default: how long a code is follows intensity, tile count or an encoder's scale more than what is seen,
and similarities from -1 to 1 compare between encoders. SQL's neighbours() uses it too."""

LARGEST = 1e15
"""Of a coordinate under the Euclidean metric: squares of larger ones, summed up, come close to the end of float32."""


def check_metric(metric: str) -> None:
    """Raises InvalidInputError if `metric` is not one."""
    if metric not in get_args(Metric):
        raise InvalidInputError(f"{metric!r} is no metric of neighbours; choose one of {', '.join(get_args(Metric))}")


def prepared(codes_nd: np.ndarray, metric: Metric) -> np.ndarray:
    """What an index holds of finite codes (n, d) float32: unit codes for cosine (zeros stay zeros), else a copy.

    Raises InvalidInputError where Euclidean distances would overflow.
    """
    largest_n1 = np.abs(codes_nd).max(axis=1, initial=0, keepdims=True)
    if metric == "euclidean":
        if largest_n1.max(initial=0) > LARGEST:
            raise InvalidInputError(f"codes beyond {LARGEST:.0e} have no Euclidean distances in float32; use cosine")
        return np.array(codes_nd, dtype=np.float32, order="C")
    # Divided by the largest value first, so that no square over- or underflows.
    units_nd = np.array(codes_nd / np.where(largest_n1 > 0, largest_n1, 1), dtype=np.float32, order="C")
    norms_n = np.sqrt(np.einsum("nd,nd->n", units_nd, units_nd))
    units_nd /= np.where(norms_n > 0, norms_n, 1)[:, None]
    return units_nd


def faiss_metric(metric: Metric) -> int:
    import faiss

    return faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2


def values_of(found_mk: np.ndarray, metric: Metric) -> np.ndarray:
    """What faiss found as similarities or distances, free of what rounding adds beyond their range."""
    return np.clip(found_mk, -1, 1) if metric == "cosine" else np.sqrt(np.maximum(found_mk, 0))


def on_gpu(index: Any) -> Any:
    """A copy of a faiss index on the first GPU; the index itself where there is none."""
    import faiss

    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    return index


GPU_MAX_K = 2048
"""faiss refuses to look for more on a GPU."""
