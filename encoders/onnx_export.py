"""A network trained here as an ONNX model: what an encoder is given of one image -> code, normalisation included."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.input_kind import input_kind
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.trainable import TrainedEncoder

INPUT, OUTPUT = "pixels", "z_inferior"
"""Of the model. pixels: volumes_bcdhw float32, photographs_bhwc uint8, or the tiles_nd float32 of one slide;
z_inferior: (b, d) float32, one row for a slide."""

OPSET = 18
"""The lowest that torch's exporter writes without converting."""


def example_pixels(encoder: TrainedEncoder) -> np.ndarray:
    """Made-up input of the model, of the shape that the encoder's preprocessing gives: 2 items, or 7 tiles."""
    kind = input_kind(encoder.spec.input_kind)
    return kind.example(encoder.spec.preprocessing, encoder.module.config, np.random.default_rng(0))


def codes_of(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """What the encoder itself gives for input of the model."""
    return encoder.encode(input_kind(encoder.spec.input_kind).batch_of(pixels))


def encoder_onnx(encoder: TrainedEncoder) -> bytes:
    """The bytes of an .onnx file; equal calls give equal bytes. Raises InvalidInputError where onnx is missing."""
    try:
        import onnxscript  # noqa: F401  (what torch writes ONNX with)
    except ImportError as error:
        raise InvalidInputError(
            "writing a network as ONNX needs the packages onnx and onnxscript; install guidestore[export]"
        ) from error
    program = torch.onnx.export(
        encoder.module.graph().eval(),
        (torch.from_numpy(example_pixels(encoder)),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # noqa: S101  (it is None for the old exporter)
    return _bare(program.model_proto).SerializeToString(deterministic=True)


def _bare(model: Any) -> Any:
    """Without torch's notes of where in whose source code each node came from."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        for field in ("metadata_props", "doc_string"):
            part.ClearField(field)
    return model
