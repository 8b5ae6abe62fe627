"""Slides of more than 8 bits against what numpy and tifffile make of the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import REFUSED, PixelRecipe
from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.kinds.photographs import Photographs
from guidestore.encoders.kinds.tiles import Tiles
from guidestore.encoders.slides.pixels import slide_pixels
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.sources import ImageFile
from tests.commandline import guidestore

WHITE = 4095


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """(600, 700, 3) of 12 bits: tissue on glass, with the whole range and no two rows alike."""
    y, x = np.mgrid[:600, :700]
    noise = np.random.default_rng(0).integers(0, 200, (600, 700, 3))
    picture = np.stack([WHITE - x, WHITE - 2 * y, WHITE - x - y], axis=-1) - noise
    picture[100:300, 100:400] -= 2000
    picture[0, 0] = WHITE
    return picture.clip(0).astype(np.uint16)


def write(path: Path, picture: np.ndarray, levels: int = 1, sub_ifds: bool = False, **options: Any) -> Path:
    shared: dict[str, Any] = {
        "tile": (256, 256),
        "photometric": "rgb" if picture.ndim == 3 else "minisblack",
        "compression": "deflate",
        "resolution": (1e4 / 0.5, 1e4 / 0.5),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
    } | options
    planes = shared.get("planarconfig") == "separate"
    with tifffile.TiffWriter(path, ome=shared["metadata"] is not None) as tiff:
        for level in range(levels):
            extra: dict[str, Any] = {"subfiletype": int(level > 0)}
            if sub_ifds and level == 0:
                extra = {"subifds": levels - 1}
            if level:
                extra["metadata"] = None
            pixels = picture[:: 2**level, :: 2**level]
            tiff.write(np.moveaxis(pixels, -1, 0) if planes else pixels, **(shared | extra))
    return path


def in_8_bits(values: np.ndarray, white: int = WHITE) -> np.ndarray:
    eight = np.floor(values / white * 255 + 0.5).astype(np.uint8)
    return eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": None},
        {"compression": "lzw", "predictor": True},
        {"compression": "jpeg2000"},
        {"planarconfig": "separate"},
        {"byteorder": ">"},
        {"tile": None, "rowsperstrip": 60},
        {"levels": 3},
        {"levels": 3, "sub_ifds": True},
        {"levels": 2, "sub_ifds": True, "metadata": {"axes": "YXS", "SignificantBits": 12}},
    ],
)
def test_every_pixel_is_that_of_12_bits(tmp_path: Path, picture: np.ndarray, options: dict[str, Any]):
    byteorder = options.pop("byteorder", None)
    pixels = picture.astype(picture.dtype.newbyteorder(byteorder)) if byteorder else picture
    path = write(tmp_path / "s.tif", pixels, **options)
    options |= {"byteorder": byteorder} if byteorder else {}
    assert np.array_equal(
        tifffile.imread(path, level=0, series=0).reshape(-1),
        (np.moveaxis(picture, -1, 0) if options.get("planarconfig") else picture).reshape(-1),
    )
    with Slide(path) as slide:
        levels = options.get("levels", 1)
        assert (slide.width_px, slide.height_px, slide.mpp) == (700, 600, pytest.approx(0.5))
        assert slide.level_downsamples == pytest.approx([1, 2, 4][:levels], rel=0.01)
        assert np.array_equal(slide.read(0, 0, 700, 600, 1), in_8_bits(picture))
        assert np.array_equal(slide.read(250, 240, 20, 30, 1), in_8_bits(picture)[240:270, 250:270])
        outside = slide.read(690, 590, 20, 20, 1)
        assert np.array_equal(outside[:10, :10], in_8_bits(picture)[590:, 690:])
        assert (outside[10:] == 255).all()
        assert (outside[:, 10:] == 255).all()
        if levels > 1:
            assert np.array_equal(slide.read(0, 0, 350, 300, 2), in_8_bits(picture[::2, ::2]))
    assert slide_pixels(path, PixelRecipe())[0].bit_depth == 12
    assert slide_pixels(path, PixelRecipe())[0].scaling == "4095"


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_grey_is_told_by_its_largest_value(tmp_path: Path, picture: np.ndarray, bits: int):
    grey = (picture[..., 0].astype(np.uint32) * (2**bits - 1) // WHITE).astype(np.uint16)
    path = write(tmp_path / "s.tif", grey)
    with Slide(path) as slide:
        assert np.array_equal(slide.read(0, 0, 700, 600, 1), in_8_bits(grey, 2**bits - 1))
    inverted = write(tmp_path / "i.tif", (2**bits - 1 - grey).astype(np.uint16), photometric="miniswhite")
    with Slide(inverted) as slide:
        away = slide.read(0, 0, 700, 600, 1).astype(int) - in_8_bits(grey, 2**bits - 1)
        assert np.abs(away).max() <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"bitspersample": 12, "compression": None},
        {"extratags": [(281, 3, 1, 4095, True)]},
        {"extratags": [(341, 3, 1, 4095, True)]},
        {"metadata": {"axes": "YX", "SignificantBits": 12}},
    ],
)
def test_a_declared_depth_counts(tmp_path: Path, options: dict[str, Any]):
    dark = np.random.default_rng(0).integers(0, 900, (300, 300)).astype(np.uint16)
    with Slide(write(tmp_path / "s.tif", dark, **options)) as slide:
        assert np.array_equal(slide.read(0, 0, 300, 300, 1), in_8_bits(dark))
    undeclared = write(tmp_path / "u.tif", dark // 10, metadata={"axes": "YX", "SignificantBits": 16})
    with pytest.raises(InvalidInputError, match=r"holds values from 0 to 89 .* tell no white"):
        Slide(undeclared)
    assert [kind for kind, _ in slide_pixels(undeclared, PixelRecipe())[1]] == [REFUSED]


def test_a_value_beyond_the_depth_is_refused_where_it_is_met(tmp_path: Path, picture: np.ndarray, monkeypatch):
    from guidestore.encoders.slides import deep_tiff

    bright = picture.copy()
    bright[501, 501] = 5000  # in level 0 alone
    path = write(tmp_path / "s.tif", bright, levels=2)
    with pytest.raises(InvalidInputError, match=r"holds values from \d+ to 5000 .* tell no white"):
        Slide(path)
    monkeypatch.setattr(deep_tiff, "LOOKED_AT_PX", 350 * 300)
    with Slide(path) as slide:
        slide.read(0, 0, 200, 200, 1)
        with pytest.raises(InvalidInputError, match="has 12 bits and holds 5000"):
            slide.read(500, 500, 10, 10, 1)


def test_white_around_a_scan_tells_no_depth(tmp_path: Path, picture: np.ndarray):
    padded = picture.copy()
    padded[:, :100] = 65535
    padded[:, 100] = (padded[:, 100] + 65535.0) / 2  # as a reduced level has it
    with pytest.raises(InvalidInputError, match="tell no white"):
        Slide(write(tmp_path / "s.tif", padded))


def test_transparency_is_white(tmp_path: Path, picture: np.ndarray):
    alpha = np.full((600, 700, 1), WHITE, np.uint16)
    alpha[:300] = 0
    path = write(tmp_path / "s.tif", np.concatenate([picture, alpha], axis=2), extrasamples=["unassalpha"])
    with Slide(path) as slide:
        assert (slide.read(0, 0, 700, 300, 1) == 255).all()
        assert np.array_equal(slide.read(0, 300, 700, 300, 1), in_8_bits(picture)[300:])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"extratags": [(274, 3, 1, 6, True)]}, r"stored turned \(TIFF orientation 6\)"),
        ({"resolution": (1, 1), "resolutionunit": "NONE"}, "does not say its um per pixel"),
    ],
)
def test_what_is_refused_of_8_bits_is_refused_of_12(tmp_path: Path, picture: np.ndarray, options, says: str):
    path = write(tmp_path / "s.tif", picture, **options)
    with pytest.raises(InvalidInputError, match=says):
        Slide(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_of_several_channels_is_not_taken_in_silence(tmp_path: Path, dtype: type):
    planes = np.random.default_rng(0).integers(0, 255, (3, 300, 300)).astype(dtype)
    path = tmp_path / "s.ome.tif"
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, planes, ome=True, tile=(256, 256), photometric="minisblack", metadata=metadata)
    with pytest.raises(InvalidInputError, match=r"holds 3 pictures \(channels, focal planes or times\)"):
        Slide(path)


def test_damage_is_a_sentence(tmp_path: Path, picture: np.ndarray):
    path = write(tmp_path / "s.tif", picture, extratags=[(281, 3, 3, (4095, 4095, 4095), True)])
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        offset = page.dataoffsets[-1]
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 400] = bytes(400)
    path.write_bytes(damaged)
    with Slide(path) as slide:
        slide.read(0, 0, 10, 10, 1)
        with pytest.raises(InvalidInputError, match=r"cannot be decoded in tile 8 .*copy it again"):
            slide.read(600, 590, 10, 10, 1)


def test_a_deep_pyramid_or_one_with_a_scale_is_a_slide_and_others_are_photographs(tmp_path: Path, picture: np.ndarray):
    none = {"resolution": (72, 72), "resolutionunit": "INCH"}
    paths = [
        write(tmp_path / "a.tif", picture),
        write(tmp_path / "b.tif", picture, levels=2, **none),
        write(tmp_path / "c.tif", picture, levels=2, sub_ifds=True, **none),
        write(tmp_path / "d.tif", picture, bitspersample=16, compression="jpeg2000"),
        write(tmp_path / "e.tif", picture, **none),
    ]
    files = [ImageFile("m", path, ()) for path in paths]
    assert [Tiles().recognises(file) for file in files] == [True, True, True, True, False]
    assert [Photographs().recognises(file) for file in files] == [False, False, False, False, True]


def test_12_bits_give_the_codes_of_8_through_the_command_line(tmp_path: Path, picture: np.ndarray):
    write(tmp_path / "deep.tif", picture, levels=2)
    write(tmp_path / "eight.tif", in_8_bits(picture), levels=2)
    write(tmp_path / "grey.tif", picture[..., 0], levels=2)
    write(tmp_path / "grey8.tif", in_8_bits(picture[..., 0])[..., 0], levels=2)
    cases = ("deep", "eight", "grey", "grey8")
    rows = [f"{case},histology,{case}.tif" for case in cases]
    (tmp_path / "images.csv").write_text("\n".join(["case_id,modality,path", *rows]))
    place = ("--store", tmp_path / "store")
    guidestore("cohort", "add", "manifest", "c", "--images", tmp_path / "images.csv", *place)
    done = guidestore("encode", "c", "--modality", "histology", "--encoder", "texture", "--tile-px", "64", *place)
    assert done.returncode == 0, done.stderr
    snapshot = EmbeddingStore.open(tmp_path / "store").snapshot()
    (key,) = snapshot.code_sets
    for case, same in (("deep", "eight"), ("grey", "grey8")):
        (deep,), (eight,) = (snapshot.bags(key, name) for name in (case, same))
        assert len(deep.features_nd) > 10
        assert np.array_equal(deep.features_nd, eight.features_nd)
        assert np.array_equal(deep.coords_n2, eight.coords_n2)
    said = {row["case_id"]: (row["bit_depth"], row["scaling"]) for row in snapshot.rows("images").to_pylist()}
    assert said == {"deep": (12, "4095"), "eight": (8, None), "grey": (12, "4095"), "grey8": (8, None)}
