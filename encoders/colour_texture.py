"""A case encoder of photographs without weights: colour, texture and shape statistics, by scikit-image.

It needs no download and no GPU, so that every flow runs anywhere, and is a baseline that learned features must beat.
Sources: colour histograms compared by square roots, Arandjelović & Zisserman 2012; local binary patterns, Ojala 2002;
histograms of oriented gradients, Dalal & Triggs 2005.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from skimage.color import rgb2lab
from skimage.feature import hog

from guidestore.embeddings.types import EncoderSpec
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.kinds.photographs import Photographs
from guidestore.encoders.photographs import DEFAULT_SETTINGS

INFO = EncoderInfo(
    name="colour_texture",
    encoder_class="guidestore.encoders.colour_texture:ColourTextureEncoder",
    takes=("photographs",),
    code_dim="317",
    weights="none",
    photograph_px=256,
)

COLOUR_PX = 96
"""Edge at which colours are counted: the way to Lab is slow, and counts need no detail."""

LAB_RANGES = ((0.0, 100.0), (-10.0, 50.0), (-25.0, 45.0))
"""L, a, b between which skin and lesions lie; what is beyond counts in the last bin."""

LAB_BINS = (12, 10, 10)
HSV_BINS = (12, 8, 8)
CENTRE_SHARE = 0.5
"""Edge of the central square, where the lesion is, as a share of the picture's."""

LBP_EDGES_PX = (256, 128, 64)
"""The picture's edge at each scale of the local binary patterns."""

_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
"""The eight neighbours about (1, 1), in turn."""

HOG_EDGE_PX = 64
HOG_CELL_PX = 16
HOG_ORIENTATIONS = 8

_COLOURS = sum(LAB_BINS) + sum(HSV_BINS)
_PATTERNS = len(_RING) + 2
_HOG = (HOG_EDGE_PX // HOG_CELL_PX) ** 2 * HOG_ORIENTATIONS
CODE_DIM = 2 * _COLOURS + 9 + 2 * _PATTERNS * len(LBP_EDGES_PX) + _HOG
"""317: 60 colours in the whole and 60 in the centre, 9 contrasts of the centre, 60 patterns, 128 gradients."""


class ColourTextureEncoder:
    """photographs_bhwc uint8 RGB of any size -> (b, 317) float32, each component of about unit scale. See `Encoder`.

    preprocessing: `PhotographSettings.as_dict()` of the photographs; the default is that of `load_photograph`.
    """

    def __init__(self, preprocessing: Mapping[str, Any] | None = None) -> None:
        settings = dict(DEFAULT_SETTINGS.as_dict() if preprocessing is None else preprocessing)
        self.spec = EncoderSpec("colour_texture", "1", "photographs", CODE_DIM, preprocessing=settings)

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        Photographs().check(batch, self.spec.name)
        codes_bd = np.empty((len(batch), CODE_DIM), np.float32)
        for row, photograph_hwc in enumerate(batch):
            codes_bd[row] = _describe(Image.fromarray(photograph_hwc))
        return codes_bd


def _describe(picture: Image.Image) -> np.ndarray:
    """(317,) float64 code of one RGB picture."""
    small = _scaled(picture, COLOUR_PX)
    lab_hwc = rgb2lab(np.asarray(small))
    hsv_hwc = np.asarray(small.convert("HSV"))
    gray = picture.convert("L")
    return np.concatenate(
        [
            _colours(lab_hwc, hsv_hwc),
            _colours(_centre(lab_hwc), _centre(hsv_hwc)),
            _contrasts(lab_hwc),
            *[_binary_patterns(np.asarray(_scaled(gray, edge_px))) for edge_px in LBP_EDGES_PX],
            _gradients(np.asarray(_scaled(gray, HOG_EDGE_PX))),
        ]
    )


def _scaled(picture: Image.Image, edge_px: int) -> Image.Image:
    if picture.size == (edge_px, edge_px):
        return picture
    return picture.resize((edge_px, edge_px), Image.Resampling.BOX)


def _centre(values_hwx: np.ndarray) -> np.ndarray:
    margin = round(len(values_hwx) * (1 - CENTRE_SHARE) / 2)
    return values_hwx[margin:-margin, margin:-margin]


def _colours(lab_hwc: np.ndarray, hsv_hwc: np.ndarray) -> np.ndarray:
    """(60,) twice the square roots of the shares of L, a, b, hue, saturation and value.

    Hue counts by saturation: that of grey is noise.
    """
    saturation_n = hsv_hwc[..., 1].ravel() / 255 + 1e-6
    parts = [
        _shares((lab_hwc[..., channel] - low) / (high - low), bins)
        for channel, ((low, high), bins) in enumerate(zip(LAB_RANGES, LAB_BINS, strict=True))
    ]
    parts += [
        _shares(hsv_hwc[..., channel] / 256, bins, saturation_n if channel == 0 else None)
        for channel, bins in enumerate(HSV_BINS)
    ]
    return 2 * np.sqrt(np.concatenate(parts))


def _shares(unit_hw: np.ndarray, bins: int, weights_n: np.ndarray | None = None) -> np.ndarray:
    """(bins,) shares of values 0 to 1, which sum to 1."""
    index_n = np.clip(unit_hw * bins, 0, bins - 1).astype(np.intp).ravel()
    counts = np.bincount(index_n, weights_n, bins)
    return counts / counts.sum()


def _contrasts(lab_hwc: np.ndarray) -> np.ndarray:
    """(9,) of L, a, b in tens: centre minus rim, standard deviation in the centre, difference of left and right."""
    centre_nc = _centre(lab_hwc).reshape(-1, 3)
    margin = len(lab_hwc) // 8
    rim_nc = np.concatenate([lab_hwc[:margin].reshape(-1, 3), lab_hwc[-margin:].reshape(-1, 3)])
    mirrored = np.abs(lab_hwc - lab_hwc[:, ::-1]).mean(axis=(0, 1))
    return np.concatenate([centre_nc.mean(axis=0) - rim_nc.mean(axis=0), centre_nc.std(axis=0), mirrored]) / 10


def _uniform_patterns() -> np.ndarray:
    """(256,) uint8: of each pattern the number of ones where they lie together on the ring, else 9."""
    bits_pn = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes_p = (bits_pn != np.roll(bits_pn, 1, axis=1)).sum(axis=1)
    return np.where(changes_p <= 2, bits_pn.sum(axis=1), 9).astype(np.uint8)


_UNIFORM = _uniform_patterns()


def _binary_patterns(gray_hw: np.ndarray) -> np.ndarray:
    """(20,) twice the square roots of the shares of each uniform pattern, in the whole and in the centre.

    As scikit-image's ``uniform``, which takes far longer, but for its interpolated corners.
    """
    h, w = (size - 2 for size in gray_hw.shape)
    middle_hw = gray_hw[1:-1, 1:-1]
    bits_hw = np.zeros((h, w), np.uint8)
    for bit, (row, column) in enumerate(_RING):
        bits_hw |= (gray_hw[row : row + h, column : column + w] >= middle_hw).view(np.uint8) << bit
    patterns_hw = _UNIFORM[bits_hw]
    parts = (patterns_hw, _centre(patterns_hw))
    return 2 * np.sqrt(np.concatenate([np.bincount(part.ravel(), minlength=_PATTERNS) / part.size for part in parts]))


def _gradients(gray_hw: np.ndarray) -> np.ndarray:
    """(128,) three times the gradients by orientation in each of 4 x 4 cells."""
    return 3 * hog(gray_hw, HOG_ORIENTATIONS, (HOG_CELL_PX, HOG_CELL_PX), (1, 1), feature_vector=True)
