"""Slides of more than 8 bits in a channel, which tifffile reads: OpenSlide takes the upper 8, or refuses them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import reason
from guidestore.encoders.deep_pictures import eight_bits
from guidestore.encoders.depth import check_depth, depth_of_counts
from guidestore.encoders.slides.direct import DecodedTiles, Rgb, laid_out
from guidestore.encoders.slides.tiff_header import TiffHeader, is_reduced_from, pages_of

MOST_SAMPLES = 2**24
"""Of a tile or strip, which is decoded whole: a false header must not fill the memory."""

LOOKED_AT_PX = 2**24
"""The depth of a slide that does not declare it is told by the finest level of at most so many pixels, else by the
coarsest; a larger value that a tile of a finer level holds is refused."""

_GREY, _INVERTED, _RGB, _YCBCR = 1, 0, 2, 6
_JPEG = 7
_SEPARATE = 2
_ALPHA = (1, 2)
"""Values of ExtraSamples: multiplied into the colours, and not."""


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """A page of the TIFF: where its tiles (or strips) lie in the file, and what makes pixels of them."""

    path: Path
    file: int
    """Its descriptor."""
    size: int
    """Bytes of the file."""
    width_px: int
    height_px: int
    tile_width_px: int
    tile_height_px: int
    planes: int
    """Files of one plane per channel hold the tiles of the first, then those of the next; else 1."""
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    decode: Callable[..., Any]
    colours: int
    alpha: int | None
    """Value of ExtraSamples of the channel after the colours, if that is one."""
    is_inverted: bool
    depth: int = 16
    """True bits of a channel."""

    @classmethod
    def of(cls, page: Any, path: Path, file: int) -> _Level:
        """Raises InvalidInputError for what is neither grey nor RGB, and for damaged tags."""
        what = f"slide {path}"
        photometric, samples = int(page.photometric), int(page.samplesperpixel)
        grey = photometric in (_GREY, _INVERTED)
        if not (grey or photometric == _RGB or (photometric == _YCBCR and page.compression == _JPEG)):
            raise InvalidInputError(f"{what} has {page.bitspersample} bits of {page.photometric.name}; save it as RGB")
        colours, extra = 1 if grey else 3, [int(value) for value in page.extrasamples]
        alpha = extra[0] if extra and extra[0] in _ALPHA else None
        is_inverted = photometric == _INVERTED
        if samples != colours + (alpha is not None and not is_inverted) or page.imagedepth > 1:
            raise InvalidInputError(f"{what} has {samples} channels, and is to be grey or RGB; save it so")
        width, height = int(page.imagewidth), int(page.imagelength)
        tile = (page.tilewidth, page.tilelength) if page.is_tiled else (width, min(page.rowsperstrip, height))
        planes = samples if page.planarconfig == _SEPARATE else 1
        offsets, lengths = tuple(page.dataoffsets), tuple(page.databytecounts)
        expected = planes * -(-width // tile[0]) * -(-height // tile[1]) if min(*tile, width, height) > 0 else 0
        if not expected or not len(offsets) == len(lengths) == expected:
            raise InvalidInputError(f"{what} has tags of {len(offsets)} tiles and {expected} places; copy it again")
        if tile[0] * tile[1] * samples > MOST_SAMPLES:
            raise InvalidInputError(
                f"{what} is stored in pieces of {tile[0]} x {tile[1]} pixels, which are too large to be read one by "
                "one; convert it to a tiled pyramidal TIFF"
            )
        size = os.fstat(file).st_size
        return cls(
            path, file, size, width, height, *tile, planes, offsets, lengths, page.decode, colours, alpha, is_inverted
        )

    @property
    def tiles(self) -> int:
        return len(self.offsets) // self.planes

    def tile(self, number: int) -> Rgb:
        values_hwc = self.values(number)
        if values_hwc is None:  # never scanned
            return np.full((self.tile_height_px, self.tile_width_px, 3), 255, np.uint8)
        check_depth(int(values_hwc[..., : self.colours].max(initial=0)), self.depth, f"slide {self.path}")
        picture = eight_bits(values_hwc, self.depth, alpha=self.alpha is not None, multiplied=self.alpha == 1)
        if self.alpha is not None:
            picture.paste("white", mask=picture.getchannel("A").point(lambda opacity: 255 - opacity))
        rgb_hwc = np.asarray(picture.convert("RGB"))
        return 255 - rgb_hwc if self.is_inverted else rgb_hwc

    def values(self, number: int) -> np.ndarray | None:
        """(h, w, channels) unsigned integers, cut off at the edges of the level; None of a tile that is not there.

        Raises InvalidInputError.
        """
        row, column = divmod(number, -(-self.width_px // self.tile_width_px))
        height = min(self.tile_height_px, self.height_px - row * self.tile_height_px)
        width = min(self.tile_width_px, self.width_px - column * self.tile_width_px)
        planes = []
        for place in range(number, len(self.offsets), self.tiles):
            offset, length = self.offsets[place], self.lengths[place]
            if not length:
                return None
            try:
                if offset + length > self.size:
                    raise ValueError("it ends before the tile does")
                planes.append(self.decode(os.pread(self.file, length, offset), place)[0][0, :height, :width])
                if planes[-1].shape[:2] != (height, width):
                    raise ValueError("a tile has too few pixels")
            except (MemoryError, RecursionError):
                raise
            except Exception as error:  # the codecs raise each their own
                raise InvalidInputError(
                    f"slide {self.path} cannot be decoded in tile {place} ({reason(error)}); the file is damaged or "
                    "truncated, so copy it again"
                ) from error
        return np.concatenate(planes, axis=2) if len(planes) > 1 else planes[0]


class DeepTiff:
    """An open TIFF slide of 9 to 16 bits in a channel: its levels in 8 bits, scaled by the true depth.

    Level 0 is the first page; the others are those that say that they are it reduced, or that it names as its levels
    (SubIFDs). Reading is safe from several threads. Raises InvalidInputError for what is no grey or RGB slide, and
    where the depth cannot be known.
    """

    def __init__(
        self, path: Path, header: TiffHeader, properties: Mapping[str, str], tiles: DecodedTiles | None = None
    ) -> None:
        self.properties = properties
        self._tiles = tiles or DecodedTiles()
        self._file = os.open(path, os.O_RDONLY)
        try:
            levels = sorted(_levels(path, self._file), key=lambda level: -level.width_px)
            self.depth = header.declared_bits or _told_depth(levels, f"slide {path}")
        except BaseException:
            os.close(self._file)
            raise
        self._levels = [replace(level, depth=self.depth) for level in levels]
        whole = self._levels[0]
        self.dimensions = whole.width_px, whole.height_px
        self.level_downsamples = tuple(
            (whole.width_px / level.width_px + whole.height_px / level.height_px) / 2 for level in self._levels
        )

    def read(self, level: int, x: int, y: int, width_px: int, height_px: int) -> Rgb:
        """The region whose corner lies at (x, y) of the level; white outside of it. Raises InvalidInputError."""
        return laid_out(self._levels[level], self._tiles, x, y, width_px, height_px)

    def close(self) -> None:
        """Once, when no thread reads any more."""
        for level in self._levels:
            self._tiles.forget(level)
        os.close(self._file)


def _levels(path: Path, file: int) -> Iterator[_Level]:
    try:
        with tifffile.TiffFile(path) as tiff:
            first: Any = tiff.pages.first
            reduced = [page for page in pages_of(tiff)[1:] if page.is_reduced]
            pages = [first, *reduced, *(page.aspage() for page in first.pages or ())]
            whole = _Level.of(first, path, file)
            yield whole
            for page in pages[1:]:
                if _is_level_of(first, page):
                    yield _Level.of(page, path, file)
    except (InvalidInputError, MemoryError):
        raise
    except Exception as error:  # tifffile raises what its parts do, each in its own way
        raise InvalidInputError(
            f"slide {path} cannot be read ({reason(error)}); its tags are damaged, so copy it again"
        ) from error


def _is_level_of(whole: Any, page: Any) -> bool:
    """Whether a page shows all of level 0 in fewer pixels; thumbnails of another cut, labels and masks do not."""
    same = ("bitspersample", "sampleformat", "samplesperpixel", "photometric")
    if any(getattr(page, name) != getattr(whole, name) for name in same) or page.imagewidth >= whole.imagewidth:
        return False
    return is_reduced_from((whole.imagewidth, whole.imagelength), (page.imagewidth, page.imagelength))


def _told_depth(levels: list[_Level], what: str) -> int:
    """By the values of one level, see LOOKED_AT_PX."""
    small = [level for level in levels if level.width_px * level.height_px <= LOOKED_AT_PX]
    level = small[0] if small else levels[-1]
    counts = np.zeros(2**16, np.int64)
    for number in range(level.tiles):
        values_hwc = level.values(number)
        if values_hwc is not None:
            colours = np.ascontiguousarray(values_hwc[..., : level.colours])
            counts += np.bincount(colours.ravel(), minlength=2**16)
    return depth_of_counts(counts, what)
