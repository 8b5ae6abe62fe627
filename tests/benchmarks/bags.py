"""Bags: our verified zarr against CLAM-style HDF5 (one row per chunk, appended, unverified) and plain npy.

Target: a random bag is read, and all bags are scanned, at least twice as fast as from that HDF5.
Run: python tests/benchmarks/bags.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec
from tests.benchmarks.measuring import median_ms, show

BAGS = 20
ROWS, DIM = 5_000, 1_024
REPEATS = 5
BATCH_ROWS = 256
"""CLAM appends one batch of patches after the other."""


def make_bags() -> list[Bag]:
    rng = np.random.default_rng(0)
    base_nd = np.maximum(rng.normal(size=(ROWS, DIM)), -0.5).astype(np.float16)
    coords_n2 = rng.integers(0, 80_000, (ROWS, 2), dtype=np.int32)
    return [Bag(np.roll(base_nd, 7 * i, axis=0), coords_n2, 0.5, 256, 512) for i in range(BAGS)]


def write_hdf5(path: Path, bag: Bag, dtype: type) -> None:
    with h5py.File(path, "w") as file:
        features = file.create_dataset("features", (0, DIM), dtype, maxshape=(None, DIM), chunks=(1, DIM))
        coords = file.create_dataset("coords", (0, 2), np.int32, maxshape=(None, 2), chunks=(1, 2))
        for start in range(0, len(bag), BATCH_ROWS):
            stop = min(start + BATCH_ROWS, len(bag))
            features.resize(stop, axis=0)
            coords.resize(stop, axis=0)
            features[start:stop] = bag.features_nd[start:stop]
            coords[start:stop] = bag.coords_n2[start:stop]


def read_hdf5(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(path) as file:
        return file["features"][:], file["coords"][:]  # pyright: ignore


class Layout:
    """One way to keep bags: `write(i)` and `read(i)`."""

    def __init__(self, name, write, read) -> None:
        self.name, self.write, self.read = name, write, read


def layouts(root: Path, bags: list[Bag]) -> list[Layout]:
    spec = EncoderSpec("resnet50", "1", "tiles", DIM)
    key = CodeSetKey.of("bench", "histology", spec)
    store = EmbeddingStore.create(root / "store")

    def write(i: int) -> None:
        with store.begin() as transaction:
            transaction.write_bag(key, f"C{i}", f"C{i}", bags[i], input_digests=[str(i)])

    def opened():
        # The log is folded once, as in training; only the bag itself is read again and again.
        snapshot = getattr(opened, "snapshot", None) or store.snapshot()
        opened.snapshot = snapshot  # pyright: ignore[reportFunctionMemberAccess]
        return snapshot

    def hdf5(name: str, dtype: type) -> Layout:
        folder = root / name.replace(" ", "-")
        folder.mkdir()
        return Layout(
            name, lambda i: write_hdf5(folder / f"{i}.h5", bags[i], dtype), lambda i: read_hdf5(folder / f"{i}.h5")
        )

    npy = root / "npy"
    npy.mkdir()
    return [
        hdf5("CLAM HDF5 float32", np.float32),
        hdf5("CLAM HDF5 float16", np.float16),
        Layout(
            "npy float16", lambda i: np.save(npy / f"{i}.npy", bags[i].features_nd), lambda i: np.load(npy / f"{i}.npy")
        ),
        Layout("guidestore (verified)", write, lambda i: opened().bags(key, f"C{i}")),
    ]


def main() -> None:
    bags = make_bags()
    order = np.random.default_rng(1).permutation(BAGS)
    with tempfile.TemporaryDirectory() as folder:
        measured: dict[str, tuple[float, float, float]] = {}
        for layout in layouts(Path(folder), bags):
            numbers = iter(range(BAGS))
            written = median_ms(lambda write=layout.write, numbers=numbers: write(next(numbers)), BAGS - 1)
            drawn = iter(np.tile(order, 3))
            random = median_ms(lambda read=layout.read, drawn=drawn: read(int(next(drawn))), 2 * BAGS)
            scan = median_ms(lambda read=layout.read: [read(i) for i in range(BAGS)], REPEATS)
            measured[layout.name] = (written, random, scan)
    base = measured["CLAM HDF5 float32"]
    show(
        f"{BAGS} bags of {ROWS} x {DIM}, warm; medians; x = times as fast as CLAM HDF5 float32",
        ["layout", "write one, ms", "x", "read a random one, ms", "x", "scan all, ms", "x"],
        [
            [
                name,
                *(
                    text
                    for own, other in zip(times, base, strict=True)
                    for text in (f"{own:.1f}", f"{other / own:.1f}")
                ),
            ]
            for name, times in measured.items()
        ],
    )


if __name__ == "__main__":
    main()
