"""One whole bag with its coordinates: our verified read against npy, npy with crc32c, and HDF5 as others lay it out.

CLAM's own files have chunks of 32 rows of float32, TRIDENT's of one row of float16. Bars, all in one run, of a bag of
dense codes: at most 2 x npy with crc32c, CLAM's at least 2 x, TRIDENT's at least 10 x, in random order and as a scan.
Run: python -m tests.benchmarks.bags
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import h5py
import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec
from tests.benchmarks.measuring import show

BAGS = 12
ROWS, DIM = 5_000, 1_024
SCANS = 3
BATCH_ROWS = 256
"""Others append one batch of patches after the other."""


def make_bags(relu: bool) -> list[Bag]:
    rng = np.random.default_rng(0)
    values_nd = rng.normal(size=(ROWS, DIM))
    base_nd = (np.maximum(values_nd, 0) if relu else values_nd).astype(np.float16)
    coords_n2 = rng.integers(0, 80_000, (ROWS, 2), dtype=np.int32)
    return [Bag(np.roll(base_nd, 7 * i, axis=0), coords_n2, 0.5, 256, 512) for i in range(BAGS)]


@dataclass(frozen=True)
class Layout:
    """One way to keep bags."""

    name: str
    write: Callable[[int], object]
    read: Callable[[int], object]


def hdf5(root: Path, bags: list[Bag], name: str, dtype: type, chunk_rows: int | None) -> Layout:
    folder = root / name.replace(" ", "-")
    folder.mkdir()

    def write(i: int) -> None:
        bag = bags[i]
        arrays = {"features": bag.features_nd.astype(dtype), "coords": np.asarray(bag.coords_n2)}
        with h5py.File(folder / f"{i}.h5", "w") as file:
            for key, values in arrays.items():
                if chunk_rows is None:
                    file.create_dataset(key, data=values)
                    continue
                shape = (chunk_rows, values.shape[1])
                data = file.create_dataset(key, (0, shape[1]), values.dtype, maxshape=(None, shape[1]), chunks=shape)
                for start in range(0, len(values), BATCH_ROWS):
                    stop = min(start + BATCH_ROWS, len(values))
                    data.resize(stop, axis=0)
                    data[start:stop] = values[start:stop]

    def read(i: int) -> object:
        with h5py.File(folder / f"{i}.h5") as file:
            return file["features"][:], file["coords"][:]  # pyright: ignore

    return Layout(name, write, read)


def npy(root: Path, bags: list[Bag], *, checked: bool) -> Layout:
    folder = root / f"npy-{checked}"
    folder.mkdir()
    sums: dict[Path, int] = {}

    def files(i: int) -> list[Path]:
        return [folder / f"{i}-{name}.npy" for name in ("features", "coords")]

    def write(i: int) -> None:
        for file, values in zip(files(i), (bags[i].features_nd, bags[i].coords_n2), strict=True):
            np.save(file, np.asarray(values))
            sums[file] = google_crc32c.value(np.load(file).reshape(-1).view(np.uint8))

    def read(i: int) -> object:
        arrays = [np.load(file) for file in files(i)]
        for file, values in zip(files(i), arrays, strict=True):
            if checked and google_crc32c.value(values.reshape(-1).view(np.uint8)) != sums[file]:
                raise SystemExit(f"{file} is damaged")
        return arrays

    return Layout("npy and crc32c" if checked else "npy", write, read)


def guidestore(root: Path, bags: list[Bag], name: str) -> Layout:
    key = CodeSetKey.of("bench", "histology", EncoderSpec("resnet50", "1", "tiles", DIM))
    store = EmbeddingStore.create(root / name.replace(" ", "-"))
    snapshots = []

    def write(i: int) -> None:
        with store.begin() as transaction:
            transaction.write_bag(key, f"C{i}", f"C{i}", bags[i], input_digests=[str(i)])

    def read(i: int) -> object:
        if not snapshots:  # the log is read once, as in training
            snapshots.append(store.snapshot())
        return snapshots[0].bags(key, f"C{i}")

    return Layout(name, write, read)


def cpu_ms(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return (time.process_time() - start) * 1e3


def main() -> None:
    dense, sparse = make_bags(relu=False), make_bags(relu=True)
    order = np.random.default_rng(1).permutation(BAGS).tolist()
    measured: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        layouts = [
            npy(root, dense, checked=True),
            npy(root, dense, checked=False),
            hdf5(root, dense, "HDF5 of CLAM, (32, d) float32", np.float32, 32),
            hdf5(root, dense, "HDF5 of TRIDENT, (1, d) float16", np.float16, 1),
            hdf5(root, dense, "HDF5 contiguous float16", np.float16, None),
            guidestore(root, dense, "guidestore, dense"),
            guidestore(root, sparse, "guidestore, ReLU (zstd)"),
        ]
        for layout in layouts:
            for i in range(BAGS):
                layout.write(i)
        times: dict[str, list[float]] = {layout.name: [] for layout in layouts}
        for i in [order[0], *order]:  # layouts by turns, so that a busy moment hits all of them
            for layout in layouts:
                times[layout.name].append(cpu_ms(lambda layout=layout, i=i: layout.read(i)))
        scans = {
            layout.name: [cpu_ms(lambda layout=layout: [layout.read(i) for i in range(BAGS)]) for _ in range(SCANS)]
            for layout in layouts
        }
        for name in times:
            measured[name] = (statistics.median(times[name][1:]), statistics.median(scans[name]) / BAGS)
    base = measured["npy and crc32c"]
    rows = [
        [name, *(text for own, other in zip(pair, base, strict=True) for text in (f"{own:.1f}", f"{own / other:.2f}"))]
        for name, pair in measured.items()
    ]
    show(
        f"{BAGS} bags of {ROWS} x {DIM} float16 with coordinates, warm, CPU ms of one core, medians",
        ["layout", "a random bag", "x npy and crc32c", "of a scan", "x npy and crc32c"],
        rows,
    )


if __name__ == "__main__":
    main()
