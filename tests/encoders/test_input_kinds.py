"""Each kind of input: it knows its files, refuses other batches, and describes what a network is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.input_kind import INPUT_KINDS, input_kind, kind_of
from guidestore.encoders.photographs import PhotographSettings
from guidestore.encoders.slides.tiling import TilingSettings
from guidestore.encoders.sources import CaseImage, ImageFile
from guidestore.encoders.volumes import VolumeSettings

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


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (("a.JPG", "b.png"), "photographs"),
        (("a.nii.gz", "b.nii"), "volumes"),
        (("a.svs",), "tiles"),
        (("a.jpg", "b.svs"), "tiles"),
        (("a.nii", "b.jpg"), "tiles"),
        (("gone.tif",), "tiles"),
    ],
)
def test_the_files_of_a_modality_tell_its_kind(files: tuple[str, ...], kind: str):
    images = [CaseImage(name, name, (ImageFile("m", Path(name), "ab", 1, None),)) for name in files]
    assert kind_of(images).name == kind


def test_an_unknown_kind_is_named():
    with pytest.raises(InvalidInputError, match="input kind 'tile' is unknown: did you mean 'tiles'"):
        input_kind("tile")
