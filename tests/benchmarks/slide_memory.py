"""Memory while encoding: one slide of 40,000 x 40,000 pixels, and forty smaller ones in a row.

Target: at most 2.5 GB at the peak of the large one, and less than 5 % more memory after the fortieth than after the
fifth. The slides are made here, JPEG-compressed and tiled, with the texture encoder over them in a process of its own.
Run: python tests/benchmarks/slide_memory.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from guidestore.embeddings.types import Bag
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.slides.encode import encode_slides
from guidestore.encoders.slides.stream import SlideJob
from guidestore.encoders.slides.tiling import TilingSettings
from tests.benchmarks.measuring import show

TILE_PX = 512
LARGE_PX, LARGE_TISSUE_PX = 40_000, 11_000
SMALL_PX, SMALL_TISSUE_PX = 4_000, 1_800
SMALL_SLIDES = 40
DOWNSAMPLES = (1, 4, 16)
MPP = 0.5


def write_slide(path: Path, size_px: int, tissue_px: int, seed: int) -> None:
    """A pyramid with tissue in its upper left square. Made tile by tile, so that it never lies in memory whole."""
    rng = np.random.default_rng(seed)
    glass = np.full((TILE_PX, TILE_PX, 3), 243, np.uint8)
    tissue = [
        np.clip(rng.normal((190, 110, 170), 25, (TILE_PX // 4, TILE_PX // 4, 3)).repeat(4, 0).repeat(4, 1), 0, 255)
        for _ in range(8)
    ]
    tissue = [tile.astype(np.uint8) for tile in tissue]

    def tiles(level_px: int, level_tissue_px: int) -> Iterator[np.ndarray]:
        for y in range(0, level_px, TILE_PX):
            for x in range(0, level_px, TILE_PX):
                width, height = (min(max(level_tissue_px - place, 0), TILE_PX) for place in (x, y))
                tile = glass.copy() if width and height else glass
                tile[:height, :width] = tissue[(3 * x + y) // TILE_PX % len(tissue)][:height, :width]
                yield tile

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, downsample in enumerate(DOWNSAMPLES):
            level_px = size_px // downsample
            tiff.write(
                tiles(level_px, tissue_px // downsample),
                shape=(level_px, level_px, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(number > 0),
                metadata=None,
                resolution=(1e4 / MPP, 1e4 / MPP),
                resolutionunit="CENTIMETER",
            )


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def encode(paths: list[Path]) -> None:
    """Prints tiles and resident MB after each slide, then the peak MB. Run in a process of its own."""
    settings = TilingSettings(MPP)
    encoder = build_encoder("texture", preprocessing=settings.as_dict())
    for _, bag in encode_slides([SlideJob(path) for path in paths], encoder, settings):
        assert isinstance(bag, Bag), bag
        print(len(bag), resident_mb())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def encoded_apart(paths: list[Path]) -> tuple[list[tuple[int, float]], float, float]:
    """(tiles, resident MB) after each slide, peak MB, seconds."""
    start = time.perf_counter()
    command = [sys.executable, __file__, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *slides, peak = done.stdout.splitlines()
    rows = [(int(tiles), float(memory)) for tiles, memory in (line.split() for line in slides)]
    return rows, float(peak), time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_slide(folder / "large.tiff", LARGE_PX, LARGE_TISSUE_PX, 0)
        small = [folder / f"{i}.tiff" for i in range(8)]
        for seed, path in enumerate(small):
            write_slide(path, SMALL_PX, SMALL_TISSUE_PX, seed)
        large_rows, large_peak, large_s = encoded_apart([folder / "large.tiff"])
        rows, peak, seconds = encoded_apart([small[i % len(small)] for i in range(SMALL_SLIDES)])
    fifth, last = rows[4][1], rows[-1][1]
    show(
        "Memory of the process; targets: peak at most 2,500 MB, growth less than 5 %",
        ["slides", "tiles", "s", "peak, MB", "after the 5th, MB", "after the last, MB", "growth"],
        [
            [f"1 of {LARGE_PX} px", str(large_rows[0][0]), f"{large_s:.0f}", f"{large_peak:.0f}", "", "", ""],
            [
                f"{SMALL_SLIDES} of {SMALL_PX} px",
                str(sum(tiles for tiles, _ in rows)),
                f"{seconds:.0f}",
                f"{peak:.0f}",
                f"{fifth:.0f}",
                f"{last:.0f}",
                f"{100 * (last / fifth - 1):+.1f} %",
            ],
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        encode([Path(argument) for argument in sys.argv[1:]])
    else:
        main()
