"""Exports of a set of bags against reading it once, verified, and hashing it: CPU and peak memory.

Bars for 30 slides x 10,000 x 1,536 float16 to TRIDENT: 1.5 x the CPU, 500 MB.
Run: python -m tests.benchmarks.trident_export [--slides 30] [--tiles 10000] [--dim 1536] [--layout trident …]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measuring import cost, show

MAKE = """
import sys, numpy as np
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec
from guidestore.flows.encoding.committing import register_encoder
store, slides, tiles, dim = EmbeddingStore.create(sys.argv[1]), *map(int, sys.argv[2:5])
spec = EncoderSpec("bench", "1", "tiles", dim, "", {"magnification": 20})
key, number = CodeSetKey.of("bench", "histology", spec), np.arange(tiles)
coords_n2 = np.stack([number % 300 * 256, number // 300 * 256], 1).astype(np.int32)
parts = ("train", "val", "test")
with store.begin("cohort") as transaction:
    register_encoder(transaction, spec, {})
    cases = [f"case-{slide}" for slide in range(slides)]
    rows = [{"cohort": "bench", "case_id": case} for case in cases]
    transaction.write_rows("cases", rows, cohort="bench")
    targets = [{"cohort": "bench", "target": "grade", "class_index": i, "class": name} for i, name in enumerate("AB")]
    transaction.write_rows("targets", targets, cohort="bench")
    labels = [row | {"target": "grade", "class": "AB"[i % 2]} for i, row in enumerate(rows)]
    transaction.write_rows("labels", labels, cohort="bench")
    splits = [row | {"split": "cv", "fold": 0, "part": parts[i % 3], "origin": ""} for i, row in enumerate(rows)]
    transaction.write_rows("splits", splits, cohort="bench")
for slide in range(slides):
    values_nd = np.random.default_rng(slide).standard_normal((tiles, dim), dtype=np.float32).astype(np.float16)
    with store.begin("slide") as transaction:
        bag = Bag(values_nd, coords_n2, 0.5, 256, 256, 20.0)
        transaction.write_bag(key, f"case-{slide}", f"slide-{slide}", bag, input_digests=[f"slide {slide}"])
"""
READ = """
import sys, hashlib
from guidestore.embeddings.store import EmbeddingStore
snapshot = EmbeddingStore.open(sys.argv[1]).snapshot()
(key,) = snapshot.code_sets
for entry in snapshot.code_set_entries(key):
    (bag,) = snapshot.bags(key, entry.case_id)
    hashlib.sha256(bag.features_nd).digest()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=30)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--layout", nargs="+", default=["trident"])
    parser.add_argument("--folder", type=Path, default=None, help="where the store and the exports are made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        store, out = f"{folder}/store", f"{folder}/out"
        cost([sys.executable, "-c", MAKE, store, str(given.slides), str(given.tiles), str(given.dim)])
        read = cost([sys.executable, "-c", READ, store])
        rows = [("read once, verified, and hashed", read)]
        command = [sys.executable, "-m", "guidestore"]
        for layout in given.layout:
            told = ["--code-set", "histology/bench", "--layout", layout, "--output", out, "--store", store]
            rows.append((f"export {layout}", cost([*command, "export", "bench", *told])))
            shutil.rmtree(out)
        rows.append(("publish", cost([*command, "publish", str(given.slides + 1), "--output", out, "--store", store])))
        rows.append(("import what was published", cost([*command, "import", out, "--store", f"{folder}/back"])))
    show(
        f"{given.slides} slides x {given.tiles:,} x {given.dim:,} float16 out of the store",
        ["what", "CPU s", "x", "peak, MB"],
        [[name, f"{seconds:.2f}", f"{seconds / read[0]:.2f}", str(peak_mb)] for name, (seconds, peak_mb) in rows],
    )


if __name__ == "__main__":
    main()
