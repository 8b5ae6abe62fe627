"""Pixels read straight from a TIFF's tiles are OpenSlide's, and what is not is left to OpenSlide."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.slides import direct
from guidestore.encoders.slides.direct import DecodedTiles, DirectReader
from guidestore.encoders.slides.reader import Slide

pytest.importorskip("simplejpeg")
REAL = "slides/CMU-1-Small-Region.svs"


def jpeg_pyramid(path: Path, subsampling: tuple[int, int] = (2, 2), colour: str = "ycbcr") -> Path:
    """Two levels of 700 x 530 and 350 x 265 pixels, tiles of 128 px, no JPEG tables of their own."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (67, 88, 3), np.uint8)
    picture = small.repeat(8, axis=0).repeat(8, axis=1)[:530, :700]
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate((picture, picture[::2, ::2])):
            tiff.write(
                np.ascontiguousarray(level),
                tile=(128, 128),
                photometric=colour,
                subsampling=subsampling if colour == "ycbcr" else None,
                compression="jpeg",
                compressionargs={"level": 85},
                subfiletype=int(number > 0),
                metadata=None,
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
            )
    return path


def both(path: Path, level: int, x: int, y: int, size: tuple[int, int]) -> tuple[np.ndarray | None, np.ndarray]:
    """(read directly, OpenSlide's on white)."""
    with openslide.OpenSlide(path) as slide:
        reader = DirectReader(path, slide, DecodedTiles())
        read = reader.read(level, x, y, *size)
        reader.close()
        scale = round(slide.level_downsamples[level])
        rgba_hwc = np.asarray(slide.read_region((x * scale, y * scale), level, size)).astype(int)
    outside = rgba_hwc[..., 3:] == 0
    assert (outside | (rgba_hwc[..., 3:] == 255)).all()
    return read, np.where(outside, 255, rgba_hwc[..., :3])


REGIONS = [(0, 0, (64, 64)), (111, 93, (700, 500)), (-30, -20, (200, 100)), (610, 400, (300, 300)), (3000, 0, (9, 9))]


@pytest.mark.parametrize(("x", "y", "size"), [*REGIONS, (1900, 2700, (512, 512)), (0, 0, (2220, 2967))])
def test_a_real_slide_gives_openslides_pixels(test_data, x, y, size):
    read, wanted = both(test_data / REAL, 0, x, y, size)
    assert read is not None
    assert np.array_equal(read, wanted)


@pytest.mark.parametrize(
    ("colour", "subsampling"), [("ycbcr", (2, 2)), ("ycbcr", (2, 1)), ("ycbcr", (1, 1)), ("rgb", (1, 1))]
)
def test_every_colour_of_jpeg_gives_openslides_pixels(tmp_path, colour, subsampling):
    path = jpeg_pyramid(tmp_path / "s.tiff", subsampling, colour)
    for level in (0, 1):
        for x, y, size in REGIONS:
            read, wanted = both(path, level, x, y, size)
            assert read is not None
            assert np.array_equal(read, wanted)


def test_what_differs_from_openslide_is_not_read(test_data, monkeypatch):
    monkeypatch.setattr(direct, "_RGB", 99)  # its colours would be taken for YCbCr
    monkeypatch.setattr(direct, "_YCBCR", 2)
    read, _ = both(test_data / REAL, 0, 0, 0, (64, 64))
    assert read is None


def test_without_the_decoder_openslide_reads(test_data, monkeypatch):
    with Slide(test_data / REAL) as slide:
        fast = slide.read(300, 400, 256, 256, 1.7)
    monkeypatch.setattr(direct, "_decode_jpeg", lambda: None)
    with Slide(test_data / REAL) as slide:
        assert not slide._levels._direct._levels
        assert np.array_equal(slide.read(300, 400, 256, 256, 1.7), fast)


def test_a_damaged_tile_is_refused_as_openslide_refuses_it(tmp_path, test_data):
    """Other decoders paint it grey and say nothing."""
    with tifffile.TiffFile(test_data / REAL) as tiff:
        page = tiff.pages[0]
        offsets, lengths = page.dataoffsets, page.databytecounts  # pyright: ignore[reportAttributeAccessIssue]
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(21, 45, 3):
        path = tmp_path / "damaged.svs"
        shutil.copyfile(test_data / REAL, path)
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(offsets[number] + int(rng.integers(100, lengths[number] - 60)))
            file.write(rng.bytes(40))
        y, x = divmod(number, 10)
        with openslide.OpenSlide(path) as slide:
            try:
                slide.read_region((240 * x, 240 * y), 0, (240, 240))
                is_fine = True
            except openslide.OpenSlideError:
                is_fine = False
        with Slide(path) as slide:
            if is_fine:
                slide.read(240 * x, 240 * y, 240, 240, 1.0)
            else:
                refused += 1
                with pytest.raises(InvalidInputError, match="copy it again"):
                    slide.read(240 * x, 240 * y, 240, 240, 1.0)
    assert refused > 3


def test_a_slide_with_a_missing_tile_is_openslides(tmp_path, test_data):
    path = tmp_path / "holes.svs"
    shutil.copyfile(test_data / REAL, path)
    path.chmod(0o644)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]  # pyright: ignore[reportAttributeAccessIssue]
        counts.overwrite((0, *counts.value[1:]))
    read, _ = both(path, 0, 500, 500, (64, 64))
    assert read is None


def test_tiles_are_kept_up_to_a_bound_and_forgotten_with_their_slide():
    tiles, owner, other = DecodedTiles(most_bytes=3000), object(), object()
    for number in range(5):
        tiles.put(owner, number, np.zeros((10, 30, 3), np.uint8))
    tiles.put(other, 0, np.zeros((10, 30, 3), np.uint8))
    assert [tiles.get(owner, number) is not None for number in range(5)] == [False, False, False, True, True]
    tiles.forget(owner)
    assert tiles.get(owner, 4) is None
    assert tiles.get(other, 0) is not None
