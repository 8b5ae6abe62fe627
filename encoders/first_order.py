"""A volume encoder without weights: intensity, gradient and texture statistics per sequence, and their correlations.

First-order radiomics over the whole brain; it needs no training, so it serves as a baseline and in flows' checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.types import EncoderSpec
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.kinds.volumes import Volumes

INFO = EncoderInfo(
    name="first_order",
    encoder_class="guidestore.encoders.first_order:FirstOrderEncoder",
    takes=("volumes",),
    code_dim="15 c + c (c - 1) / 2",
    weights="none",
    one_thread=True,
)

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
PER_CHANNEL = len(QUANTILES) + 8
"""Quantiles; mean, sd, skewness, kurtosis; share of bright and of dark voxels; gradient energy; local roughness."""

EXTREME_SD = 2.0
"""Bright and dark: beyond 2 standard deviations of the brain."""


class FirstOrderEncoder:
    """volumes_bcdhw float32 -> (b, 15 c + c (c - 1) / 2) float32, 66 for four sequences. See `Encoder`.

    channels: c, the number of sequences. preprocessing: `VolumeSettings.as_dict()` of the volumes.
    """

    def __init__(self, channels: int = 4, preprocessing: Mapping[str, Any] | None = None) -> None:
        self.channels = channels
        code_dim = PER_CHANNEL * channels + channels * (channels - 1) // 2
        self.spec = EncoderSpec("first_order", "1", "volumes", code_dim, preprocessing=dict(preprocessing or {}))

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        Volumes().check(batch, self.spec.name, self.channels)
        codes_bd = np.empty((len(batch), self.spec.code_dim), np.float32)
        for row, volume_cdhw in enumerate(batch):
            codes_bd[row] = np.concatenate([*map(_describe, volume_cdhw), _correlations(volume_cdhw)])
        return codes_bd


def _describe(volume_dhw: np.ndarray) -> np.ndarray:
    """(15,) statistics of one sequence over its non-zero voxels; zeros where there are none."""
    values_n = volume_dhw[volume_dhw != 0].astype(np.float64)
    if not values_n.size:
        return np.zeros(PER_CHANNEL)
    mean, sd = values_n.mean(), values_n.std()
    standard_n = (values_n - mean) / max(sd, 1e-6)
    inner_dhw = volume_dhw.astype(np.float64)
    gradients = [np.diff(inner_dhw, axis=axis) for axis in range(3)]
    # Second differences over first: high for grain, low for large smooth structures.
    roughness = sum(np.abs(np.diff(step, axis=axis)).mean() for axis, step in enumerate(gradients))
    slope = sum(np.abs(step).mean() for step in gradients)
    return np.concatenate(
        [
            np.quantile(values_n, QUANTILES),
            [
                mean,
                sd,
                (standard_n**3).mean(),
                np.log((standard_n**4).mean() + 1e-6),
                10 * (standard_n > EXTREME_SD).mean(),
                10 * (standard_n < -EXTREME_SD).mean(),
                sum((step**2).mean() for step in gradients),
                roughness / max(slope, 1e-6),
            ],
        ]
    )


def _correlations(volume_cdhw: np.ndarray) -> np.ndarray:
    """(c (c - 1) / 2,) Pearson correlations between sequences over voxels that are non-zero in any; 0 if constant."""
    values_cn = volume_cdhw[:, (volume_cdhw != 0).any(axis=0)].astype(np.float64)
    upper = np.triu_indices(len(volume_cdhw), k=1)
    if not values_cn.size:
        return np.zeros(len(upper[0]))
    centred_cn = values_cn - values_cn.mean(axis=1, keepdims=True)
    norm_c = np.maximum(np.linalg.norm(centred_cn, axis=1), 1e-6)
    return ((centred_cn @ centred_cn.T) / np.outer(norm_c, norm_c))[upper]
