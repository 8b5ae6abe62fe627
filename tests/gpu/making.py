"""Inputs of the parts: pictures, weights of true architectures, a slide, and a large pyramid made of its tiles."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from guidestore.encoders.pathology_models import MODELS, timm_model
from guidestore.encoders.timm_patch import build_network

_FOLDERS = (os.environ.get("GUIDESTORE_TEST_DATA", ""), ".gpu-data", "../shared/data")
_NAME = "slides/CMU-1-Small-Region.svs"


def tiles(count: int, edge: int) -> np.ndarray:
    """tiles_bhwc uint8."""
    return np.random.default_rng(0).integers(0, 256, (count, edge, edge, 3), np.uint8)


def real_slide() -> Path | None:
    return next((Path(folder) / _NAME for folder in _FOLDERS if folder and (Path(folder) / _NAME).is_file()), None)


def random_weights(name: str, folder: Path) -> Path:
    """Of the scale of trained ones: activations that vanish would be denormal numbers, which are slow."""
    model = MODELS.get(name) or timm_model(name)
    assert model is not None
    generator, state = torch.Generator().manual_seed(0), {}
    for key, value in build_network(model).state_dict().items():
        scale = max(value[0].numel() if value.ndim > 1 else 100, 1) ** -0.5
        drawn = torch.randn(value.shape, generator=generator) * scale
        is_scale = key.endswith(("running_var", "gamma")) or (value.ndim == 1 and key.endswith("weight"))
        state[key] = (drawn.abs() + 1 if is_scale else drawn).to(value.dtype)
    save_file(state, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def large_pyramid(slide: Path, path: Path, edge_px: int = 40_000) -> Path:
    """A generic TIFF whose level 0 is made of the slide's own JPEG tiles, copied as they are; 1/16 is its other level.

    No JPEG encoder is needed, which this machine may lack.
    """
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        data = slide.read_bytes()
        columns, rows = page.imagewidth // page.tilewidth, page.imagelength // page.tilelength
        width = -(-page.imagewidth // page.tilewidth)
        numbers = [row * width + column for row in range(rows) for column in range(columns)]
        own = [data[page.dataoffsets[i] :][: page.databytecounts[i]] for i in numbers]
        tables, edge = page.jpegtables, page.tilewidth
    assert tables
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    small = [
        np.asarray(Image.open(io.BytesIO(tables[:-2] + adobe + tile[2:])).resize((edge // 16, edge // 16)))
        for tile in own
    ]
    count = edge_px // edge
    drawn = np.random.default_rng(0).integers(0, len(own), (count, count))
    thumbnail = np.concatenate([np.concatenate([small[i] for i in row], axis=1) for row in drawn])

    def encoded() -> Iterator[bytes]:
        for i in drawn.ravel().tolist():
            yield own[i]

    tags = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER", "metadata": None, "photometric": "rgb"}
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        shape = (count * edge, count * edge, 3)
        out.write(
            encoded(), shape=shape, dtype=np.uint8, tile=(edge, edge), compression="jpeg", jpegtables=tables, **tags
        )
        out.write(thumbnail, tile=(240, 240), subfiletype=1, **tags)
    return path
