"""A network trained here as an ONNX model: what an encoder is given of one image -> code, normalisation included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag
from guidestore.encoders.bags import BagBatch, BagModule
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.trainable import TrainedEncoder

INPUT, OUTPUT = "pixels", "z_inferior"
"""Of the model. pixels: volumes_bcdhw float32, photographs_bhwc uint8, or the tiles_nd float32 of one slide;
z_inferior: (b, d) float32, one row for a slide."""

OPSET = 18
"""The lowest that torch's exporter writes without converting."""

EXAMPLE_TILES = 7


class _Pictures(nn.Module):
    """photographs_bhwc uint8 -> codes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, photographs_bhwc: torch.Tensor) -> torch.Tensor:
        return self.module(photographs_bhwc.permute(0, 3, 1, 2))


class _OneBag(nn.Module):
    """tiles_nd float32 of one slide -> its code (1, d)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tiles_nd: torch.Tensor) -> torch.Tensor:
        return self.module(BagBatch(tiles_nd, torch.zeros(tiles_nd.shape[0], dtype=torch.int64), 1))


def example_pixels(encoder: TrainedEncoder) -> np.ndarray:
    """Made-up input of the model, of the shape that the encoder's preprocessing gives: 2 items, or 7 tiles."""
    rng, facts = np.random.default_rng(0), encoder.spec.preprocessing
    if encoder.spec.input_kind == "photographs":
        return rng.integers(0, 256, (2, facts["size_px"], facts["size_px"], 3), np.uint8)
    if encoder.spec.input_kind == "volumes":
        return rng.normal(size=(2, len(facts["sequences"]), *facts["shape_vox"])).astype(np.float32)
    return rng.normal(size=(EXAMPLE_TILES, len(encoder.module.get_buffer("mean_d")))).astype(np.float32)


def codes_of(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """What the encoder itself gives for input of the model."""
    if encoder.spec.input_kind == "bags":
        coords_n2 = np.zeros((len(pixels), 2), np.int32)
        return encoder.encode([Bag(pixels, coords_n2, 1.0, 1, 1)])
    return encoder.encode(pixels)


def encoder_onnx(encoder: TrainedEncoder) -> bytes:
    """The bytes of an .onnx file; equal calls give equal bytes. Raises InvalidInputError where onnx is missing."""
    try:
        import onnxscript  # noqa: F401  (what torch writes ONNX with)
    except ImportError as error:
        raise InvalidInputError(
            "writing a network as ONNX needs the packages onnx and onnxscript; install guidestore[export]"
        ) from error
    module, kind = encoder.module, encoder.spec.input_kind
    if isinstance(module, BagModule):
        module = _OneBag(module)
    elif kind == "photographs":
        module = _Pictures(module)
    program = torch.onnx.export(
        module.eval(),
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


def preprocessing_in_words(input_kind: str, preprocessing: Mapping[str, Any]) -> str:
    """What is to be done to an image before the encoder; `encoders.volumes` and its like do it."""
    facts = preprocessing
    if input_kind == "volumes":
        fit = "cropped and padded" if facts["fit"] == "crop" else "scaled by one factor and padded"
        return (
            f"sequences {', '.join(facts['sequences'])}, one channel each in this order: orient to RAS; resample "
            f"linearly by the affines onto the first one's field of view at {facts['spacing_mm']} mm; crop to the "
            "voxels above zero in any sequence; per sequence subtract the mean of its non-zero voxels and divide by "
            f"their standard deviation; {fit} to d, h, w = {tuple(facts['shape_vox'])} voxels (inferior to superior, "
            "posterior to anterior, left to right)"
        )
    if input_kind == "photographs":
        edge = facts["size_px"]
        return (
            f"upright RGB; the centre square, resampled to {edge} x {edge} px by Lanczos; values 0 to 255, uint8, "
            "channels last"
        )
    if input_kind == "bags":
        return f"the codes of the slide's tiles by patch encoder {facts['patch_encoder']}, float32, one row each"
    if input_kind == "codes":
        return "none: the codes came from elsewhere and were imported"
    return ", ".join(f"{name} {value}" for name, value in facts.items())
