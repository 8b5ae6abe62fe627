from __future__ import annotations

import shutil
import tracemalloc

import numpy as np
import openslide
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.slides import reader
from guidestore.encoders.slides.reader import Slide
from tests.encoders.making import write_tiff

REAL = "slides/CMU-1-Small-Region.svs"


@pytest.fixture
def picture() -> np.ndarray:
    """(512, 768, 3) with a gradient that tells the place: red is x / 3, green is y / 2."""
    y, x = np.mgrid[:512, :768]
    return np.stack([x // 3, y // 2, np.full_like(x, 90)], axis=-1).astype(np.uint8)


def test_the_real_slide_says_its_scale(test_data):
    with Slide(test_data / REAL) as slide:
        assert (slide.width_px, slide.height_px) == (2220, 2967)
        assert slide.mpp == pytest.approx(0.499)
        assert slide.magnification == 20


def test_a_region_of_the_real_slide_equals_openslide(test_data):
    with Slide(test_data / REAL) as slide, openslide.OpenSlide(test_data / REAL) as plain:
        expected = np.asarray(plain.read_region((701, 903), 0, (200, 100)).convert("RGB"))
        assert np.array_equal(slide.read(701, 903, 200, 100, 1.0), expected)


def test_a_given_mpp_overrides_the_file(test_data):
    with Slide(test_data / REAL, mpp=0.25) as slide:
        assert slide.mpp == 0.25


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("downsample", [1.0, 1.7, 2.0, 3.1, 4.0])
def test_resampling_keeps_places(tmp_path, picture, levels, downsample):
    with Slide(write_tiff(tmp_path / "s.tiff", picture, levels=levels)) as slide:
        region = slide.read(120, 96, 60, 40, downsample).astype(float)
    # The centre of output pixel i lies at level-0 place 120 + (i + .5) * downsample - .5.
    x = 120 + (np.arange(60) + 0.5) * downsample - 0.5
    y = 96 + (np.arange(40) + 0.5) * downsample - 0.5
    # Halving by [::2] moved a level's pixels by half of its scale; allow for that besides rounding.
    shift = downsample if levels > 1 else 0
    assert np.abs(region[..., 0].mean(axis=0) - (x - 1) / 3).max() <= (1.5 + shift) / 3 + 0.5
    assert np.abs(region[..., 1].mean(axis=1) - (y - 0.5) / 2).max() <= (1.5 + shift) / 2 + 0.5


def test_outside_the_slide_reads_white(tmp_path, picture):
    with Slide(write_tiff(tmp_path / "s.tiff", picture)) as slide:
        region = slide.read(-50, 500, 100, 100, 1.0)
        assert (region[:, :50] == 255).all()
        assert (region[12:] == 255).all()
        assert np.array_equal(region[:12, 50:], picture[500:512, :50])
        assert (slide.read(5000, 5000, 8, 8, 2.0) == 255).all()


def test_a_slide_without_mpp_is_refused_with_the_remedy(tmp_path, picture):
    path = write_tiff(tmp_path / "s.tiff", picture, mpp=None)
    with pytest.raises(
        InvalidInputError, match=r"s\.tiff does not say its um per pixel; .* --slide-mpp or in .* column mpp"
    ):
        Slide(path)
    with Slide(path, mpp=0.5) as slide:
        assert slide.mpp == 0.5
    with pytest.raises(InvalidInputError, match="between"):
        Slide(path, mpp=float("nan"))


def test_a_screen_resolution_is_no_mpp(tmp_path, picture):
    path = write_tiff(tmp_path / "s.tiff", picture, mpp=25400 / 72)
    with pytest.raises(InvalidInputError, match=r"352\.778 .* by the TIFF tags, which is no microscope.* --slide-mpp"):
        Slide(path)


def read_all(path):
    with Slide(path) as slide:
        for y in range(0, slide.height_px, 256):
            slide.read(0, y, slide.width_px, 256, 1.0)


def test_faulty_files_are_one_sentence(tmp_path, test_data, cohort):
    with pytest.raises(InvalidInputError, match="there is no slide file"):
        Slide(tmp_path / "none.svs")
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(InvalidInputError, match=r"OpenSlide cannot read .*text\.svs"):
        Slide(tmp_path / "text.svs")
    for source in (test_data / REAL, cohort / "Pathology" / "PHANTOM_0001.tiff"):
        for share in (0.1, 0.5, 0.95):
            path = tmp_path / f"cut{source.suffix}"
            shutil.copyfile(source, path)
            with path.open("r+b") as file:
                file.truncate(int(path.stat().st_size * share))
            with pytest.raises(InvalidInputError, match=f"{path.name} .*copy it again") as caught:
                read_all(path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("downsample", [1.0, 2.0, 3.3])
def test_regions_cut_from_one_read_are_those_read_alone(tmp_path, picture, downsample):
    with Slide(write_tiff(tmp_path / "s.tiff", picture, levels=2)) as slide:
        corners = [(64, 96), (10, 20), (700, 480)]
        cut = slide.read_cut(corners, 40, 30, downsample, anchor=(0, 0))
        for corner, region in zip(corners, cut, strict=True):
            assert np.array_equal(region, slide.read(*corner, 40, 30, downsample))


def traced(slide: Slide) -> tuple[np.ndarray, int]:
    """A region of 768 x 512 level pixels, and the most memory that reading it took."""
    tracemalloc.start()
    region_hwc = slide.read(0, 0, 96, 64, 8.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return region_hwc, peak


def test_a_region_of_many_pixels_is_read_in_parts(tmp_path, picture, monkeypatch):
    with Slide(write_tiff(tmp_path / "s.tiff", picture)) as slide:
        whole, whole_bytes = traced(slide)
        monkeypatch.setattr(reader, "MAX_READ_PX", 100)
        parts, part_bytes = traced(slide)
    assert part_bytes < 4 * 100 * 100 * 4 < whole_bytes  # RGBA, RGB and the region
    away = np.abs(parts.astype(int) - whole).max(axis=2)
    assert away.max() <= 2  # The filter stops at the seams,
    within = [i % 12 not in (0, 11) for i in range(96)]  # which lie at every 12th pixel: 96 of the level's.
    assert away[:, within][within[:64]].max() == 0
