"""Reading tiles: our stream with two readers against a plain OpenSlide loop in one thread.

Both cut the same 256 px tiles at the slide's own resolution from the same slides, opening included. The places of the
tiles are given to both: finding tissue is no part of the loop, and reads all of a slide of one level once more.
Target: the stream gives tiles at least 1.6 times as fast as the loop, where two cores are free: nearly all of the time
goes into OpenSlide's decoding and painting, so that two plain loops side by side show how much a second core gives.
Run: python tests/benchmarks/tile_reading.py [SLIDE]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import openslide

from guidestore.encoders.slides import stream
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.stream import SlideJob, TileBatch, stream_slides
from guidestore.encoders.slides.tiling import TileGrid, TilingSettings
from tests.benchmarks.measuring import show

DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
SLIDE = DATA / "slides/CMU-1-Small-Region.svs"
TILE_PX = 256
SLIDES = 8
"""The slide that many times in a row: some seconds a repeat."""
REPEATS = 7


def whole_grid(slide: Slide) -> TileGrid:
    """All tiles that lie wholly within the slide."""
    columns = np.arange(0, slide.width_px - TILE_PX + 1, TILE_PX)
    rows = np.arange(0, slide.height_px - TILE_PX + 1, TILE_PX)
    coords_n2 = np.stack([axis.ravel() for axis in np.meshgrid(columns, rows)], axis=1).astype(np.int32)
    return TileGrid(coords_n2, TILE_PX, TILE_PX)


def plain_loop(path: Path, grid: TileGrid, slides: int = SLIDES) -> int:
    tiles = 0
    for _ in range(slides):
        with openslide.OpenSlide(path) as slide:
            for x, y in grid.coords_n2.tolist():
                np.asarray(slide.read_region((x, y), 0, (TILE_PX, TILE_PX)).convert("RGB"))
                tiles += 1
    return tiles


def two_plain_loops(path: Path, grid: TileGrid) -> int:
    """What a second core gives on this machine just now: the bound for two readers."""
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda _: plain_loop(path, grid, SLIDES // 2), range(2)))


def streamed(path: Path, grid: TileGrid, settings: TilingSettings, readers: int) -> int:
    tiles = 0
    with mock.patch.object(stream, "lay_tiles", return_value=grid):
        for event in stream_slides([SlideJob(path)] * SLIDES, settings, readers=readers):
            assert isinstance(event, TileBatch)
            tiles += len(event.tiles_bhwc)
    return tiles


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SLIDE
    with Slide(path) as slide:
        grid, settings = whole_grid(slide), TilingSettings(slide.mpp, TILE_PX)

    actions: dict[str, Callable[[], int]] = {
        "plain loop, 1 thread": lambda: plain_loop(path, grid),
        "plain loops, 2 threads": lambda: two_plain_loops(path, grid),
        "stream, 1 reader": lambda: streamed(path, grid, settings, 1),
        "stream, 2 readers": lambda: streamed(path, grid, settings, 2),
    }
    rates: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(REPEATS):  # In turns, so that a busy machine slows all alike.
        for name, action in actions.items():
            start = time.perf_counter()
            tiles = action()
            rates[name].append(tiles / (time.perf_counter() - start))
    base = rates["plain loop, 1 thread"]
    show(
        f"{SLIDES} x {path.name}, {len(grid.coords_n2)} tiles each; medians of {REPEATS}; x = against the plain loop",
        ["way", "tiles/s", "x", "x of each repeat"],
        [
            [
                name,
                f"{statistics.median(own):.0f}",
                f"{statistics.median(a / b for a, b in zip(own, base, strict=True)):.2f}",
                " ".join(f"{a / b:.2f}" for a, b in zip(own, base, strict=True)),
            ]
            for name, own in rates.items()
        ],
    )


if __name__ == "__main__":
    main()
