"""A trained row as one ONNX model z_I -> class probabilities: G and D_c in one graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.baselines.ensemble import ENSEMBLE
from guidestore.heads.baselines.train import predict_baseline
from guidestore.heads.input_rows import BASELINE_ROWS, GUIDED, Component, predict_row
from guidestore.heads.onnx_graph.decoders import decoded
from guidestore.heads.onnx_graph.graph import Graph, Value
from guidestore.heads.onnx_graph.guidance import guided

INPUT, OUTPUT = "z_inferior", "probabilities"
"""Of the model: float32 (n, d_I) and float64 (n, k)."""

KEEPS_TRAIN_CODES = ("kernel_ridge", "knn", "retrieval")
"""Models whose weights are codes of the train cases themselves."""


def predict_head(row: str, components: Mapping[str, Component], z_inferior_nd: np.ndarray) -> np.ndarray:
    """(n, d_I) z_I -> (n, k) float64 probabilities of a trained head of any row that z_I is enough for, baselines too.

    Raises InvalidInputError.
    """
    predict = predict_baseline if row in BASELINE_ROWS else predict_row
    return predict(row, components, z_inferior_nd)


def head_onnx(row: str, components: Mapping[str, Component], code_dim: int) -> bytes:
    """The model of a trained head whose z_I has `code_dim` dimensions, as the bytes of an .onnx file.

    It computes what `predict_head` does, in float64, but checks nothing: codes that are not finite give NaN. Raises
    InvalidInputError where a part has no ONNX form, or the row needs the superior image.
    """
    n_classes = predict_head(row, components, np.zeros((1, code_dim), np.float32)).shape[1]  # also checks all parts
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InvalidInputError("writing ONNX needs the package onnx; install guidestore[export]") from error
    graph = Graph()
    z = Value(graph, INPUT).cast(np.float64)
    z_guided = guided(z, *components["guidance"]) if "guidance" in components else None
    if row == ENSEMBLE and z_guided is not None:
        inferior, superior = decoded(z, *components["decoder"]), decoded(z_guided, *components["superior_decoder"])
        probabilities = (inferior + superior) / 2.0
    elif z_guided is None:
        probabilities = decoded(z, *components["decoder"])
    else:
        probabilities = decoded(z_guided if row == GUIDED else z_guided.beside(z), *components["decoder"])
    return graph.serialize({INPUT: ("n", code_dim)}, {OUTPUT: (probabilities, "n", n_classes)})


def parts_with_train_codes(components: Mapping[str, Component]) -> list[str]:
    """Names of the models among `components`, wrapped ones too, whose weights hold codes of train cases; sorted."""
    found: list[str] = []
    for config, _ in components.values():
        inner: Any = config
        while inner is not None:
            found += [inner["name"]] if inner["name"] in KEEPS_TRAIN_CODES else []
            inner = inner.get("decoder")
    return sorted(set(found))
