"""Pushes slides through a patch encoder: slide -> bag, while the tiles to come are read by threads."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag
from guidestore.encoders.lanes import in_lanes
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.slides.stream import (
    PREFETCH_TILES,
    TILE_BATCH_SIZE,
    SlideFailure,
    SlideJob,
    TileBatch,
    stream_slides,
)
from guidestore.encoders.slides.tiling import TilingSettings

BagDtype = Literal["float16", "float32"]

_NO_TILES = np.empty((0, 0, 0, 3), np.uint8)


def encode_slides(
    jobs: Iterable[SlideJob],
    encoder: Encoder,
    tiling_settings: TilingSettings,
    *,
    also: Sequence[Encoder] = (),
    dtype: BagDtype = "float16",
    readers: int = 2,
    batch_size: int | None = None,
    prefetch_tiles: int = PREFETCH_TILES,
) -> Generator[tuple[SlideJob, Bag | InvalidInputError]]:
    """Each slide's bag in the order of `jobs` as it is finished, or why that slide has none.

    A bag holds features_nd of `dtype`, coordinates row by row, mpp, tile sizes and magnification; a slide without
    tissue gives a bag of no tiles. A slide that cannot be read or has no mpp, and codes that overflow `dtype`, give an
    InvalidInputError in the bag's place. Batches never hold tiles of two slides, so a bag is the same bit for bit
    whichever slides come with it. also: the same encoder on other devices, which share the batches. readers,
    batch_size, prefetch_tiles: as in `stream_slides`; batch_size None: as the encoder likes it.

    While a bag is with the caller the next ones are read and encoded.

    Raises InvalidInputError at once for an encoder that takes no tiles or whose spec names another tiling. Closing the
    generator stops the readers.
    """
    spec = encoder.spec
    if spec.input_kind != "tiles":
        raise InvalidInputError(f"encoder {spec.name} takes {spec.input_kind}, not tiles; name a patch encoder")
    tiling = tiling_settings.as_dict()
    if {name: spec.preprocessing.get(name) for name in tiling} != tiling:
        raise InvalidInputError(
            f"encoder {spec.name} was built for preprocessing {dict(spec.preprocessing)}, but slides were to be cut by "
            f"{tiling}; build the encoder with preprocessing=tiling_settings.as_dict()"
        )
    size = batch_size or getattr(encoder, "batch_tiles", TILE_BATCH_SIZE)
    events = stream_slides(
        jobs,
        tiling_settings,
        readers=readers,
        batch_size=size,
        prefetch_tiles=max(prefetch_tiles, 2 * size),
        empty=getattr(encoder, "empty", np.empty),
    )
    return _encoded(events, [encoder, *also], dtype)


def encode_slide(
    path: str | Path,
    encoder: Encoder,
    tiling_settings: TilingSettings,
    mpp: float | None = None,
    dtype: BagDtype = "float16",
) -> Bag:
    """The bag of the slide at `path`, as `encode_slides` gives it.

    mpp: level-0 um per pixel, where the file does not say it or says it wrongly. Raises InvalidInputError for what
    `encode_slides` raises or gives in the bag's place.
    """
    with closing(encode_slides([SlideJob(path, mpp)], encoder, tiling_settings, dtype=dtype)) as encoded:
        _, bag = next(encoded)
    if isinstance(bag, InvalidInputError):
        raise bag
    return bag


def _encoded(
    events: Generator[TileBatch | SlideFailure], encoders: Sequence[Encoder], dtype: BagDtype
) -> Generator[tuple[SlideJob, Bag | InvalidInputError]]:
    spec = encoders[0].spec
    features_nd: np.ndarray | None = None
    with closing(in_lanes(_batches(events), encoders)) as coded:
        for event, codes_bd in coded:
            if isinstance(event, SlideFailure):
                features_nd = None
                yield event.job, event.error
                continue
            if isinstance(codes_bd, Exception):
                raise codes_bd
            if features_nd is None:
                features_nd = np.empty((len(event.grid.coords_n2), spec.code_dim), dtype)
            with np.errstate(over="ignore"):  # Bag refuses what overflowed, with a sentence.
                features_nd[event.rows_b] = codes_bd
            if event.is_last:
                bag = _bag(event, features_nd, spec.name)
                features_nd = None
                yield event.job, bag


def _batches(
    events: Generator[TileBatch | SlideFailure],
) -> Iterator[tuple[TileBatch | SlideFailure, np.ndarray | None]]:
    """Each event, without its tiles, and those: they are free for others as soon as they are encoded."""
    with closing(events):
        for event in events:
            if isinstance(event, SlideFailure):
                yield event, None
            else:
                yield replace(event, tiles_bhwc=_NO_TILES), event.tiles_bhwc
                del event


def _bag(last: TileBatch, features_nd: np.ndarray, encoder: str) -> Bag | InvalidInputError:
    try:
        return Bag(
            features_nd,
            last.grid.coords_n2,
            mpp=last.mpp,
            tile_size_px=last.grid.tile_size_px,
            tile_size_level0_px=last.grid.tile_size_level0_px,
            magnification=last.magnification,
        )
    except InvalidInputError as error:
        return InvalidInputError(f"slide {last.job.path}, encoder {encoder}: {error}")
