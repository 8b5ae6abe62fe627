"""Pushes a slide through a patch encoder: slide -> bag, a few tiles in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from embeddings.errors import InvalidInputError
from embeddings.types import Bag
from encoders.protocol import Encoder
from encoders.slides.reader import Slide
from encoders.slides.tiling import TilingSettings, lay_tiles, read_tiles

TILE_BATCH_SIZE = 64
"""Tiles read and encoded at a time: 13 MB at 256 px; more does not pay on a CPU."""


def encode_slide(
    path: str | Path,
    encoder: Encoder,
    tiling_settings: TilingSettings,
    mpp: float | None = None,
    dtype: Literal["float16", "float32"] = "float16",
) -> Bag:
    """The bag of the slide at `path`: features_nd of `dtype`, coordinates, mpp, tile sizes and magnification.

    mpp: level-0 um per pixel, where the file does not say it or says it wrongly. A slide without tissue gives a bag of
    no tiles. Raises InvalidInputError for a slide that cannot be read or has no mpp, for an encoder that takes no
    tiles or whose spec names another tiling, and for codes that overflow `dtype`.
    """
    spec = encoder.spec
    if spec.input_kind != "tiles":
        raise InvalidInputError(f"encoder {spec.name} takes {spec.input_kind}, not tiles; name a patch encoder")
    tiling = tiling_settings.as_dict()
    if {name: spec.preprocessing.get(name) for name in tiling} != tiling:
        raise InvalidInputError(
            f"encoder {spec.name} was built for preprocessing {dict(spec.preprocessing)}, but slide {path} was to be "
            f"cut by {tiling}; build the encoder with preprocessing=tiling_settings.as_dict()"
        )
    with Slide(path, mpp) as slide:
        grid = lay_tiles(slide, tiling_settings)
        features_nd = np.empty((len(grid.coords_n2), spec.code_dim), dtype)
        row = 0
        for tiles_bhwc in read_tiles(slide, grid, TILE_BATCH_SIZE):
            with np.errstate(over="ignore"):  # Bag refuses what overflowed, with a sentence.
                features_nd[row : row + len(tiles_bhwc)] = encoder.encode(tiles_bhwc)
            row += len(tiles_bhwc)
        try:
            return Bag(
                features_nd,
                grid.coords_n2,
                mpp=slide.mpp,
                tile_size_px=grid.tile_size_px,
                tile_size_level0_px=grid.tile_size_level0_px,
                magnification=slide.magnification,
            )
        except InvalidInputError as error:
            raise InvalidInputError(f"slide {path}, encoder {spec.name}: {error}") from error
