"""Whether reading keeps a GPU busy, told without one: an encoder sleeps for a GPU's time, and so does the writer.

The pipeline is to keep 0.95 of the slower of reader and encoder with 2 readers, while a bag's writing (150 ms) costs
nothing. Below it, what a reader spends on one tile, step by step: how many cores a GPU of 3,000 to 6,000 ViT-L tiles a
second needs. Run: python -m tests.benchmarks.feeding [SLIDE]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide

from guidestore.embeddings.types import Bag, EncoderSpec
from guidestore.encoders.slides.direct import DecodedTiles, DirectReader
from guidestore.encoders.slides.encode import encode_slides
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.stream import SlideJob, TileBatch, stream_slides
from guidestore.encoders.slides.tiling import TilingSettings, lay_tiles
from tests.benchmarks.measuring import show

DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
SLIDE = DATA / "slides/CMU-1-Small-Region.svs"
TILING = TilingSettings(0.5, 256)
SLIDES, REPEATS, READERS = 32, 3, 2
WRITE_S = 0.15


class Sleeping:
    """An encoder of so many tiles a second that leaves the CPU alone, as a GPU does."""

    spec = EncoderSpec("sleeping", "1", "tiles", 8, preprocessing=TILING.as_dict())

    def __init__(self, tiles_per_s: float) -> None:
        self._rate = tiles_per_s

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        time.sleep(len(batch) / self._rate)
        return np.zeros((len(batch), 8), np.float32)


def read_rate(jobs: list[SlideJob]) -> float:
    start, tiles = time.perf_counter(), 0
    for event in stream_slides(jobs, TILING, readers=READERS):
        assert isinstance(event, TileBatch)
        tiles += len(event.tiles_bhwc)
    return tiles / (time.perf_counter() - start)


def pipeline_rate(jobs: list[SlideJob], tiles_per_s: float, write_s: float = 0.0) -> float:
    start, tiles = time.perf_counter(), 0
    for _, bag in encode_slides(jobs, Sleeping(tiles_per_s), TILING, readers=READERS):
        assert isinstance(bag, Bag)
        tiles += len(bag)
        time.sleep(write_s)
    return tiles / (time.perf_counter() - start)


def feeding(jobs: list[SlideJob]) -> list[list[str]]:
    rows = []
    for what, factor in (("half as fast as the readers", 0.5), ("as fast", 1.0), ("twice as fast", 2.0)):
        shares, rates = [], []
        for _ in range(REPEATS):  # In turns, so that a busy machine slows all alike.
            reader = read_rate(jobs)
            own = factor * reader
            # A writer that takes a third of the encoder's own time for a slide.
            tiles = len(lay(jobs[0]))
            whole = pipeline_rate(jobs, own, min(WRITE_S, tiles / own / 3))
            shares.append(whole / min(reader, own))
            rates.append((reader, own, whole))
        middle = statistics.median(shares)
        reader, own, whole = rates[shares.index(middle)]
        rows.append([what, f"{reader:.0f}", f"{own:.0f}", f"{whole:.0f}", f"{middle:.2f} (bar 0.95)"])
    return rows


def lay(job: SlideJob) -> np.ndarray:
    with Slide(job.path) as slide:
        return lay_tiles(slide, TILING).coords_n2


def steps(path: Path) -> list[list[str]]:
    """CPU milliseconds of one reader per tile of 256 px."""
    with Slide(path) as slide:
        grid = lay_tiles(slide, TILING)
    block = 1024
    corners = [
        tuple(corner) for corner in sorted({(x // block * block, y // block * block) for x, y in grid.coords_n2})
    ]
    per_tile = len(grid.coords_n2)

    def cost(action: Callable[[], object]) -> float:
        action()
        start = time.process_time()
        for _ in range(5):
            action()
        return (time.process_time() - start) / 5 / per_tile * 1e3

    def opened() -> None:
        with Slide(path) as slide:
            lay_tiles(slide, TILING)

    found = {"opening, and finding tissue": cost(opened)}
    with openslide.OpenSlide(path) as slide:
        reader = DirectReader(path, slide, DecodedTiles())
        page = reader._levels.get(0)
        if page is not None:
            numbers = range(len(page.lengths))
            share = sum(1 for _ in numbers) / per_tile
            found[f"reading {share:.1f} file tiles"] = cost(
                lambda: [os.pread(page.file, page.lengths[i], page.offsets[i]) for i in numbers]
            )
            found["   and decoding them"] = cost(lambda: [page.tile(i) for i in numbers])
        reader.close()
    with Slide(path) as ours:
        found["all of it to blocks of 1,024 px, borders kept"] = cost(
            lambda: [ours.read(x, y, block, block, 1.0) for x, y in corners]
        )
    tile, into = np.zeros((256, 256, 3), np.uint8), np.empty((64, 256, 256, 3), np.uint8)

    def put() -> None:
        for i in range(per_tile):
            into[i % 64] = tile

    found["putting a tile into its batch"] = cost(put)
    with openslide.OpenSlide(path) as slide:
        plain = cost(lambda: [slide.read_region((x, y), 0, (block, block)).convert("RGB") for x, y in corners])
    found["OpenSlide alone to such blocks, for comparison"] = plain
    return [[what, f"{ms:.3f}", f"{1e3 / ms:.0f}"] for what, ms in found.items()]


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SLIDE
    title = f"{SLIDES} x {path.name}, {READERS} readers, an encoder that sleeps; tiles/s, medians of {REPEATS}"
    show(title, ["encoder", "reader", "encoder", "pipeline", "of the slower"], feeding([SlideJob(path)] * SLIDES))
    show("what one reader spends on a tile of 256 px", ["step", "CPU ms", "tiles/s a core"], steps(path))


if __name__ == "__main__":
    main()
