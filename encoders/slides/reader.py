"""Reads a slide through OpenSlide: its size, its um per pixel, and any region at any downsample."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openslide
from PIL import Image

from embeddings.errors import InvalidInputError
from encoders.checks import reason

PLAUSIBLE_MPP = (0.02, 20.0)
"""um per pixel. Outside lies no light microscope's slide: TIFF files saved at 72 dpi say 352.8."""

SAME_SCALE = 1.01
"""A level whose downsample exceeds the wanted one by up to 1 % still serves (2048 -> 511 px levels are 4.008)."""


class Slide:
    """An open slide. Use it as a context manager; reading is safe from several threads.

    Attributes: path; width_px, height_px of level 0; mpp, level-0 um per pixel; magnification, the objective power
    where the slide says it, else None; level_downsamples, one per level, from 1.

    mpp: overrides what the file says (um per pixel). Raises InvalidInputError for a file that OpenSlide cannot read,
    and for a slide that has no plausible mpp while none is given.
    """

    def __init__(self, path: str | Path, mpp: float | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InvalidInputError(f"there is no slide file {self.path}; correct the path in the manifest")
        try:
            self._slide = openslide.OpenSlide(self.path)
        except openslide.OpenSlideError as error:
            raise InvalidInputError(
                f"OpenSlide cannot read {self.path} ({reason(error)}); the file is damaged or of a format it does "
                "not know, so copy it again or convert it to a tiled pyramidal TIFF"
            ) from error
        try:
            self.width_px, self.height_px = self._slide.dimensions
            self.level_downsamples = tuple(float(value) for value in self._slide.level_downsamples)
            power = _number(self._slide.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
            self.magnification = power if power and power > 0 else None
            self.mpp = self._given_mpp(mpp) if mpp is not None else self._own_mpp()
        except InvalidInputError:
            self.close()
            raise

    def _given_mpp(self, mpp: float) -> float:
        if not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
            raise InvalidInputError(
                f"mpp {mpp} was given for {self.path}; it must be um per level-0 pixel, between {PLAUSIBLE_MPP[0]} and "
                f"{PLAUSIBLE_MPP[1]} (0.25 at 40x, 0.5 at 20x)"
            )
        return float(mpp)

    def _own_mpp(self) -> float:
        mpp_x = _number(self._slide.properties.get(openslide.PROPERTY_NAME_MPP_X))
        mpp_y = _number(self._slide.properties.get(openslide.PROPERTY_NAME_MPP_Y))
        remedy = "give it with --mpp or in the manifest's column mpp (um per level-0 pixel)"
        if mpp_x is None or mpp_y is None:
            raise InvalidInputError(f"slide {self.path} does not say its um per pixel; {remedy}")
        if not (PLAUSIBLE_MPP[0] <= mpp_x <= PLAUSIBLE_MPP[1] and abs(mpp_x - mpp_y) <= 0.02 * mpp_x):
            raise InvalidInputError(
                f"slide {self.path} says {mpp_x:g} x {mpp_y:g} um per pixel, which no microscope with square pixels "
                f"has; {remedy}"
            )
        return mpp_x

    def read(self, x_level0: int, y_level0: int, width_px: int, height_px: int, downsample: float) -> np.ndarray:
        """The region of width_px x height_px output pixels at `downsample` of level 0: (height, width, 3) uint8 RGB.

        x_level0, y_level0: upper left corner in level-0 pixels; the region may lie partly or wholly outside the slide,
        which reads as white. Reads the coarsest level at or below `downsample` and resamples it with an antialiased
        bilinear filter to exactly the size asked for; where that level is at the very scale, its pixels come
        unchanged. Raises InvalidInputError for a region that cannot be decoded.
        """
        level = max(i for i, value in enumerate(self.level_downsamples) if value <= max(downsample, 1.0) * SAME_SCALE)
        level_downsample = self.level_downsamples[level]
        left, top = x_level0 / level_downsample, y_level0 / level_downsample
        right = left + width_px * downsample / level_downsample
        bottom = top + height_px * downsample / level_downsample
        # Whole level pixels that cover the region; the fractions go into the resampling box below.
        x0, y0, x1, y1 = _floor(left), _floor(top), _ceil(right), _ceil(bottom)
        corner = round(x0 * level_downsample), round(y0 * level_downsample)
        try:
            rgba = self._slide.read_region(corner, level, (x1 - x0, y1 - y0))
        except openslide.OpenSlideError as error:
            raise InvalidInputError(
                f"slide {self.path} cannot be decoded at x {x_level0}, y {y_level0} ({reason(error)}); the file is "
                "damaged or truncated, so copy it again"
            ) from error
        region = Image.new("RGB", rgba.size, "white")
        region.paste(rgba, mask=rgba)
        box = (left - x0, top - y0, right - x0, bottom - y0)
        whole = all(abs(value - round(value)) < 1e-6 for value in box)
        if not (whole and region.size == (width_px, height_px)):
            box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], region.width), min(box[3], region.height))
            region = region.resize((width_px, height_px), Image.Resampling.BILINEAR, box=box)
        return np.asarray(region)

    def close(self) -> None:
        self._slide.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _floor(value: float) -> int:
    return math.floor(value + 1e-6)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)


def _number(text: str | None) -> float | None:
    """The finite number that a slide property spells, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
