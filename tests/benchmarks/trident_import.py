"""An import of TRIDENT's features against reading them once with h5py and hashing them: CPU and peak memory.

Bars for 30 slides x 10,000 x 1,536 float16 in chunks of one row: 1.5 x the CPU, 500 MB; the memory of a slide of
100,000 x 2,560 float32 likewise. Run: python -m tests.benchmarks.trident_import [--slides 30] [--tiles 10000] …
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measuring import cost, show

MAKE = """
import sys, h5py, numpy as np
from pathlib import Path
folder, slides, tiles, dim, dtype = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
place = Path(folder) / "20x_256px_0px_overlap" / "features_bench"
place.mkdir(parents=True)
for slide in range(slides):
    with h5py.File(place / f"slide-{slide}.h5", "w") as handle:
        made = handle.create_dataset("features", (tiles, dim), dtype, chunks=(1, dim), maxshape=(None, dim))
        rng = np.random.default_rng(slide)
        for at in range(0, tiles, 1000):
            rows = min(1000, tiles - at)
            made[at : at + rows] = rng.standard_normal((rows, dim), dtype=np.float32).astype(dtype)
        made.attrs["encoder"] = "bench"
        places = np.stack([np.arange(tiles) % 300 * 256, np.arange(tiles) // 300 * 256], 1)
        handle.create_dataset("coords", data=places, chunks=(1, 2), maxshape=(None, 2))
        handle["coords"].attrs.update(patch_size=256, patch_size_level0=256, level0_magnification=20,
            target_magnification=20, overlap=0, level0_width=80000, level0_height=90000)
"""
READ = """
import sys, hashlib, h5py
from pathlib import Path
for file in sorted(Path(sys.argv[1]).rglob("*.h5")):
    with h5py.File(file) as handle:
        for at in range(0, len(handle["features"]), 4096):
            handle["features"][at : at + 4096]
        handle["coords"][:]
    with file.open("rb") as handle:
        hashlib.file_digest(handle, "sha256")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=30)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--dtype", default="float16", choices=("float16", "float32"))
    parser.add_argument("--folder", type=Path, default=None, help="where the files and stores are made")
    given = parser.parse_args()
    form = [str(given.slides), str(given.tiles), str(given.dim), given.dtype]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        job, store = f"{folder}/job", f"{folder}/store"
        cost([sys.executable, "-c", MAKE, job, *form])
        read = cost([sys.executable, "-c", READ, job])
        told = ("--cohort", "bench", "--modality", "histology", "--case-is-slide", "--mpp", "0.5", "--store", store)
        first = cost([sys.executable, "-m", "guidestore", "import", job, *told])
        again = cost([sys.executable, "-m", "guidestore", "import", job, *told])
    rows = (("read once and hashed", read), ("import", first), ("import again", again))
    show(
        f"{given.slides} slides x {given.tiles:,} x {given.dim:,} {given.dtype} in TRIDENT's chunks",
        ["what", "CPU s", "x", "peak, MB"],
        [[name, f"{seconds:.2f}", f"{seconds / read[0]:.2f}", str(peak_mb)] for name, (seconds, peak_mb) in rows],
    )


if __name__ == "__main__":
    main()
