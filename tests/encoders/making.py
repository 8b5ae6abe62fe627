"""Small inputs for the tests of encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
import torch

from guidestore.encoders.registry import build_encoder, encoder_info, encoder_infos
from guidestore.encoders.trainable import TrainableEncoder
from guidestore.encoders.weights import tensors_of
from guidestore.testing.encoder import bags, tiles, volumes

PATCH_DIM = 6
"""Of `bags`."""

OURS = tuple(sorted(info.name for info in encoder_infos().values() if info.weights in ("none", "trained")))
"""Encoders that need no foreign weights."""


def photographs(count: int, seed: int = 0, size: int = 80) -> np.ndarray:
    """photographs_bhwc, as `tiles`."""
    return tiles(count, seed, size)


def module_of(name: str) -> TrainableEncoder:
    """A small module of the trained encoder `name`, with weights drawn from seed 0."""
    from guidestore.encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig
    from guidestore.encoders.clam import ClamConfig, ClamMB, ClamSB
    from guidestore.encoders.densenet3d import DenseNet3d, DenseNet3dConfig
    from guidestore.encoders.inception_multitask import InceptionConfig, InceptionMultitask
    from guidestore.encoders.mean_pooling import MeanPooling, MeanPoolingConfig

    clam = ClamConfig(PATCH_DIM, 8, 4, n_classes=3, k_sample=2)
    modules: dict[str, Callable[[], TrainableEncoder]] = {
        "densenet3d": lambda: DenseNet3d(DenseNet3dConfig(init_features=8, growth_rate=4, block_config=(1, 2))),
        "inception_multitask": lambda: InceptionMultitask(InceptionConfig("Mixed_5d")),
        "attention_pooling": lambda: AttentionPooling(AttentionPoolingConfig(PATCH_DIM, 8, 4)),
        "clam_sb": lambda: ClamSB(clam),
        "clam_mb": lambda: ClamMB(clam),
        "mean_pooling": lambda: MeanPooling(MeanPoolingConfig(PATCH_DIM, 8)),
    }
    module = modules[name]()
    train_data = {"volumes": volumes, "photographs": photographs, "bags": bags}[module.input_kind](4)
    module.reset(train_data, torch.Generator().manual_seed(0))
    return module


def encoder_of(name: str):
    """Any encoder of the registry, small."""
    if not encoder_info(name).is_trained:
        return build_encoder(name, **({"code_dim": PATCH_DIM} if encoder_info(name).takes == ("bags",) else {}))
    module = module_of(name)
    return build_encoder(name, config=module.config, tensors=tensors_of(module), weights_sha256="ab")


def batch_for(encoder, count: int, seed: int = 0):
    """A batch of `count` for any encoder."""
    made = {"tiles": tiles, "volumes": volumes, "photographs": photographs, "bags": bags}
    return made[encoder.spec.input_kind](count, seed)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(voxels, affine).to_filename(path)
    return path


def write_tiff(path: Path, slide_hwc: np.ndarray, mpp: float | None = 0.5, levels: int = 1) -> Path:
    """A lossless tiled TIFF; further levels are made by halving. mpp None leaves the resolution out."""
    tags = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            tiff.write(
                slide_hwc[:: 2**level, :: 2**level],
                tile=(256, 256),
                photometric="rgb",
                compression="deflate",
                subfiletype=int(level > 0),
                metadata=None,
                **tags,
            )
    return path
