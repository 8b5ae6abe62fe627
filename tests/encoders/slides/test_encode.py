from __future__ import annotations

import numpy as np
import pytest

from embeddings.errors import InvalidInputError
from embeddings.types import EncoderSpec
from encoders.registry import build_encoder
from encoders.slides.encode import encode_slide
from encoders.slides.reader import Slide
from encoders.slides.tiling import TilingSettings, lay_tiles, read_tiles
from tests.encoders.making import write_tiff

SETTINGS = TilingSettings(target_mpp=1.0, tile_size_px=64)


@pytest.fixture
def slide_path(cohort):
    return cohort / "Pathology" / "PHANTOM_0002.tiff"


def test_a_bag_holds_the_codes_of_its_tiles(slide_path):
    encoder = build_encoder("texture", preprocessing=SETTINGS.as_dict())
    bag = encode_slide(slide_path, encoder, SETTINGS)
    assert len(bag) > 4
    assert (bag.mpp, bag.tile_size_px, bag.tile_size_level0_px, bag.magnification) == (0.5, 64, 128, None)
    assert bag.features_nd.dtype == np.float16
    with Slide(slide_path) as slide:
        tiles_bhwc = np.concatenate(list(read_tiles(slide, lay_tiles(slide, SETTINGS), 3)))
    assert np.array_equal(bag.features_nd, encoder.encode(tiles_bhwc).astype(np.float16))
    again = encode_slide(slide_path, encoder, SETTINGS, dtype="float32")
    assert np.array_equal(again.features_nd.astype(np.float16), bag.features_nd)
    assert np.array_equal(again.coords_n2, bag.coords_n2)


def test_a_given_mpp_sets_the_scale(slide_path):
    encoder = build_encoder("texture", preprocessing=SETTINGS.as_dict())
    bag = encode_slide(slide_path, encoder, SETTINGS, mpp=1.0)
    assert (bag.mpp, bag.tile_size_level0_px) == (1.0, 64)


def test_a_white_slide_gives_an_empty_bag(tmp_path):
    path = write_tiff(tmp_path / "white.tiff", np.full((512, 512, 3), 255, np.uint8))
    bag = encode_slide(path, build_encoder("texture", preprocessing=SETTINGS.as_dict()), SETTINGS)
    assert bag.features_nd.shape == (0, 46)


def test_an_encoder_built_for_another_tiling_is_refused(slide_path):
    with pytest.raises(InvalidInputError, match=r"preprocessing=tiling_settings\.as_dict"):
        encode_slide(slide_path, build_encoder("texture"), SETTINGS)
    with pytest.raises(InvalidInputError, match="takes volumes, not tiles"):
        encode_slide(slide_path, build_encoder("first_order"), SETTINGS)


def test_an_overflow_of_float16_is_refused_with_the_slides_name(slide_path):
    class Huge:
        spec = EncoderSpec("huge", "1", "tiles", 3, preprocessing=SETTINGS.as_dict())

        def encode(self, batch: np.ndarray, /) -> np.ndarray:
            return np.full((len(batch), 3), 1e6, np.float32)

    with pytest.raises(InvalidInputError, match=r"PHANTOM_0002\.tiff, encoder huge: .* float16 overflow"):
        encode_slide(slide_path, Huge(), SETTINGS)
    assert encode_slide(slide_path, Huge(), SETTINGS, dtype="float32").features_nd.max() == 1e6
