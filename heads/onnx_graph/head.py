"""A trained row as one ONNX model z_I -> class probabilities, or another outcome: G and D_c in one graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.input_rows import input_row
from guidestore.heads.onnx_graph.graph import Graph, Value, onnx_of
from guidestore.heads.prediction import codes_read, predict_row
from guidestore.heads.registry import load_any_decoder, load_guidance
from guidestore.heads.trained import Component

INPUT, OUTPUT = "z_inferior", "probabilities"
"""Of the model: float32 (n, d_I) and float64 (n, k)."""


def head_onnx(row: str, components: Mapping[str, Component], code_dim: int) -> bytes:
    """The model of a trained head whose z_I has `code_dim` dimensions, as the bytes of an .onnx file.

    It computes what `predict_row` does, in float64 (of survival the risk), but checks nothing: codes that are not
    finite give NaN. Raises InvalidInputError where a part has no ONNX form, or the row needs the superior image.
    """
    n_classes = predict_row(row, components, np.zeros((1, code_dim), np.float32)).shape[1]  # also checks all parts
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InvalidInputError("writing ONNX needs the package onnx; install guidestore[export]") from error
    graph, of = Graph(), input_row(row)
    z = Value(graph, INPUT).cast(np.float64)
    codes = {"z_I": z}
    if "guidance" in components:
        codes["G(z_I)"] = onnx_of(load_guidance(*components["guidance"]), z).rounded()
    decoder = load_any_decoder(*components["decoder"])
    if of.averaged:
        superior = load_any_decoder(*components["superior_decoder"])
        probabilities = (onnx_of(decoder, z) + onnx_of(superior, codes["G(z_I)"])) / 2.0
    else:
        first, *more = (codes[code] for code in codes_read(of, components))
        probabilities = onnx_of(decoder, first.beside(*more) if more else first)
    return graph.serialize({INPUT: ("n", code_dim)}, {OUTPUT: (probabilities, "n", n_classes)})


def parts_with_train_codes(components: Mapping[str, Component]) -> list[str]:
    """Names of the models among `components`, wrapped ones too, whose weights hold codes of train cases; sorted."""
    names: set[str] = set()
    for role, component in components.items():
        part: Any = (load_guidance if role == "guidance" else load_any_decoder)(*component)
        while part is not None:
            for of in (part, getattr(part, "fusion", None)):
                if getattr(of, "keeps_train_codes", False):
                    names.add(str(getattr(of, "name", of)))
            part = getattr(part, "decoder", None)
    return sorted(names)
