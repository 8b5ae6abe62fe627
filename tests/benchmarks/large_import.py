"""One commit of many case codes: what each command then costs, CPU and peak memory, against one of a hundredth.

Bars for 1,000,000 x 256: open 1 s, tag 2 s, index 30 s, sql 1 s, 64 more codes indexed in 2 s, peak 2 GB.
Run: python -m tests.benchmarks.large_import [--codes 100000] [--dim 256] [--folder /dev/shm] (a million: 4 GB there)
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measuring import cost, show

SCRIPTS = {
    "commit": """
import numpy as np
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
store = EmbeddingStore.create(root)
key = CodeSetKey.of("bench", "mri", EncoderSpec("net", "1", "codes", dim))
start = store.log.head * 10**7
codes_nd = np.random.default_rng(start).standard_normal((count, dim), dtype=np.float32)
with store.begin() as transaction:
    codes = CaseCodes(tuple(f"case-{start + i:09d}" for i in range(count)), codes_nd, key=key)
    transaction.write_codes(codes, input_digests=[(f"{start + i:064x}",) for i in range(count)])
""",
    "open": "EmbeddingStore.open(root).snapshot()",
    "list code sets": "EmbeddingStore.open(root).snapshot().code_sets",
}
HEAD = """
import sys
from guidestore.embeddings.store import EmbeddingStore
root, count, dim = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
"""


def measure(root: Path, count: int, dim: int) -> dict[str, tuple[float, int]]:
    def script(name: str, codes: int) -> tuple[float, int]:
        return cost([sys.executable, "-c", HEAD + SCRIPTS[name], str(root), str(codes), str(dim)])

    def command(*words: str) -> tuple[float, int]:
        return cost([sys.executable, "-m", "guidestore", *words, "--store", str(root)])

    return {
        "commit": script("commit", count),
        "open": script("open", count),
        "list code sets": script("list code sets", count),
        "tag": command("tag", "paper"),
        "index": command("index"),
        "sql, count": command("sql", "SELECT count(*) FROM codes"),
        "sql, a case": command("sql", "SELECT code FROM codes WHERE case_id = 'case-000000007'"),
        "commit 64 more": script("commit", 64),
        "index them": command("index"),
        "tag, indexed": command("tag", "later"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--folder", type=Path, default=None, help="where the stores are made")
    given = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore"
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        small = measure(Path(folder) / "small", given.codes // 100, given.dim)
        large = measure(Path(folder) / "large", given.codes, given.dim)
    show(
        f"{given.codes:,} case codes of width {given.dim} in one commit; x = of {given.codes // 100:,}",
        ["what", "CPU s", "x", "peak, MB"],
        [
            [name, f"{seconds:.2f}", f"{seconds / small[name][0]:.1f}", str(peak_mb)]
            for name, (seconds, peak_mb) in large.items()
        ],
    )


if __name__ == "__main__":
    main()
