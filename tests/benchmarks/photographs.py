"""Photographs to codes: JPEG files of 768 x 512 px, worked at 256 px, by the colour_texture encoder.

Threads are the workers: Pillow decodes and resamples without the interpreter's lock, numpy counts in short steps.
Target: 40 photographs/s with two workers on two cores.
Run: python tests/benchmarks/photographs.py [PHOTOGRAPHS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from guidestore.encoders import colour_texture as steps
from guidestore.encoders.photographs import load_photograph
from guidestore.encoders.registry import build_encoder
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import generate_derm7pt_phantom
from tests.benchmarks.measuring import median_ms, show

REPEATS = 5


def rate(files: list[Path], workers: int) -> float:
    """Photographs per second, loaded and encoded one at a time by each worker."""
    encoder = build_encoder("colour_texture")

    def work(file: Path) -> np.ndarray:
        return encoder.encode(load_photograph(file)[None])

    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        codes = list(pool.map(work, files))
    assert np.isfinite(np.concatenate(codes)).all()
    return len(files) / (time.perf_counter() - start)


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        release = Path(folder) / "release_v0"
        cases = max(wanted // 2, 20)
        start = time.perf_counter()
        generate_derm7pt_phantom(release, cases=cases, seed=1)
        drawing_s = time.perf_counter() - start
        files = sorted((release / "images").rglob("*.jpg"))
        rate(files[:20], 2)
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(REPEATS):  # In turns, so that a busy machine slows both alike.
            for workers, own in rates.items():
                own.append(rate(files, workers))
        show(
            f"{len(files)} JPEG files of 768 x 512 px to codes; medians of {REPEATS}",
            ["workers", "photographs/s", "of each repeat"],
            [
                [str(workers), f"{statistics.median(own):.0f}", " ".join(f"{value:.0f}" for value in own)]
                for workers, own in rates.items()
            ],
        )
        show_steps(files[0])
        print(f"the phantom draws {cases / drawing_s:.0f} pairs of such files a second, with one worker")


def show_steps(file: Path) -> None:
    picture = Image.fromarray(load_photograph(file))
    gray = picture.convert("L")
    small = picture.resize((steps.COLOUR_PX, steps.COLOUR_PX), Image.Resampling.BOX)
    lab_hwc, hsv_hwc = steps.rgb2lab(np.asarray(small)), np.asarray(small.convert("HSV"))
    grays = [np.asarray(gray.resize((edge_px, edge_px))) for edge_px in steps.LBP_EDGES_PX]
    tiny_hw = np.asarray(gray.resize((steps.HOG_EDGE_PX, steps.HOG_EDGE_PX)))
    actions = {
        "load_photograph": lambda: load_photograph(file),
        "to Lab": lambda: steps.rgb2lab(np.asarray(small)),
        "colour histograms, whole": lambda: steps._colours(lab_hwc, hsv_hwc),
        "contrasts": lambda: steps._contrasts(lab_hwc),
        "binary patterns, all scales": lambda: [steps._binary_patterns(gray_hw) for gray_hw in grays],
        "gradients": lambda: steps._gradients(tiny_hw),
        "encoding, all steps": lambda: steps._describe(picture),
    }
    rows = [[name, f"{median_ms(action, 30):.2f}"] for name, action in actions.items()]
    show("steps of one photograph", ["step", "ms"], rows)


if __name__ == "__main__":
    main()
