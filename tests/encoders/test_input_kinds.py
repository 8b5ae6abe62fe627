"""Each kind of input: it knows its files, refuses other batches, and describes what a network is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.input_kind import INPUT_KINDS, NewImages, input_kind, kind_of
from guidestore.encoders.photographs import PhotographSettings
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.slides.tiling import TilingSettings
from guidestore.encoders.sources import CaseImage, ImageFile
from guidestore.encoders.volumes import VolumeSettings
from tests.encoders.making import write_nifti, write_tiff

PREPROCESSING = {
    "tiles": TilingSettings(tile_size_px=32).as_dict(),
    "volumes": VolumeSettings(("t1", "t2"), (4, 5, 6)).as_dict(),
    "photographs": PhotographSettings(64).as_dict(),
    "bags": {"patch_encoder": "texture", "patch_encoder_digest": "0" * 64},
}
WIDTHS = {"tiles": 3, "volumes": 2, "photographs": 3, "bags": 7}


@pytest.mark.parametrize("name", INPUT_KINDS.names())
def test_an_example_is_a_batch_of_its_kind_and_of_no_other(name: str):
    kind, config = input_kind(name), {"patch_code_dim": 7}
    assert kind.name == name
    pixels = kind.example(PREPROCESSING[name], config, np.random.default_rng(0))
    assert kind.graph_input(PREPROCESSING[name], config).startswith(str(pixels.dtype))
    assert all(str(size) in kind.graph_input(PREPROCESSING[name], config) for size in pixels.shape[1:])
    batch = kind.batch_of(pixels)
    kind.check(batch, "mine", WIDTHS[name])
    (array,) = kind.pixels_of(batch)
    assert np.array_equal(array, pixels)
    with pytest.raises(InvalidInputError, match="encoder mine takes"):
        kind.check(batch, "mine", WIDTHS[name] + 1)
    with pytest.raises(InvalidInputError, match="encoder mine takes"):
        kind.check([np.zeros((1, 1, 1, 9), np.int8)], "mine", WIDTHS[name])


PICTURES = ("tiles", "photographs")


def images_of(*files: Path | str) -> list[CaseImage]:
    return [CaseImage(str(name), "i", (ImageFile("m", Path(name), ()),)) for name in files]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (("a.JPG", "b.png", "c.jfif", "d.JPE"), "photographs"),
        (("a.nii.gz", "b.nii"), "volumes"),
        (("a.svs",), "tiles"),
        (("a.jpg", "b.svs", "c.svs"), "tiles"),
        (("a.jpg", "b.jpg", "c.svs"), "photographs"),
        (("gone.tif", "what"), "tiles"),
        (("what",), "tiles"),
    ],
)
def test_names_tell_the_kind_of_files_that_are_not_there(files: tuple[str, ...], kind: str):
    assert kind_of(images_of(*files), PICTURES).name == kind


def test_an_encoder_of_one_kind_is_given_all_files_if_one_is_of_it():
    assert kind_of(images_of("a.jpg", "b.jpg", "c.nii"), ("volumes",)).name == "volumes"
    assert kind_of(images_of("a.jpg", "b.jpg"), ("volumes",)).name == "photographs"
    assert kind_of(images_of("what"), ("volumes",)).name == "volumes"


def test_the_content_decides_and_not_the_name(tmp_path: Path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (512, 512, 3), np.uint8)
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "JPEG2000", "TIFF"):
        Image.fromarray(picture).save(tmp_path / form, form)
        Image.fromarray(picture).save(tmp_path / f"{form}.nii.gz", form)
    tifffile.imwrite(tmp_path / "tiled", picture, tile=(256, 256))
    tifffile.imwrite(tmp_path / "printed", picture, tile=(256, 256), resolution=(300, 300), resolutionunit="INCH")
    photographs = sorted(tmp_path.iterdir())
    write_tiff(tmp_path / "scaled.jpg", picture, mpp=0.5)
    write_tiff(tmp_path / "pyramid.jpg", picture, mpp=None, levels=2)
    write_nifti(tmp_path / "v.nii.gz", np.ones((4, 4, 4), np.int16), np.eye(4)).rename(tmp_path / "volume.jpg.gz")
    nib.Nifti2Image(np.ones((4, 4, 4), np.int16), np.eye(4)).to_filename(tmp_path / "two.nii")
    (tmp_path / "two.nii").rename(tmp_path / "two.tif")
    mgh: Any = nib.MGHImage
    mgh(np.ones((4, 4, 4), np.float32), np.eye(4)).to_filename(tmp_path / "a.mgz")
    kinds = {path.name: kind_of(images_of(path), PICTURES).name for path in sorted(tmp_path.iterdir())}
    assert kinds == {
        **dict.fromkeys((path.name for path in photographs), "photographs"),
        **dict.fromkeys(("scaled.jpg", "pyramid.jpg"), "tiles"),
        **dict.fromkeys(("volume.jpg.gz", "two.tif", "a.mgz"), "volumes"),
    }


def test_an_unknown_kind_is_named():
    with pytest.raises(InvalidInputError, match="input kind 'tile' is unknown: did you mean 'tiles'"):
        input_kind("tile")


@pytest.mark.parametrize(("kind", "name"), [("photographs", "x.png"), ("volumes", "x_t1.nii.gz")])
def test_two_new_files_of_one_case_are_named_and_none_hides_the_other(tmp_path: Path, kind: str, name: str):
    files = [tmp_path / folder / name for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"1")
    new = NewImages(files, "mri_t1", PREPROCESSING[kind], None, encoder=lambda digest: pytest.fail(digest))
    with pytest.raises(InvalidInputError, match=rf"a/{name} and .*b/{name} would both be .*case x; rename one of them"):
        input_kind(kind).new_inputs(new)


def test_a_new_slide_without_tissue_is_named(tmp_path: Path):
    path = write_tiff(tmp_path / "white.tiff", np.full((512, 512, 3), 255, np.uint8))
    texture = build_encoder("texture", preprocessing=PREPROCESSING["tiles"])
    new = NewImages([path], "histology", PREPROCESSING["bags"], None, encoder=lambda digest: texture)
    with pytest.raises(InvalidInputError, match=r"slide .*white\.tiff shows no tissue; .*leave it out"):
        input_kind("bags").new_inputs(new)
