"""Lays a grid of tiles over a slide at a physical scale and keeps those on tissue."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.tissue import tissue_mask

MAX_UPSAMPLING = 1.1
"""A slide scanned more than 10 % coarser than asked for is refused: finer detail would be invented."""

MAX_SINGLE_LEVEL_PX = 2**28
"""A slide of one level and more pixels than 16,384 x 16,384 is refused: all would be read to find tissue."""


@dataclass(frozen=True, slots=True)
class TilingSettings:
    """How a slide is cut into tiles. `as_dict` goes into `EncoderSpec.preprocessing`.

    The defaults give 256 px tiles at 20x.
    """

    target_mpp: float = 0.5
    """um per pixel of the tiles; 0.5 is 20x, 1.0 is 10x. Never a level or an objective power."""
    tile_size_px: int = 256
    """Edge of a tile as the encoder sees it, in pixels of target_mpp."""
    min_tissue_fraction: float = 0.5
    """Tiles with less tissue than this fraction of their area are left out."""
    mask_mpp: float = 8.0
    """um per pixel of the thumbnail that tissue is found on; 8 keeps a 256 px tile at 16 x 16 mask pixels."""

    def __post_init__(self) -> None:
        if not (self.target_mpp > 0 and self.tile_size_px >= 8 and 0 <= self.min_tissue_fraction <= 1):
            raise InvalidInputError(
                f"{self} is no tiling: target_mpp must be positive, tile_size_px at least 8, min_tissue_fraction "
                "between 0 and 1"
            )
        if not self.mask_mpp >= self.target_mpp:
            raise InvalidInputError(f"mask_mpp {self.mask_mpp} is finer than target_mpp {self.target_mpp}; raise it")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `TilingSettings(**settings.as_dict()) == settings`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class TileGrid:
    """Places of the kept tiles: coords_n2 (n, 2) int32 x, y in level-0 pixels, row by row from the upper left."""

    coords_n2: np.ndarray
    tile_size_px: int
    tile_size_level0_px: int
    """Edge and stride in level-0 pixels: the whole number next to tile_size_px * target_mpp / mpp. Tiles are resampled
    from exactly this many pixels, so their true um per pixel is off by less than 0.5 / tile_size_level0_px."""


def lay_tiles(slide: Slide, settings: TilingSettings) -> TileGrid:
    """The tiles of `slide` that hold enough tissue; none for a slide without tissue.

    The grid starts at level-0 (0, 0) without overlap; tiles over the right and lower edge count what lies outside as
    glass. Raises InvalidInputError for a slide scanned coarser than target_mpp.
    """
    if slide.mpp > settings.target_mpp * MAX_UPSAMPLING:
        raise InvalidInputError(
            f"slide {slide.path} was scanned at {slide.mpp:g} um per pixel, coarser than target_mpp "
            f"{settings.target_mpp:g}; ask for target_mpp {slide.mpp:g} or more"
        )
    edge = max(round(settings.tile_size_px * settings.target_mpp / slide.mpp), 1)
    mask_downsample = max(settings.mask_mpp / slide.mpp, 1.0)
    mask_hw = tissue_mask(read_thumbnail(slide, mask_downsample), slide.mpp * mask_downsample)

    columns = np.arange(0, slide.width_px, edge)
    rows = np.arange(0, slide.height_px, edge)
    x_n, y_n = (grid.ravel() for grid in np.meshgrid(columns, rows))
    # Summed-area table: the tissue of any box from four look-ups; a box is rounded to whole mask pixels.
    table = np.pad(mask_hw.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    left, top = (np.rint(value / mask_downsample).astype(np.int64) for value in (x_n, y_n))
    span = max(round(edge / mask_downsample), 1)
    right, bottom = np.minimum(left + span, mask_hw.shape[1]), np.minimum(top + span, mask_hw.shape[0])
    left, top = np.minimum(left, right), np.minimum(top, bottom)
    tissue_n = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    keep = (tissue_n > 0) & (tissue_n >= settings.min_tissue_fraction * span**2)
    return TileGrid(np.stack([x_n[keep], y_n[keep]], axis=1).astype(np.int32), settings.tile_size_px, edge)


def read_thumbnail(slide: Slide, downsample: float) -> np.ndarray:
    """The whole slide at `downsample`: (h, w, 3) uint8 RGB.

    Raises InvalidInputError for a large slide without a pyramid, of which it would read every pixel.
    """
    if len(slide.level_downsamples) == 1 and slide.width_px * slide.height_px > MAX_SINGLE_LEVEL_PX:
        raise InvalidInputError(
            f"slide {slide.path} is one level of {slide.width_px} x {slide.height_px} pixels, no pyramid: finding "
            "tissue would read all of it; convert it to a tiled pyramidal TIFF, e.g. with vips tiffsave --pyramid "
            "--tile"
        )
    height, width = (max(int(size / downsample), 1) for size in (slide.height_px, slide.width_px))
    return slide.read(0, 0, width, height, downsample)
