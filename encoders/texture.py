"""A patch encoder without weights: stain, texture and nuclei statistics of an H&E tile, by scikit-image.

It needs no download and no GPU, so that every flow runs anywhere, and is a baseline that learned features must beat.
Sources: stain separation, Ruifrok & Johnston 2001; local binary patterns, Ojala 2002; co-occurrence, Haralick 1973.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from skimage.color import rgb2hed
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.filters import sobel
from skimage.measure import label

from guidestore.embeddings.types import EncoderSpec
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.kinds.tiles import Tiles

INFO = EncoderInfo(
    name="texture",
    encoder_class="guidestore.encoders.texture:TextureEncoder",
    takes=("tiles",),
    code_dim="46",
    weights="none",
    one_thread=True,
    tile_size_px=256,
    mpp=0.5,
)
"""Its statistics are scaled for tiles of that size."""

STAIN_SCALE = 10.0
"""Brings stain densities of rgb2hed (about 0 to 0.2) to about unit scale."""

NUCLEAR_HEMATOXYLIN = 0.9
"""Scaled hematoxylin density above which a pixel counts as nucleus; fixed, so that counts compare across tiles."""

MIN_NUCLEUS_PX = 6
"""Smaller spots are noise."""

GRAY_LEVELS = 16
GLCM_DISTANCES_PX = (1, 4)
GLCM_ANGLES_RAD = (0.0, np.pi / 2)
GLCM_STATISTICS = ("contrast", "homogeneity", "energy", "correlation")
LBP_NEIGHBOURS = 8

CODE_DIM = 46
"""12 stain moments, 9 stain quantiles, 6 nuclei, 10 LBP, 8 co-occurrence (4 at 2 distances), 1 edge strength."""


class TextureEncoder:
    """tiles_bhwc uint8 RGB of any size -> (b, 46) float32, each component of about unit scale. See `Encoder`.

    preprocessing: `TilingSettings.as_dict()` of the tiles.
    """

    def __init__(self, preprocessing: Mapping[str, Any] | None = None) -> None:
        self.spec = EncoderSpec("texture", "1", "tiles", CODE_DIM, preprocessing=dict(preprocessing or {}))

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        Tiles().check(batch, self.spec.name)
        codes_bd = np.empty((len(batch), CODE_DIM), np.float32)
        for row, tile_hwc in enumerate(batch):
            codes_bd[row] = _describe(tile_hwc)
        return codes_bd


def _describe(tile_hwc: np.ndarray) -> np.ndarray:
    """(46,) float64 code of one tile (h, w, 3) uint8."""
    hed_chw = np.ascontiguousarray(np.moveaxis(rgb2hed(tile_hwc), -1, 0)) * STAIN_SCALE
    gray_hw = tile_hwc @ np.array([0.2125, 0.7154, 0.0721])
    return np.concatenate(
        [
            _moments(np.concatenate([hed_chw, gray_hw[None] / 255])),
            np.quantile(_thinned(hed_chw).reshape(3, -1), (0.1, 0.5, 0.9), axis=1).ravel(),
            _nuclei(hed_chw[0]),
            _binary_patterns(gray_hw),
            _cooccurrence(gray_hw),
            [10 * sobel(gray_hw / 255).mean()],
        ]
    )


def _thinned(values_xhw: np.ndarray) -> np.ndarray:
    """Every second pixel of every second row: four times faster where that loses nothing."""
    return values_xhw[..., ::2, ::2]


def _moments(values_chw: np.ndarray) -> np.ndarray:
    """(12,) mean, standard deviation and skewness of hematoxylin, eosin, residual and gray."""
    values_cn = values_chw.reshape(len(values_chw), -1)
    mean_c = values_cn.mean(axis=1)
    centred_cn = values_cn - mean_c[:, None]
    squared_cn = centred_cn * centred_cn  # ** 3 would take 5 ms.
    sd_c = np.sqrt(squared_cn.mean(axis=1))
    skewness_c = (squared_cn * centred_cn).mean(axis=1) / np.maximum(sd_c, 1e-3) ** 3
    return np.concatenate([mean_c, sd_c, skewness_c])


def _nuclei(hematoxylin_hw: np.ndarray) -> np.ndarray:
    """(6,) area fraction, count per 1,000 px, log area (mean, sd), eccentricity (mean), hematoxylin within."""
    mask_hw = hematoxylin_hw > NUCLEAR_HEMATOXYLIN
    labels_hw = np.asarray(label(mask_hw, connectivity=1))
    y_p, x_p = np.nonzero(mask_hw)
    region_p = labels_hw[mask_hw] - 1
    # Second moments of all regions at once: skimage's regionprops takes 25 ms a tile, this 1 ms.
    area = np.bincount(region_p)
    keep = area >= MIN_NUCLEUS_PX
    if not keep.any():
        return np.zeros(6)
    log_area = np.log(area[keep])
    sums = {"r": y_p, "c": x_p, "rr": y_p * y_p, "cc": x_p * x_p, "rc": y_p * x_p}
    mean = {name: np.bincount(region_p, values)[keep] / area[keep] for name, values in sums.items()}
    rr, cc, rc = (mean[a + b] - mean[a] * mean[b] for a, b in ("rr", "cc", "rc"))
    spread = np.sqrt((rr - cc) ** 2 + 4 * rc**2)
    eccentricity = np.sqrt(2 * spread / np.maximum(rr + cc + spread, 1e-6))
    return np.array(
        [
            mask_hw.mean() * 4,
            1000 * keep.sum() / mask_hw.size,
            log_area.mean(),
            log_area.std(),
            eccentricity.mean(),
            hematoxylin_hw[mask_hw].mean(),
        ]
    )


def _binary_patterns(gray_hw: np.ndarray) -> np.ndarray:
    """(10,) share of each uniform local binary pattern at radius 2 px, times 4."""
    patterns = local_binary_pattern(_thinned(gray_hw).astype(np.uint8), LBP_NEIGHBOURS, 1, method="uniform")
    return 4 * np.bincount(patterns.ravel().astype(np.int64), minlength=LBP_NEIGHBOURS + 2) / patterns.size


def _cooccurrence(gray_hw: np.ndarray) -> np.ndarray:
    """(8,) gray-level co-occurrence statistics at each distance, averaged over the angles."""
    levels_hw = (gray_hw * (GRAY_LEVELS / 256)).astype(np.uint8)
    glcm = graycomatrix(levels_hw, GLCM_DISTANCES_PX, GLCM_ANGLES_RAD, GRAY_LEVELS, symmetric=True, normed=True)
    return np.concatenate([graycoprops(glcm, name).mean(axis=1) for name in GLCM_STATISTICS])
