from __future__ import annotations

import time

import numpy as np
from skimage.draw import disk

from guidestore.encoders.registry import build_encoder
from tests.encoders.making import tiles


def _tissue(nuclei: int) -> np.ndarray:
    """A tile of 128 x 128 px with `nuclei` round nuclei of radius 5 on a grid."""
    tile_hwc = np.full((128, 128, 3), (225, 160, 200), np.uint8)
    for number in range(nuclei):
        tile_hwc[disk((10 + 18 * (number // 6), 10 + 18 * (number % 6)), 5)] = (70, 40, 120)
    return tile_hwc


def test_more_nuclei_are_counted_as_more():
    codes_bd = build_encoder("texture").encode(np.stack([_tissue(count) for count in (0, 6, 24)]))
    count_per_1000_px = codes_bd[:, 22]
    assert np.allclose(count_per_1000_px, [0, 6 / 16.384, 24 / 16.384], atol=1e-3)
    assert np.allclose(codes_bd[1:, 25], 0, atol=0.05)  # Discs are round.


def test_uniform_tiles_are_finite_in_float16():
    batch = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (0, 128, 255)])
    batch = np.concatenate([batch, tiles(1, size_px=32)])
    batch[2, 0, 0] = 0
    assert np.isfinite(build_encoder("texture").encode(batch).astype(np.float16)).all()


def test_it_is_fast_enough_for_a_slide_of_thousands_of_tiles():
    encoder, batch = build_encoder("texture"), tiles(24, size_px=128)
    encoder.encode(batch[:2])
    start = time.process_time()
    encoder.encode(batch)
    assert (time.process_time() - start) / 24 < 0.02  # 4 ms alone on a core; noise has many "nuclei"
