"""Reads a slide through OpenSlide, a deep one through tifffile: its size, um per pixel, any region at any scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.slides.direct import DecodedTiles
from guidestore.encoders.slides.levels import open_levels
from guidestore.encoders.slides.scale import Scale
from guidestore.encoders.slides.tiff_header import read_tiff_header

SAME_SCALE = 1.01
"""A level whose downsample exceeds the wanted one by up to 1 % still serves (2048 -> 511 px levels are 4.008)."""

MAX_READ_PX = 2048
"""Edge of the largest region read from a level at once: 16 MB as RGBA, whatever the downsample."""


class Slide:
    """An open slide. Use it as a context manager; reading is safe from several threads.

    Attributes: path; width_px, height_px of level 0; mpp, level-0 um per pixel; magnification, the objective power
    where the slide says it, else None; level_downsamples, one per level, from 1.

    mpp: overrides what the file says (um per pixel). tiles: decoded ones, shared with other slides. Raises
    InvalidInputError for a file that cannot be read, or not rightly (`levels.check_stored`), and for a slide that has
    no plausible mpp (`Scale.checked`) while none is given.
    """

    def __init__(self, path: str | Path, mpp: float | None = None, tiles: DecodedTiles | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InvalidInputError(f"there is no slide file {self.path}; correct the path in the manifest")
        header = read_tiff_header(self.path)
        self._levels = open_levels(self.path, header, tiles or DecodedTiles())
        self._is_closed = False
        scale = Scale.of(self._levels.properties, header, mpp)
        self.magnification = scale.power
        try:
            self.mpp = scale.checked(f"slide {self.path}")
        except InvalidInputError:
            self.close()
            raise
        self.width_px, self.height_px = self._levels.dimensions
        self.level_downsamples = self._levels.level_downsamples

    def read(self, x_level0: float, y_level0: float, width_px: int, height_px: int, downsample: float) -> np.ndarray:
        """The region of width_px x height_px output pixels at `downsample` of level 0: (height, width, 3) uint8 RGB.

        x_level0, y_level0: upper left corner in level-0 pixels; the region may lie partly or wholly outside the slide,
        which reads as white. Reads the coarsest level at or below `downsample` and resamples it with an antialiased
        bilinear filter to exactly the size asked for; where that level is at the very scale, its pixels come
        unchanged. A region that covers more than MAX_READ_PX of that level is read and resampled in parts. Raises
        InvalidInputError for a region that cannot be decoded.
        """
        part_px = max(int(MAX_READ_PX / self.level_pixels_per_pixel(downsample)), 1)
        if max(width_px, height_px) <= part_px:
            return self.read_cut([(x_level0, y_level0)], width_px, height_px, downsample)[0]
        region_hwc = np.empty((height_px, width_px, 3), np.uint8)
        for y in range(0, height_px, part_px):
            for x in range(0, width_px, part_px):
                part = region_hwc[y : y + part_px, x : x + part_px]
                corner = (x_level0 + x * downsample, y_level0 + y * downsample)
                part[:] = self.read_cut([corner], part.shape[1], part.shape[0], downsample)[0]
        return region_hwc

    def read_cut(
        self,
        corners: Sequence[tuple[float, float]],
        width_px: int,
        height_px: int,
        downsample: float,
        anchor: tuple[float, float] | None = None,
    ) -> list[np.ndarray]:
        """Several regions, each as `read` gives it, cut from one read that covers them all.

        anchor: level-0 place that the read may start from, left of and above all corners. Where a level's downsample
        is no whole number OpenSlide interpolates relative to where a read starts; a fixed anchor makes a region's
        pixels independent of which others are asked for. Raises InvalidInputError for what cannot be decoded.
        """
        level = self._level(downsample)
        scale = self.level_downsamples[level]
        windows = [_Window.of(x / scale, y / scale, width_px, height_px, downsample / scale) for x, y in corners]
        x0, y0 = min(window.x0 for window in windows), min(window.y0 for window in windows)
        if anchor is not None and scale != int(scale):
            x0, y0 = _floor(anchor[0] / scale), _floor(anchor[1] / scale)
        size = max(window.x1 for window in windows) - x0, max(window.y1 for window in windows) - y0
        raw_hwc = self._levels.read(level, x0, y0, *size)
        return [window.cut(raw_hwc, x0, y0, width_px, height_px) for window in windows]

    def level_pixels_per_pixel(self, downsample: float) -> float:
        """Pixels that `read` takes from its level, along an edge, for one output pixel at `downsample`."""
        return downsample / self.level_downsamples[self._level(downsample)]

    def _level(self, downsample: float) -> int:
        return max(i for i, value in enumerate(self.level_downsamples) if value <= max(downsample, 1.0) * SAME_SCALE)

    def close(self) -> None:
        """May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._levels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Window:
    """Whole level pixels [x0, x1) x [y0, y1) that cover a region, and the region's exact box within them."""

    x0: int
    y0: int
    x1: int
    y1: int
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, left: float, top: float, width_px: int, height_px: int, downsample: float) -> _Window:
        right, bottom = left + width_px * downsample, top + height_px * downsample
        x0, y0 = _floor(left), _floor(top)
        return cls(x0, y0, _ceil(right), _ceil(bottom), (left - x0, top - y0, right - x0, bottom - y0))

    def cut(self, raw_hwc: np.ndarray, raw_x0: int, raw_y0: int, width_px: int, height_px: int) -> np.ndarray:
        """The region (height_px, width_px, 3) from `raw_hwc`, whose corner lies at raw_x0, raw_y0 of the level."""
        # Cropped before it is resampled: the filter would reach over the region's edge otherwise.
        region_hwc = raw_hwc[self.y0 - raw_y0 : self.y1 - raw_y0, self.x0 - raw_x0 : self.x1 - raw_x0]
        height, width = region_hwc.shape[:2]
        whole = all(abs(value - round(value)) < 1e-6 for value in self.box)
        if whole and (width, height) == (width_px, height_px):
            return region_hwc
        left, top, right, bottom = self.box
        box = (max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height))
        region = Image.fromarray(np.ascontiguousarray(region_hwc))
        return np.asarray(region.resize((width_px, height_px), Image.Resampling.BILINEAR, box=box))


def _floor(value: float) -> int:
    return math.floor(value + 1e-6)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)
