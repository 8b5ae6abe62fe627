"""The levels of a slide, by the library that reads them rightly: OpenSlide, and tifffile for more than 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.words import count_of
from guidestore.encoders.checks import reason
from guidestore.encoders.image_files import TO_NIFTI, is_dicom
from guidestore.encoders.slides.deep_tiff import DeepTiff
from guidestore.encoders.slides.direct import VENDORS, DecodedTiles, DirectReader, Rgb
from guidestore.encoders.slides.tiff_header import TiffHeader, is_reduced_from

MOST_OFF_SHAPE = 0.02
"""By which share a level's ratio of width and height may differ from level 0's: some writers fill up the last tiles."""

_EDGES = ("width", "height")


class Levels(Protocol):
    """An open slide. Reading is safe from several threads."""

    @property
    def properties(self) -> Mapping[str, str]:
        """OpenSlide's."""
        ...

    @property
    def dimensions(self) -> tuple[int, int]:
        """Width and height of level 0 in pixels."""
        ...

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """One per level, from 1."""
        ...

    def read(self, level: int, x: int, y: int, width_px: int, height_px: int) -> Rgb:
        """The region whose corner lies at (x, y) of the level; white outside of it. Raises InvalidInputError."""
        ...

    def close(self) -> None:
        """Once, when no thread reads any more."""
        ...


class OpenSlideLevels:
    """As OpenSlide reads them, in a fifth of its time where it can be."""

    def __init__(self, path: Path, header: TiffHeader | None, tiles: DecodedTiles) -> None:
        self._path = path
        self._slide = _opened(path)
        try:
            self.properties = self._slide.properties
            check_stored(path, header, self.properties)
            self._slide.set_cache(tiles.openslide)
            self.dimensions = self._slide.dimensions
            self.level_downsamples = tuple(float(value) for value in self._slide.level_downsamples)
            self._direct = DirectReader(path, self._slide, tiles)
        except BaseException:
            self._slide.close()
            raise

    def read(self, level: int, x: int, y: int, width_px: int, height_px: int) -> Rgb:
        region_hwc = self._direct.read(level, x, y, width_px, height_px)
        if region_hwc is not None:
            return region_hwc
        scale = self.level_downsamples[level]
        corner = round(x * scale), round(y * scale)
        try:
            rgba = self._slide.read_region(corner, level, (width_px, height_px))
        except openslide.OpenSlideError as error:
            raise InvalidInputError(
                f"slide {self._path} cannot be decoded at x {corner[0]}, y {corner[1]} ({reason(error)}); the file is "
                "damaged or truncated, so copy it again"
            ) from error
        return np.asarray(_on_white(rgba))

    def close(self) -> None:
        self._direct.close()
        self._slide.close()


def open_levels(path: Path, header: TiffHeader | None, tiles: DecodedTiles) -> Levels:
    """header: what `read_tiff_header` says of the file. Raises InvalidInputError for what cannot be read rightly."""
    if header and header.stored_bits > 8:
        properties = properties_of(path, header)
        check_stored(path, header, properties)
        return DeepTiff(path, header, properties, tiles)
    return OpenSlideLevels(path, header, tiles)


def properties_of(path: Path, header: TiffHeader | None) -> Mapping[str, str]:
    """What OpenSlide says of a slide; nothing of a deep one that it cannot open. Raises InvalidInputError."""
    try:
        with _opened(path) as slide:
            return dict(slide.properties)
    except InvalidInputError:
        if header is None or header.stored_bits <= 8:
            raise
        return {}


def check_stored(path: Path, header: TiffHeader | None, properties: Mapping[str, str]) -> None:
    """Raises InvalidInputError for a slide that would be read wrongly.

    A TIFF that is stored turned, of which OpenSlide turns every tile about itself; one of several pictures or channels,
    of which it takes one; one of values that have no white; one whose tags contradict each other; and one of which
    nobody knows that.
    """
    if header is None:
        if properties.get(openslide.PROPERTY_NAME_VENDOR) == "generic-tiff":
            raise InvalidInputError(
                f"slide {path} has TIFF tags that cannot be read, so that its depth and orientation are unknown; the "
                "file is damaged, so copy it again or write it anew"
            )
        return
    if header.stored_bits > 16 or not header.is_unsigned:
        raise InvalidInputError(
            f"slide {path} has signed values or fractions, or more than 16 bits ({header.stored_bits}) in a channel, "
            "whose white is unknown; write it with unsigned ones of 8 or 16 bits"
        )
    if header.orientation != 1:
        raise InvalidInputError(
            f"slide {path} is stored turned (TIFF orientation {header.orientation}), which OpenSlide reads wrongly; "
            "write it upright, e.g. with vips autorot IN OUT.tif[tile,pyramid,compression=jpeg]"
        )
    # Other makers' formats have pages of their own, which OpenSlide knows.
    is_plain = properties.get(openslide.PROPERTY_NAME_VENDOR, "generic-tiff") in VENDORS
    pictures = max(header.ome.planes if header.ome else 1, header.pictures if is_plain else 1)
    if pictures > 1:
        raise InvalidInputError(
            f"slide {path} holds {pictures} pictures (channels, focal planes or times), of which one would be "
            "taken; write the one that is meant as grey or RGB"
        )
    if not is_plain:
        return
    if header.wrong_tiles:
        raise InvalidInputError(f"slide {path} {header.wrong_tiles}; its tags are damaged, so copy it again")
    if not header.is_first_whole:
        raise InvalidInputError(
            f"slide {path} begins with a picture that is not its largest, as a label or thumbnail; write the slide "
            "first, as a tiled pyramidal TIFF"
        )
    if header.extra_channels > 0:
        raise InvalidInputError(
            f"slide {path} has {count_of(header.extra_channels, 'channel')} besides its colours that nobody says the "
            "meaning of; write it as grey or RGB"
        )
    sizes = _level_sizes(properties) if header.stored_bits == 8 else []  # `DeepTiff` takes no others
    other = next((size for size in sizes[1:] if not is_reduced_from(sizes[0], size, off=MOST_OFF_SHAPE)), None)
    if other:
        raise InvalidInputError(
            f"slide {path} has a level of {other[0]} x {other[1]} pixels, which is no reduced {sizes[0][0]} x "
            f"{sizes[0][1]}: a thumbnail or label marked as a level; write the slide anew, as a tiled pyramidal TIFF"
        )


def _level_sizes(properties: Mapping[str, str]) -> list[tuple[int, int]]:
    count = int(properties.get("openslide.level-count", 0))
    width, height = ([int(properties[f"openslide.level[{i}].{edge}"]) for i in range(count)] for edge in _EDGES)
    return list(zip(width, height, strict=True))


def _opened(path: Path) -> openslide.OpenSlide:
    """Raises InvalidInputError for what OpenSlide cannot read."""
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        if path.is_file() and is_dicom(path):
            raise InvalidInputError(
                f"OpenSlide cannot read slide {path}, which is DICOM and no whole slide ({reason(error)}); {TO_NIFTI}"
            ) from error
        raise InvalidInputError(
            f"OpenSlide cannot read slide {path} ({reason(error)}); the file is damaged or of a format it does not "
            "know, so copy it again or convert it to a tiled pyramidal TIFF"
        ) from error


def _on_white(rgba: Image.Image) -> Image.Image:
    """`rgba` as RGB; what is transparent (outside the slide, never scanned) becomes white."""
    if rgba.getchannel("A").getextrema() == (255, 255):  # The usual case, without compositing.
        return rgba.convert("RGB")
    rgb = Image.new("RGB", rgba.size, "white")
    rgb.paste(rgba, mask=rgba)
    return rgb
