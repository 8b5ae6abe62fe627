from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import EncoderSpec
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.slides.encode import encode_slide, encode_slides
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.stream import SlideJob
from guidestore.encoders.slides.tiling import TilingSettings, lay_tiles
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
    assert bag.tile_size_um == 64.0
    assert bag.features_nd.dtype == np.float16
    with Slide(slide_path) as slide:
        tiles_bhwc = np.stack([slide.read(x, y, 64, 64, 2.0) for x, y in lay_tiles(slide, SETTINGS).coords_n2.tolist()])
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


def test_a_cohort_gives_the_bags_that_its_slides_give_alone(cohort, tmp_path):
    encoder = build_encoder("texture", preprocessing=SETTINGS.as_dict())
    paths = sorted((cohort / "Pathology").iterdir())[:4]
    white = write_tiff(tmp_path / "white.tiff", np.full((512, 512, 3), 255, np.uint8))
    jobs = [SlideJob(path, key=i) for i, path in enumerate([*paths, white, tmp_path / "none.tiff", paths[0]])]
    encoded = list(encode_slides(jobs, encoder, SETTINGS, batch_size=5, readers=3))
    assert [job.key for job, _ in encoded] == list(range(7))
    bags = [bag for _, bag in encoded]
    assert isinstance(bags[5], InvalidInputError)
    assert "none.tiff" in str(bags[5])
    assert len(bags[4]) == 0
    for job, bag in encoded[:4] + encoded[6:]:
        alone = encode_slide(job.path, encoder, SETTINGS)
        assert np.array_equal(bag.features_nd, alone.features_nd)
        assert np.array_equal(bag.coords_n2, alone.coords_n2)


def test_one_slide_that_overflows_does_not_stop_the_others(cohort):
    class Growing:
        spec = EncoderSpec("growing", "1", "tiles", 1, preprocessing=SETTINGS.as_dict())
        value = 1e6

        def encode(self, batch: np.ndarray, /) -> np.ndarray:
            codes_bd = np.full((len(batch), 1), self.value, np.float32)
            self.value = 1.0
            return codes_bd

    jobs = [SlideJob(path) for path in sorted((cohort / "Pathology").iterdir())[:2]]
    first, second = (bag for _, bag in encode_slides(jobs, Growing(), SETTINGS))
    assert isinstance(first, InvalidInputError)
    assert (second.features_nd == 1).all()
