"""Level pixels straight from the JPEG tiles of a TIFF, in a fifth of OpenSlide's time, where they are OpenSlide's.

What OpenSlide gives is the truth. A level is read directly only if its file tiles are baseline JPEG, none is missing,
and a sample of them, decoded here, equals OpenSlide's pixels bit for bit; a tile that the strict decoder does not like
is OpenSlide's to read or to refuse. So which of the two has read is no part of any recipe.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openslide
import tifffile

from guidestore.encoders.slides.tiff_header import pages_of

VENDORS = ("aperio", "generic-tiff")
"""Whose levels are the tiled pages of the TIFF, each tile where its number says."""

SAMPLE_TILES = 5
"""Of each level, compared with OpenSlide's pixels: first, last, and the ones with the most bytes."""

CACHE_BYTES = 64 * 2**20
"""Decoded file tiles that are kept for all open slides together: those on the border of two blocks."""

MOST_TILE_PX = 2**22
"""Larger ones are OpenSlide's: a false header must not fill the memory."""

_JPEG, _RGB, _YCBCR = 7, 2, 6
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""A marker whose next byte says how the three components are to be read: 0 as RGB, 1 as YCbCr."""

type Rgb = np.ndarray
"""(height, width, 3) uint8."""


class DecodedTiles:
    """The last used decoded tiles, by slide, level and number. Safe in threads."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self.openslide = openslide.OpenSlideCache(most_bytes)
        """OpenSlide's own, for the levels that it reads."""
        self._most_bytes, self._bytes = most_bytes, 0
        self._tiles: OrderedDict[tuple[object, int], Rgb] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, owner: object, number: int) -> Rgb | None:
        with self._lock:
            tile_hwc = self._tiles.get((owner, number))
            if tile_hwc is not None:
                self._tiles.move_to_end((owner, number))
            return tile_hwc

    def put(self, owner: object, number: int, tile_hwc: Rgb) -> None:
        with self._lock:
            if (owner, number) not in self._tiles:
                self._tiles[owner, number] = tile_hwc
                self._bytes += tile_hwc.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes

    def forget(self, owner: object) -> None:
        with self._lock:
            for key in [key for key in self._tiles if key[0] is owner]:
                self._bytes -= self._tiles.pop(key).nbytes


class NotDecodedError(Exception):
    """OpenSlide is to say what is there."""


class TiledLevel(Protocol):
    """A level of a slide in tiles (or strips) that can be decoded one by one, row by row from the upper left."""

    @property
    def width_px(self) -> int: ...
    @property
    def height_px(self) -> int: ...
    @property
    def tile_width_px(self) -> int: ...
    @property
    def tile_height_px(self) -> int: ...
    def tile(self, number: int) -> Rgb:
        """Of the size of a tile, or cut off at the level's right and lower edge."""
        ...


def laid_out(level: TiledLevel, tiles: DecodedTiles, x: int, y: int, width_px: int, height_px: int) -> Rgb:
    """The region whose corner lies at (x, y) of the level; white outside of it. Raises what `level.tile` does."""
    region_hwc = np.full((height_px, width_px, 3), 255, np.uint8)
    tile_width, tile_height = level.tile_width_px, level.tile_height_px
    columns = -(-level.width_px // tile_width)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width_px, level.width_px), min(y + height_px, level.height_px)
    for row in range(top // tile_height, -(-bottom // tile_height)):
        for column in range(left // tile_width, -(-right // tile_width)):
            number = row * columns + column
            tile_hwc = tiles.get(level, number)
            if tile_hwc is None:
                tile_hwc = level.tile(number)
                tiles.put(level, number, tile_hwc)
            x0, y0 = column * tile_width, row * tile_height
            part = tile_hwc[max(top, y0) - y0 : bottom - y0, max(left, x0) - x0 : right - x0]
            to_y, to_x = max(top, y0) - y, max(left, x0) - x
            region_hwc[to_y : to_y + part.shape[0], to_x : to_x + part.shape[1]] = part
    return region_hwc


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """A tiled page: where its tiles lie in the file, and what makes each a JPEG file of its own."""

    file: int
    """Its descriptor."""
    width_px: int
    height_px: int
    tile_width_px: int
    tile_height_px: int
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    head: bytes
    """All that comes before a tile's own frame."""
    decode: Callable[..., Rgb]

    @property
    def columns(self) -> int:
        return -(-self.width_px // self.tile_width_px)

    def tile(self, number: int) -> Rgb:
        """Raises NotDecodedError."""
        length = self.lengths[number]
        data = os.pread(self.file, length, self.offsets[number])
        if len(data) != length or data[:2] != b"\xff\xd8":
            raise NotDecodedError
        tile_hwc = np.empty((self.tile_height_px, self.tile_width_px, 3), np.uint8)
        try:
            decoded = self.decode(self.head + data[2:], "RGB", strict=True, buffer=tile_hwc)
        except ValueError as error:
            raise NotDecodedError from error
        if decoded.shape != tile_hwc.shape:
            raise NotDecodedError
        return tile_hwc


class DirectReader:
    """The levels of an open slide that can be read directly; of the others `read` gives None.

    slide: OpenSlide's of the same file, which is asked once for each level. Close it when no thread reads any more.
    """

    def __init__(self, path: Path, slide: openslide.OpenSlide, tiles: DecodedTiles) -> None:
        self._slide, self._tiles = slide, tiles
        self._file = os.open(path, os.O_RDONLY)
        self._levels = _levels_of(path, slide, self._file)
        self._is_equal: dict[int, bool] = {}
        self._lock = threading.Lock()

    def read(self, level: int, x: int, y: int, width_px: int, height_px: int) -> Rgb | None:
        """The region whose corner lies at (x, y) of the level; white outside of it. None: ask OpenSlide."""
        page = self._levels.get(level)
        if page is None or not self._equals_openslide(level, page):
            return None
        try:
            return laid_out(page, self._tiles, x, y, width_px, height_px)
        except NotDecodedError:
            return None

    def _equals_openslide(self, level: int, page: _Level) -> bool:
        with self._lock:
            if level not in self._is_equal:
                self._is_equal[level] = _is_equal(self._slide, level, page)
            return self._is_equal[level]

    def close(self) -> None:
        for page in self._levels.values():
            self._tiles.forget(page)
        os.close(self._file)


def _is_equal(slide: openslide.OpenSlide, level: int, page: _Level) -> bool:
    """Whether the sample of tiles is what OpenSlide gives."""
    by_length = np.argsort(page.lengths, kind="stable")[::-1]
    scale = round(slide.level_downsamples[level])
    for number in dict.fromkeys([0, len(page.lengths) - 1, *by_length[: SAMPLE_TILES - 2].tolist()]):
        row, column = divmod(number, page.columns)
        x, y = column * page.tile_width_px, row * page.tile_height_px
        size = min(page.tile_width_px, page.width_px - x), min(page.tile_height_px, page.height_px - y)
        try:
            rgba_hwc = np.asarray(slide.read_region((x * scale, y * scale), level, size))
            tile_hwc = page.tile(number)[: size[1], : size[0]]
        except (openslide.OpenSlideError, NotDecodedError):
            return False  # OpenSlide says so itself where it comes to that
        if (rgba_hwc[..., 3] < 255).any() or not np.array_equal(rgba_hwc[..., :3], tile_hwc):
            return False
    return True


def _levels_of(path: Path, slide: openslide.OpenSlide, file: int) -> dict[int, _Level]:
    """Level -> its page, of those whose pixels lie on level-0 pixels and whose tiles are JPEG, all there."""
    decode = _decode_jpeg()
    if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) not in VENDORS or decode is None:
        return {}
    levels: dict[int, _Level] = {}
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for page in pages_of(tiff) if page.is_tiled]
            for level, (size, scale) in enumerate(zip(slide.level_dimensions, slide.level_downsamples, strict=True)):
                same = [page for page in pages if (page.imagewidth, page.imagelength) == size]
                # Where a level's downsample is no whole number OpenSlide interpolates.
                if scale == int(scale) and len(same) == 1 and _is_plain_jpeg(same[0]):
                    levels[level] = _level(same[0], file, decode)
    except Exception:  # whatever an odd file makes of it: OpenSlide has read the file
        return {}
    return levels


def _is_plain_jpeg(page: Any) -> bool:
    tiles = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    return (
        page.compression == _JPEG
        and page.photometric in (_RGB, _YCBCR)
        and (page.bitspersample, page.samplesperpixel, page.planarconfig) == (8, 3, 1)
        and page.tilewidth * page.tilelength <= MOST_TILE_PX
        and len(page.dataoffsets) == len(page.databytecounts) == tiles
        and max(page.databytecounts) <= 3 * MOST_TILE_PX
        and min(page.databytecounts) > 0  # OpenSlide draws a missing tile from the level before
    )


def _level(page: Any, file: int, decode: Callable[..., Rgb]) -> _Level:
    tables = page.jpegtables[:-2] if page.jpegtables else b"\xff\xd8"
    return _Level(
        file,
        page.imagewidth,
        page.imagelength,
        page.tilewidth,
        page.tilelength,
        tuple(page.dataoffsets),
        tuple(page.databytecounts),
        tables + _ADOBE + (b"\x01" if page.photometric == _YCBCR else b"\x00"),
        decode,
    )


@cache
def _decode_jpeg() -> Callable[..., Rgb] | None:
    """libjpeg-turbo's strict decoder, which holds no lock of the interpreter; None where it is not installed.

    Pillow's and torchvision's give pixels for damaged data too, where OpenSlide gives an error.
    """
    try:
        from simplejpeg import decode_jpeg  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return decode_jpeg
