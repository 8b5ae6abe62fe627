"""Which formats notice a flipped bit: 40 flips spread over the data, read by what the store uses and others.

Target: no flip in zstd with checksum, crc32c or verified Parquet gives other values. Baselines: npy, HDF5, plain zarr,
DuckDB's Parquet reader.
Run: python tests/benchmarks/flipped_bits.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from tests.benchmarks.measuring import show

FLIPS = 40
CODES_ND = np.random.default_rng(0).standard_normal((1024, 256)).astype(np.float16)


def write_zarr(folder: Path, codecs: list) -> None:
    array = zarr.create_array(
        folder, shape=CODES_ND.shape, dtype=CODES_ND.dtype, chunks=CODES_ND.shape, compressors=codecs
    )
    array[:] = CODES_ND


def read_zarr(folder: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(folder, mode="r")[:])


def write_h5(file: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened["features"] = CODES_ND


def read_h5(file: Path) -> np.ndarray:
    with h5py.File(file) as opened:
        return np.asarray(opened["features"])


def write_parquet(file: Path) -> None:
    table = pa.table({f"c{i}": CODES_ND[:, i].astype(np.float32) for i in range(8)})
    pq.write_table(table, file, compression="none", use_dictionary=False, write_page_checksum=True)


def read_pyarrow(file: Path) -> np.ndarray:
    columns = pq.read_table(file, page_checksum_verification=True).to_pydict().values()
    return np.asarray(list(columns), np.float32)


def read_duckdb(file: Path) -> np.ndarray:
    columns = duckdb.sql(f"SELECT * FROM '{file}'").fetchnumpy().values()
    return np.asarray(list(columns), np.float32)


CASES: tuple[tuple[str, Callable[[Path], None], Callable[[Path], np.ndarray], str], ...] = (
    ("npy", lambda path: np.save(path, CODES_ND), lambda path: np.load(path), ".npy"),
    ("HDF5, contiguous", write_h5, read_h5, ".h5"),
    ("zarr, no checksum", lambda path: write_zarr(path, []), read_zarr, ".zarr"),
    ("Parquet with page checksums, read by DuckDB", write_parquet, read_duckdb, ".parquet"),
    ("the same, read by pyarrow, verifying", write_parquet, read_pyarrow, ".parquet"),
    ("zarr, crc32c", lambda path: write_zarr(path, [Crc32cCodec()]), read_zarr, ".zarr"),
    (
        "zarr, zstd with checksum",
        lambda path: write_zarr(path, [ZstdCodec(level=1, checksum=True)]),
        read_zarr,
        ".zarr",
    ),
)


def data_file(path: Path) -> Path:
    """The largest file of what was written: its data."""
    return path if path.is_file() else max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def main() -> None:
    rows = []
    for name, write, read, suffix in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"codes{suffix}"
            write(path)
            whole, file = read(path).tobytes(), data_file(path)
            content = file.read_bytes()
            refused = silent = same = 0
            for flip in range(FLIPS):
                at = len(content) * (2 * flip + 1) // (2 * FLIPS)
                damaged = bytearray(content)
                damaged[at] ^= 1 << (flip % 8)
                file.write_bytes(damaged)
                try:
                    got = read(path).tobytes()
                except Exception:
                    refused += 1
                else:
                    silent, same = silent + (got != whole), same + (got == whole)
            rows.append((name, str(refused), str(silent), str(same)))
    show(f"{FLIPS} flipped bits", ("", "refused", "other values, no error", "same values"), rows)


if __name__ == "__main__":
    main()
