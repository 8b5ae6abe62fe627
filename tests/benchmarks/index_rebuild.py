"""How long a full rebuild of the DuckDB index takes for 100,000 artifacts in a store with a checkpoint.

    python tests/benchmarks/index_rebuild.py [--builds 5]

The artifacts: 60,000 bags (their log entries; the index reads no bag), 38,400 case codes of d = 256 in 600 Parquet
files of 64, as encoders commit them, and 1,600 runs in 25 batches of 64 with metrics and 20 predictions each. Prints
one table; the target is 2 s.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.records import Entry, FileRef
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from guidestore.warehouse.indexer import build_index

BAGS, CODES, RUNS, BATCH, DIM = 60_000, 38_400, 1_600, 64, 256
TARGET_S = 2.0


def fill(store: EmbeddingStore, rng: np.random.Generator) -> None:
    """The 100,000 artifacts in three commits, and a checkpoint."""
    patches = CodeSetKey.of("bench", "histology", EncoderSpec("patches", "1", "tiles", 1024))
    entries = []
    for number in range(BAGS):
        artifact = sha256_of(["bag", number])
        path = f"objects/bag/{artifact[:2]}/{artifact}/0"
        files = tuple(
            FileRef(f"{path}/{name}", 1, artifact) for name in ("zarr.json", "features/c/0/0", "coords/c/0/0")
        )
        entries.append(
            Entry(
                artifact=artifact,
                kind="bag",
                path=path,
                files=files,
                cohort="bench",
                case_id=f"case_{number:06d}",
                image_id=f"case_{number:06d}",
                modality="histology",
                encoder="patches",
                encoder_digest=patches.encoder_digest,
                trained_on="none",
                dtype="float16",
                shape=(5000, 1024),
                inputs=(artifact,),
            )
        )
    store.log.append(add=entries, actor={"host": "bench"}, message="bags")
    volumes = CodeSetKey.of("bench", "mri_all", EncoderSpec("volumes", "1", "volumes", DIM))
    with store.begin("case codes") as transaction:
        for start in range(0, CODES, BATCH):
            cases = tuple(f"case_{number:06d}" for number in range(start, start + BATCH))
            codes = CaseCodes(cases, rng.standard_normal((BATCH, DIM), dtype=np.float32), key=volumes)
            transaction.write_codes(codes, input_digests=[[case] for case in cases])
    with store.begin("runs") as transaction:
        for start in range(0, RUNS, BATCH):
            ids = [sha256_of(["run", number]) for number in range(start, start + BATCH)]
            runs = [Run(run, "bench", "grade", "s", 0, "I") for run in ids]
            metrics = [
                {"run": run, "part": part, "metric": "balanced_accuracy", "value": 0.5}
                for run in ids
                for part in ("val", "test")
            ]
            predictions = [
                {
                    "run": run,
                    "cohort": "bench",
                    "case_id": f"case_{case:06d}",
                    "part": "test",
                    "probabilities": [0.5, 0.5],
                }
                for run in ids
                for case in range(20)
            ]
            transaction.write_runs(runs, metrics, predictions, inputs=dict.fromkeys(ids, ()))
    store.log.refresh()
    store.log.checkpoint()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=5)
    builds = parser.parse_args().builds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        fill(EmbeddingStore.create(root), np.random.default_rng(0))
        seconds, catalog = [], root
        for _ in range(builds):
            started, used = time.perf_counter(), time.process_time()
            store = EmbeddingStore.open(root)  # with the checkpoint
            opened = time.perf_counter()
            catalog = build_index(store, rebuild=True).path
            seconds.append((time.perf_counter() - started, opened - started, time.process_time() - used))
        total, opening, cpu = (statistics.median(column) for column in zip(*seconds, strict=True))
        size_mb = catalog.stat().st_size / 1e6
    print("| artifacts | catalog | open store | open and rebuild (median) | fastest | CPU time | target |")
    print("|---|---|---|---|---|---|---|")
    fastest = min(row[0] for row in seconds)
    verdict = "met" if total < TARGET_S else "missed"
    print(
        f"| {BAGS + CODES + RUNS:,} | {size_mb:.0f} MB | {opening:.2f} s | {total:.2f} s | {fastest:.2f} s "
        f"| {cpu:.2f} s | < {TARGET_S:.0f} s, {verdict} |"
    )


if __name__ == "__main__":
    main()
