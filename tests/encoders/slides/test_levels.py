"""Slides of which OpenSlide would take one picture, channel or level of several, or another than is meant."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import REFUSED, PixelRecipe
from guidestore.encoders.slides.pixels import slide_pixels
from guidestore.encoders.slides.reader import Slide

_, X = np.mgrid[:300, :400]
PICTURE = np.stack([255 - X // 2, X // 2, X % 256], axis=-1).astype(np.uint8)
GREY = PICTURE[..., 0]
DEEP = PICTURE.astype(np.uint16) * 257
LEVEL = {"subfiletype": 1}
FLUORESCENCE = {"photometric": "minisblack"}


def write(path: Path, *pages: tuple[np.ndarray, dict[str, Any]]) -> Path:
    shared: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "metadata": None, "compression": "deflate"}
    shared |= {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        for pixels, options in pages:
            tiff.write(pixels, **(shared | options))
    return path


def assert_refused(path: Path, says: str):
    with pytest.raises(InvalidInputError, match=says):
        Slide(path)
    pixels, notes = slide_pixels(path, PixelRecipe())
    assert pixels.mpp == 0.5
    ((kind, sentence),) = notes  # `cohort add` says so too
    assert kind == REFUSED
    assert "it " in sentence


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ([(PICTURE, {}), (PICTURE[::-1], {})], "holds 2 pictures"),
        ([(PICTURE, {}), (PICTURE[::-1], LEVEL)], "holds 2 pictures"),
        ([(GREY, FLUORESCENCE), (255 - GREY, FLUORESCENCE), (GREY // 2, FLUORESCENCE)], "holds 3 pictures"),
        ([(DEEP, {}), (DEEP[::-1], {})], "holds 2 pictures"),
        ([(DEEP[..., 0], FLUORESCENCE | {"tile": None})] * 2, "holds 2 pictures"),
        ([(PICTURE[::4, ::4], {}), (PICTURE, {})], "begins with a picture that is not its largest"),
        (
            [(PICTURE, {}), (PICTURE[:200, :150], LEVEL)],
            "has a level of 150 x 200 pixels, which is no reduced 400 x 300",
        ),
        ([(np.dstack([PICTURE, GREY]), {"extrasamples": [0]})], "has 1 channel besides its colours"),
        ([(np.dstack([PICTURE, GREY, GREY]), {"extrasamples": [0, 0]})], "has 2 channels besides its colours"),
        ([(np.dstack([GREY, 255 - GREY]), FLUORESCENCE | {"extrasamples": [0]})], "has 1 channel besides"),
        (
            [(np.stack([GREY] * 4), FLUORESCENCE | {"planarconfig": "separate", "extrasamples": [0] * 3})],
            "has 3 channels besides its colours",
        ),
    ],
)
def test_one_of_several_is_not_taken_in_silence(tmp_path: Path, pages: list[tuple[np.ndarray, dict]], says: str):
    assert_refused(write(tmp_path / "s.tif", *pages), says)


@pytest.mark.parametrize(
    "others",
    [
        [(PICTURE[::2, ::2], LEVEL), (PICTURE[::4, ::4], LEVEL)],
        [(PICTURE[::2, ::2], {})],  # a pyramid whose writer left the mark out
        [(PICTURE[:200, :150], {})],  # a label beside it
        [(PICTURE[:200, :150], LEVEL | {"tile": None})],
        [(GREY > 99, {"subfiletype": 4, "photometric": "mask"})],
        [(np.pad(PICTURE[::2, ::2], ((0, 2), (0, 4), (0, 0))), LEVEL)],  # filled up to whole tiles
    ],
)
def test_what_lies_beside_a_slide_does_not_stop_it(tmp_path: Path, others: list[tuple[np.ndarray, dict]]):
    with Slide(write(tmp_path / "s.tif", (PICTURE, {}), *others)) as slide:
        assert np.array_equal(slide.read(0, 0, 400, 300, 1), PICTURE)


def test_the_pictures_of_an_imagej_stack_are_counted(tmp_path: Path):
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, np.stack([DEEP[..., 0]] * 3), imagej=True, resolution=(2, 2), metadata={"unit": "micron"})
    with pytest.raises(InvalidInputError, match="holds 3 pictures"):
        Slide(path, mpp=0.5)


def test_orientation_0_is_none(tmp_path: Path):
    with Slide(write(tmp_path / "s.tif", (PICTURE, {"extratags": [(274, 3, 1, 0, True)]}))) as slide:
        assert np.array_equal(slide.read(0, 0, 400, 300, 1), PICTURE)


def test_a_page_that_leads_back_to_an_earlier_one_ends(tmp_path: Path):
    path = write(tmp_path / "s.tif", (PICTURE, {}), (PICTURE[::2, ::2], LEVEL))
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        first, second = (page.offset for page in tiff.pages)
    (tags,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * tags, first)
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match="OpenSlide cannot read slide"):
        slide_pixels(path, PixelRecipe())


@pytest.mark.parametrize(
    ("tag", "place", "value", "says"),
    [
        ("ImageWidth", 0, 4000, "says where 12 tiles lie, and needs 96"),
        ("TileOffsets", 5, 0, "has 1 tile that would lie in the file's header"),
    ],
)
def test_tiles_that_cannot_be_where_the_tags_say_are_refused(tmp_path: Path, tag: str, place: int, value: int, says):
    path = write(tmp_path / "s.tif", (PICTURE, {"compression": None}))
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages.first.tags[tag]
    data = bytearray(path.read_bytes())
    layout = {3: "<H", 4: "<I"}[int(found.dtype)]
    struct.pack_into(layout, data, found.valueoffset + place * struct.calcsize(layout), value)
    path.write_bytes(data)
    assert_refused(path, says)
