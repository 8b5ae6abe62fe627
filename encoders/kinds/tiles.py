"""Slides, which a patch encoder sees tile by tile: one code per tile, a bag per slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import Note, PixelRecipe
from guidestore.encoders.checks import shown
from guidestore.encoders.content import content_or_name_of
from guidestore.encoders.input_kind import InputKind, SourceRequest
from guidestore.encoders.sources import CaseImage, ImageFile, Item

if TYPE_CHECKING:  # OpenSlide loads with them
    from guidestore.encoders.slides.stream import SlideJob
    from guidestore.encoders.slides.tiling import TilingSettings

_OPENSLIDE_SUFFIXES = frozenset({".mrxs", ".vms", ".vmu", ".svslide"})
"""Of slides that OpenSlide tells by the name: an .mrxs begins as a JPEG does, and others as text or a database."""


class Tiles(InputKind):
    name = "tiles"
    images = "slides"
    gives = "bag"

    def recognises(self, file: ImageFile) -> bool:
        """A TIFF of a scanner, or a pyramid, or whose um per pixel is known; DICOM; what else OpenSlide knows."""
        path = file.path
        if path.suffix.lower() in _OPENSLIDE_SUFFIXES:
            return True
        content = content_or_name_of(path)
        known = content == "TIFF" and (file.pixels.mpp is not None or _is_scan(path))
        return known or content == "Zeiss CZI" or (content == "DICOM" and not is_dicom_picture(path))

    def may_be(self, file: ImageFile) -> bool:
        """What OpenSlide opens: a tiled TIFF that does not say its um per pixel, for one."""
        import openslide

        return file.path.is_file() and openslide.OpenSlide.detect_format(file.path) is not None

    def examine(self, path: Path, given: PixelRecipe) -> tuple[PixelRecipe, list[Note]]:
        from guidestore.encoders.slides.pixels import slide_pixels

        return slide_pixels(path, given)

    def check(self, batch: Any, encoder: str, width: int = 3) -> None:
        """tiles_bhwc: (b, h, w, 3) uint8 RGB."""
        if not isinstance(batch, np.ndarray) or batch.dtype != np.uint8 or batch.shape[3:] != (width,):
            raise InvalidInputError(
                f"encoder {encoder} takes tiles of shape (b, h, w, {width}) uint8 RGB, not {shown(batch)}; cut them "
                "with guidestore.encoders.slides"
            )

    def source(self, request: SourceRequest) -> SlideSource:
        from guidestore.encoders.slides.tiling import TilingSettings

        options, info = request.options, request.info
        usual = TilingSettings()
        mpp, edge_px = options.mpp or info.mpp, options.tile_px or info.tile_size_px
        tiling = TilingSettings(mpp or usual.target_mpp, edge_px or usual.tile_size_px)
        return SlideSource(request.images, tiling)

    def in_words(self, preprocessing: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in preprocessing.items())

    def graph_input(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        edge = preprocessing["tile_size_px"]
        return f"uint8 (n, {edge}, {edge}, 3)"

    def example(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any], rng: np.random.Generator) -> Any:
        edge = preprocessing["tile_size_px"]
        return rng.integers(0, 256, (2, edge, edge, 3), np.uint8)


def is_dicom_picture(path: Path) -> bool:
    """Whether a DICOM file is a radiograph or a scan, and no whole slide."""
    import openslide

    return path.is_file() and openslide.OpenSlide.detect_format(path) is None


def _is_scan(path: Path) -> bool:
    """Whether a TIFF without a given mpp is a slide; one that cannot be opened is taken for one."""
    if not path.is_file():
        return True
    import openslide

    from guidestore.encoders.slides.levels import properties_of
    from guidestore.encoders.slides.scale import GIVEN_MPP, Scale
    from guidestore.encoders.slides.tiff_header import read_tiff_header

    maker = openslide.OpenSlide.detect_format(path)
    header = read_tiff_header(path)
    if maker not in (None, "generic-tiff"):
        return True
    if maker is None and not (header and header.stored_bits > 8):
        return False
    try:
        properties = properties_of(path, header)
    except InvalidInputError:
        return True
    mpp = Scale.of(properties, header).mpp
    levels = int(properties.get("openslide.level-count", 1))
    # Resolution tags of a photograph are those of a print.
    return max(levels, header.levels if header else 1) > 1 or (mpp is not None and mpp <= GIVEN_MPP[1])


class SlideSource:
    """Slides, which `encoders.slides.encode` reads tile by tile: `job` says how, and nothing loads one whole."""

    input_width = 3
    images_read = 0

    def __init__(self, images: Sequence[CaseImage], tiling: TilingSettings) -> None:
        self.tiling = tiling
        self._images = {image.item: image for image in images}
        self.items = list(self._images)

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self.tiling.as_dict()

    def job(self, item: Item) -> SlideJob:
        """How it is read; `Slide` verifies it, and refuses what it must."""
        from guidestore.encoders.slides.stream import SlideJob

        (slide,) = self._images[item].files
        return SlideJob(slide.path, slide.pixels.given_mpp, item, slide)

    def load(self, item: Item) -> Any:
        """Always raises InvalidInputError: a slide does not fit in memory."""
        raise InvalidInputError(f"slide {item.image_id} is too large to be read at once; name a patch encoder")


def tiling_in(preprocessing: Mapping[str, Any]) -> TilingSettings:
    """The tiling of a patch encoder's preprocessing; what its network does to a tile stands beside it there."""
    from guidestore.encoders.slides.tiling import TilingSettings

    return TilingSettings(**{name: preprocessing[name] for name in TilingSettings().as_dict()})
