"""Commits of many processes on one store: how many are kept, and how many a second, against one process alone.

Target: all 800 of 8 processes x 100 commits kept, 150 a second.
Run: python -m tests.benchmarks.commits [--commits 100] [--repeats 3] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.records import Entry, FileRef
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from tests.benchmarks.measuring import show

PROCESSES = 8


def append(root: Path, name: int, commits: int) -> None:
    """Commits that name a file which is there already: the log alone."""
    log = CommitLog(LocalStorage(root))
    file = FileRef("format.json", 14, "0" * 64)
    for i in range(commits):
        log.append(add=[Entry(f"{name}-{i}", "rows:cases", file.path, (file,))], actor={"host": "example"})


def transact(root: Path, name: int, commits: int) -> None:
    """Whole transactions, each with a small Parquet file of its own."""
    store = EmbeddingStore.open(root)
    for i in range(commits):
        with store.begin() as transaction:
            transaction.write_rows("cases", [{"cohort": "bench", "case_id": f"{name}-{i}"}], cohort="bench")


def wait_and(work, root: Path, name: int, commits: int, barrier) -> None:
    barrier.wait()
    work(root, name, commits)


def measure(work, processes: int, commits: int, place: Path | None) -> tuple[int, float]:
    """(commits kept, commits a second) on a fresh store."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        root = Path(folder)
        EmbeddingStore.create(root)
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(processes + 1)
        workers = [
            context.Process(target=wait_and, args=(work, root, name, commits, barrier)) for name in range(processes)
        ]
        for worker in workers:
            worker.start()
        barrier.wait()
        start = time.perf_counter()
        for worker in workers:
            worker.join()
        taken = time.perf_counter() - start
        store = EmbeddingStore.open(root)
        return len(store.log.live()), processes * commits / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100, help="of each process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where the stores are made")
    given = parser.parse_args()
    rows = []
    for title, work in (("log alone", append), ("with a file each", transact)):
        rates: dict[int, float] = {}
        for processes in (1, PROCESSES):
            runs = [measure(work, processes, given.commits, given.folder) for _ in range(given.repeats)]
            rates[processes] = statistics.median(rate for _, rate in runs)
            kept = min(kept for kept, _ in runs)
            rows.append(
                [
                    title,
                    f"{processes} x {given.commits}",
                    f"{kept} of {processes * given.commits}",
                    f"{rates[processes]:.0f}",
                    f"{rates[processes] / rates[1]:.2f}",
                ]
            )
    show(
        f"Commits, synced to disk; medians of {given.repeats} (kept: the least)",
        ["commits", "processes x commits", "kept", "a second", "x one process"],
        rows,
    )


if __name__ == "__main__":
    main()
