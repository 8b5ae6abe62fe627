"""Which um per pixel a slide is read at, and which slides are refused for it, against what tifffile wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import DISAGREE, REFUSED, PixelRecipe
from guidestore.encoders.slides.pixels import slide_pixels
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.tissue import tissue_mask
from tests.encoders.making import write_tiff

PINK = np.full((512, 512, 3), (200, 110, 170), np.uint8)


def write(path: Path, description: str | None = None, mpp: float | None = None, **options) -> Path:
    tags = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path,
        options.pop("pixels", PINK),
        tile=(256, 256),
        photometric="rgb",
        description=description,
        metadata=None,
        **tags,
        **options,
    )
    return path


def ome(size: float, unit: str = "µm", power: float | None = None) -> str:
    objective = ""
    if power:
        objective = f'<Instrument ID="I:0"><Objective ID="O:0" NominalMagnification="{power}"/></Instrument>'
    sizes = " ".join(f'PhysicalSize{axis}="{size}" PhysicalSize{axis}Unit="{unit}"' for axis in "XY")
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'{objective}<Image ID="Image:0"><Pixels ID="P:0" SizeX="512" SizeY="512" {sizes}/></Image></OME>'
    ).replace("µ", "&#181;")


def aperio(mpp: float, power: float) -> str:
    return f"Aperio Image Library v11.2.1\r\n512x512 (256x256) RAW|AppMag = {power}|MPP = {mpp}"


@pytest.mark.parametrize(("size", "unit", "um"), [(0.5, "µm", 0.5), (250, "nm", 0.25), (0.0005, "mm", 0.5)])
def test_the_scale_of_ome_xml_is_used_before_that_of_the_tags(tmp_path: Path, size: float, unit: str, um: float):
    path = write(tmp_path / "s.ome.tif", ome(size, unit), mpp=1.0)
    with Slide(path) as slide:
        assert slide.mpp == pytest.approx(um)
    pixels, notes = slide_pixels(path, PixelRecipe())
    assert (pixels.mpp, pixels.mpp_source) == (pytest.approx(um), "ome-xml")
    assert notes == [(DISAGREE, f"mpp {um:g} of the OME-XML is used, not 1 of the TIFF tags")]
    assert slide_pixels(write(tmp_path / "t.tif", ome(0.5), mpp=0.505), PixelRecipe())[1] == []  # 1 %


def test_what_is_given_goes_before_what_the_file_says(tmp_path: Path):
    path = write(tmp_path / "s.tif", ome(0.5))
    for source, words in (("manifest", "the manifest"), ("option", "--slide-mpp")):
        pixels, ((kind, sentence),) = slide_pixels(path, PixelRecipe(mpp=0.25, mpp_source=source))
        assert (pixels.mpp, pixels.mpp_source, kind) == (0.25, source, DISAGREE)
        assert sentence == f"mpp 0.25 of {words} is used, not 0.5 of the OME-XML"


@pytest.mark.parametrize(
    ("description", "mpp", "says"),
    [
        (
            aperio(0.0499, 20),
            None,
            r"0\.0499 um per pixel by OpenSlide, but an objective of 20x.* about 0\.5",
        ),
        (aperio(0.6, 40), None, "objective of 40x"),
        (ome(0.05, power=20), None, "by the OME-XML, but an objective of 20x"),
        (None, 0.0499, r"by the TIFF tags, which is no microscope"),
        (None, 2.5, r"no microscope"),
    ],
)
def test_a_scale_that_cannot_be_is_refused_unless_somebody_gives_it(tmp_path: Path, description, mpp, says: str):
    path = write(tmp_path / "s.tif", description, mpp)
    with pytest.raises(InvalidInputError, match=rf"{says}.*--slide-mpp"):
        Slide(path)
    assert [kind for kind, _ in slide_pixels(path, PixelRecipe())[1]] == [REFUSED]
    with Slide(path, mpp=0.499) as slide:
        assert slide.mpp == 0.499


@pytest.mark.parametrize(("mpp", "power"), [(0.499, 20), (0.2528, 40), (0.26, 20), (0.99, 20)])
def test_a_scale_within_twice_that_of_the_objective_is_taken(tmp_path: Path, mpp: float, power: float):
    with Slide(write(tmp_path / "s.svs", aperio(mpp, power))) as slide:
        assert (slide.mpp, slide.magnification) == (mpp, power)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_tiff_is_refused(tmp_path: Path, orientation: int):
    path = write(tmp_path / "s.tif", mpp=0.5, extratags=[(274, 3, 1, orientation, True)])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.tags.valueof("Orientation") == orientation
    with pytest.raises(InvalidInputError, match=rf"stored turned \(TIFF orientation {orientation}\).*vips autorot"):
        Slide(path)
    assert slide_pixels(path, PixelRecipe())[0].orientation == str(orientation)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_signed_values_and_fractions_are_never_read_as_bytes(tmp_path: Path, dtype: type):
    path = write(tmp_path / "s.tif", mpp=0.5, pixels=(PINK.astype(np.int16) - 128).astype(dtype))
    with pytest.raises(InvalidInputError, match="has signed values or fractions"):
        Slide(path)


def test_black_with_its_noise_and_white_have_no_tissue():
    rng = np.random.default_rng(0)
    assert not tissue_mask(rng.integers(0, 12, (300, 300, 3)).astype(np.uint8), 8.0).any()
    assert not tissue_mask(rng.integers(244, 256, (300, 300, 3)).astype(np.uint8), 8.0).any()
    assert not tissue_mask(PINK, 8.0).any()  # every pixel the same
    assert tissue_mask(PINK - rng.integers(0, 9, PINK.shape).astype(np.uint8), 8.0).any()


def test_a_dicom_scan_is_named_with_the_way_to_nifti(tmp_path: Path):
    (tmp_path / "scan").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(InvalidInputError, match=r"is DICOM and no whole slide.*dcm2niix"):
        Slide(tmp_path / "scan")


def test_an_entity_bomb_in_ome_xml_says_nothing(tmp_path: Path):
    bomb = '<!DOCTYPE OME [<!ENTITY a "aaaa">]>' + ome(0.25).partition("?>")[2]
    assert slide_pixels(write(tmp_path / "s.tif", bomb, mpp=0.5), PixelRecipe())[0].mpp_source == "tags"


def test_levels_are_judged_by_tags_of_tiled_pages_alone(tmp_path: Path):
    assert slide_pixels(write_tiff(tmp_path / "s.tif", PINK, levels=2), PixelRecipe()) == (
        PixelRecipe(mpp=0.5, mpp_source="tags", orientation="1", bit_depth=8),
        [],
    )


def test_a_negative_scale_says_nothing(tmp_path: Path):
    pixels, notes = slide_pixels(write(tmp_path / "s.svs", aperio(-0.5, 20)), PixelRecipe())
    assert (pixels.mpp, [kind for kind, _ in notes]) == (None, [REFUSED])
    assert slide_pixels(write(tmp_path / "t.svs", aperio(-0.5, 20), mpp=0.5), PixelRecipe())[0].mpp_source == "tags"
