"""Share of a CLAM training step that passes waiting for its bag, which is read from the store at every step.

Target: under 5 % with the next bag read in a thread. The baseline reads each bag when its step begins.
Run: python tests/benchmarks/clam_training.py [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec
from guidestore.encoders.bags import PAPER_TRAINING
from guidestore.encoders.clam import ClamSB, clam_small
from guidestore.encoders.kinds import bags
from guidestore.encoders.kinds.bags import BagSource
from guidestore.encoders.sources import ItemView
from guidestore.encoders.training import train_classifier
from guidestore.encoders.training_settings import TrainingSettings
from tests.benchmarks.measuring import show

CASES, TILES, DIM = 12, 5_000, 1_024
EPOCHS = 4


def make_store(root: Path) -> EmbeddingStore:
    """Bags of the size of a RadPath slide: 5,000 tiles of ReLU-sparse 1,024-d codes."""
    store = EmbeddingStore.create(root)
    key = CodeSetKey.of("bench", "histology", EncoderSpec("resnet50_trunc", "1", "tiles", DIM))
    rng = np.random.default_rng(0)
    for case in range(CASES):
        features_nd = np.maximum(rng.standard_normal((TILES, DIM), np.float32), 0).astype(np.float16)
        bag = Bag(features_nd, rng.integers(0, 80_000, (TILES, 2), dtype=np.int32), 0.5, 256, 256)
        with store.begin() as transaction:
            transaction.write_bag(key, f"case-{case}", f"case-{case}", bag, input_digests=[str(case)])
    return store


def train(store: EmbeddingStore, device: str) -> tuple[float, float]:
    """Median over epochs of the milliseconds of a step and the share of it spent waiting; the first epoch warms up."""
    source = BagSource(store.snapshot(), "bench", "histology", "resnet50_trunc")
    view = ItemView(source, source.items)
    labels = {"class": np.arange(CASES) % 3}
    settings = TrainingSettings(**{**PAPER_TRAINING.as_dict(), "epochs": EPOCHS})
    trained = train_classifier(
        ClamSB(clam_small(DIM, 3)),
        view,
        labels,
        view,
        labels,
        n_classes={"class": 3},
        settings=settings,
        seed=0,
        device=device,
    )
    rows = trained.history[1:]
    step_ms = statistics.median(row["seconds"] / CASES * 1e3 for row in rows)
    return step_ms, statistics.median(row["wait_seconds"] / row["seconds"] for row in rows)


def read_ms(store: EmbeddingStore) -> float:
    """Milliseconds to read and verify one bag and to make its batch."""
    source = BagSource(store.snapshot(), "bench", "histology", "resnet50_trunc")
    module = ClamSB(clam_small(DIM, 3))
    taken = []
    for item in source.items:
        start = time.perf_counter()
        module.batch(ItemView(source, [item]), [0])
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    bags.KEPT_BYTES = 0  # the harder case: nothing stays in memory between epochs
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        alone = read_ms(store)
        step, share = train(store, device)
    rows = [
        ["read when the step begins (baseline)", f"{step * (1 - share) + alone:.1f}", f"{alone:.1f}", ""],
        ["read ahead in a thread", f"{step:.1f}", f"{step * share:.2f}", f"{share:.1%} (bar 5 %)"],
    ]
    rows[0][3] = f"{alone / (step * (1 - share) + alone):.1%}"
    threads = torch.get_num_threads()
    title = f"CLAM-SB, bags of {TILES:,} x {DIM:,} float16 from disk, {device}, {threads} threads: ms per step"
    show(title, ("training", "step", "waiting", "share"), rows)


if __name__ == "__main__":
    main()
