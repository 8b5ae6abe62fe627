"""What a commit and opening cost as the log grows, one code a commit: each against the first 1,000.

Bars: CPU per commit and the bytes of checkpoints per commit flat within 1.5 x up to 50,000; opening 50,000 under .3 s.
Run: python -m tests.benchmarks.growth [--commits 1000 5000] (to 50,000: 3 CPU minutes, on a RAM disk)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from tests.benchmarks.measuring import show

WINDOW = 500
"""Commits that are timed before each mark: five checkpoints are in them."""
KEY = CodeSetKey.of("bench", "mri", EncoderSpec("net", "1", "volumes", 4))


def commit(store: EmbeddingStore, number: int) -> None:
    with store.begin() as transaction:
        codes = CaseCodes((f"c{number}",), np.array([[number, 1, 2, 3]], np.float32), key=KEY)
        transaction.write_codes(codes, input_digests=[("d",)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, nargs="+", default=[1000, 3000], help="marks, ascending")
    parser.add_argument("--folder", type=Path, default=None, help="where the store is made, e.g. /dev/shm")
    given = parser.parse_args()
    rows: list[tuple[int, float, float, float, float]] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        root = Path(folder)
        store = EmbeddingStore.create(root)
        done, began = 0, 0.0
        for mark in given.commits:
            while done < mark:
                began = time.process_time() if done == mark - WINDOW else began
                commit(store, done)
                done += 1
            each_ms = (time.process_time() - began) * 1e3 / WINDOW
            start = time.process_time()
            opened = EmbeddingStore.open(root)
            open_ms = (time.process_time() - start) * 1e3
            opened.log.table()
            read_ms = (time.process_time() - start) * 1e3
            size = sum(file.stat().st_size for file in (root / "checkpoints").rglob("*") if file.is_file())
            rows.append((mark, each_ms, size / mark, open_ms, read_ms))
    _, each_ms, size, *_ = rows[0]
    show(
        f"A commit of one code, CPU; x = of that at {rows[0][0]:,}",
        ["commits", "a commit, ms", "x", "checkpoints, bytes a commit", "x", "open, ms", "and read the log, ms"],
        [
            [f"{n:,}", f"{ms:.2f}", f"{ms / each_ms:.2f}", f"{b:.0f}", f"{b / size:.2f}", f"{o:.0f}", f"{r:.0f}"]
            for n, ms, b, o, r in rows
        ],
    )


if __name__ == "__main__":
    main()
