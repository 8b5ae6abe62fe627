from __future__ import annotations

import numpy as np
import openslide
import pytest

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.slides import tiling
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.stream import SlideJob, stream_slides
from guidestore.encoders.slides.tiling import TilingSettings, lay_tiles, read_thumbnail
from guidestore.encoders.slides.tissue import tissue_mask
from tests.encoders.making import write_tiff

REAL = "slides/CMU-1-Small-Region.svs"
PINK = (200, 120, 180)


@pytest.fixture
def half_pink() -> np.ndarray:
    """1024 x 1024 of glass, with tissue in the upper left quarter and a speck of dust on the right."""
    rng = np.random.default_rng(0)
    slide_hwc = rng.integers(240, 246, (1024, 1024, 3)).astype(np.uint8)
    slide_hwc[:512, :512] = rng.integers(-12, 12, (512, 512, 3)) + PINK
    slide_hwc[700:760, 700:760] = PINK
    return slide_hwc


def test_tissue_is_found_and_dust_and_glass_are_not(half_pink):
    mask_hw = tissue_mask(half_pink[::16, ::16], mpp=8.0)
    assert mask_hw[:31, :31].all()
    assert not mask_hw[34:].any()
    assert not mask_hw[:, 34:].any()


def test_a_slide_full_of_tissue_is_all_tissue():
    thumbnail_hwc = np.full((64, 64, 3), PINK, np.uint8)
    thumbnail_hwc[:, 32:] = (120, 40, 130)
    assert tissue_mask(thumbnail_hwc, mpp=8.0).all()


def test_white_slides_have_no_tiles(tmp_path):
    for number, level in enumerate((255, 240)):
        noise = np.random.default_rng(0).integers(-3, 3, (512, 512, 3)) if level < 255 else 0
        slide_hwc = np.full((512, 512, 3), level) + noise
        with Slide(write_tiff(tmp_path / f"{number}.tiff", slide_hwc.astype(np.uint8))) as slide:
            grid = lay_tiles(slide, TilingSettings(tile_size_px=64))
            assert grid.coords_n2.shape == (0, 2)


def test_tiles_lie_on_the_tissue_in_rows(tmp_path, half_pink):
    with Slide(write_tiff(tmp_path / "s.tiff", half_pink)) as slide:
        grid = lay_tiles(slide, TilingSettings(target_mpp=1.0, tile_size_px=64))
    assert grid.tile_size_level0_px == 128
    assert grid.coords_n2.dtype == np.int32
    assert grid.coords_n2.tolist() == [[x, y] for y in range(0, 512, 128) for x in range(0, 512, 128)]


def test_the_last_tile_may_reach_over_the_edge(tmp_path, half_pink):
    # 500 px hold 3.9 tiles of 128: the fourth counts what lies outside as glass, which is little.
    with Slide(write_tiff(tmp_path / "s.tiff", half_pink[:500, :500])) as slide:
        grid = lay_tiles(slide, TilingSettings(target_mpp=1.0, tile_size_px=64))
        tile_hwc = slide.read(*grid.coords_n2[3].tolist(), 64, 64, 2.0)
    assert len(grid.coords_n2) == 16
    assert (tile_hwc[:, -5:] == 255).all()
    assert (tile_hwc[:, :40] < 255).all()


def test_level_and_objective_power_do_not_change_the_tiles(tmp_path, half_pink):
    settings = TilingSettings(target_mpp=2.0, tile_size_px=64)
    grids = []
    for levels in (1, 3):
        with Slide(write_tiff(tmp_path / f"{levels}.tiff", half_pink, levels=levels)) as slide:
            grids.append(lay_tiles(slide, settings).coords_n2)
    assert np.array_equal(*grids)


def test_the_real_slide(test_data):
    settings = TilingSettings(target_mpp=1.0, tile_size_px=128)
    with Slide(test_data / REAL) as slide:
        grid = lay_tiles(slide, settings)
        assert read_thumbnail(slide, 8 / slide.mpp).shape == (185, 138, 3)
    shapes = [batch.tiles_bhwc.shape for batch in stream_slides([SlideJob(test_data / REAL)], settings, batch_size=32)]
    assert grid.tile_size_level0_px == 257  # 128 px * 1.0 / 0.499
    assert (grid.coords_n2 % 257 == 0).all()
    assert len(grid.coords_n2) == 36  # of 9 x 12 places, about a third of the slide is tissue
    assert shapes == [(32, 128, 128, 3), (4, 128, 128, 3)]


def test_a_tile_at_the_slides_own_scale_is_openslides_own_read(test_data):
    settings = TilingSettings(target_mpp=0.499, tile_size_px=256)
    with openslide.OpenSlide(test_data / REAL) as plain:
        for batch in stream_slides([SlideJob(test_data / REAL)], settings):
            for place, tile_hwc in zip(batch.grid.coords_n2[batch.rows_b].tolist(), batch.tiles_bhwc, strict=True):
                own = plain.read_region(tuple(place), 0, (256, 256))
                inside = np.asarray(own)[..., 3] == 255
                assert np.array_equal(tile_hwc[inside], np.asarray(own.convert("RGB"))[inside])


def test_finer_than_scanned_is_refused(tmp_path, half_pink):
    with (
        Slide(write_tiff(tmp_path / "s.tiff", half_pink)) as slide,
        pytest.raises(InvalidInputError, match=r"scanned at 0\.5 um per pixel, coarser than target_mpp 0\.25"),
    ):
        lay_tiles(slide, TilingSettings(target_mpp=0.25))


def test_settings_are_json_and_checked():
    settings = TilingSettings(1.0, 128)
    canonical_json(settings.as_dict())
    assert TilingSettings(**settings.as_dict()) == settings
    for wrong in ({"target_mpp": 0}, {"tile_size_px": 4}, {"min_tissue_fraction": 2}, {"mask_mpp": 0.1}):
        with pytest.raises(InvalidInputError):
            TilingSettings(**wrong)


def test_a_large_slide_without_a_pyramid_is_refused(tmp_path, half_pink, monkeypatch):
    monkeypatch.setattr(tiling, "MAX_SINGLE_LEVEL_PX", 2**19)
    path = write_tiff(tmp_path / "flat.tiff", half_pink)
    with Slide(path) as slide, pytest.raises(InvalidInputError, match=r"flat\.tiff .* no pyramid.* vips tiffsave"):
        lay_tiles(slide, TilingSettings())
    with Slide(write_tiff(tmp_path / "s.tiff", half_pink, levels=2)) as slide:
        assert len(lay_tiles(slide, TilingSettings()).coords_n2) == 4


def test_tissue_of_a_grey_slide_is_what_is_darker_than_glass():
    grey = np.full((200, 200), 240.0) + np.random.default_rng(0).normal(0, 3, (200, 200))
    grey[60:140, 40:120] -= 110
    mask = tissue_mask(np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), 8.0)
    assert mask[64:136, 44:116].all()
    assert not mask[:50].any()
    assert not mask[:, 130:].any()
    assert not tissue_mask(np.repeat(grey[:40].astype(np.uint8)[..., None], 3, axis=2), 8.0).any()
