"""One commit of many case codes: what each command then costs, CPU and peak memory, against one of a hundredth.

An import brings the index along. Bars for 1,000,000 x 256: open 1 s, tag 2 s, sql 1 s, peak 2 GB; for 1,024 peak 3 GB.
Run: python -m tests.benchmarks.large_import [--codes 100000] [--dim 256] [--folder /dev/shm] (a million: 5 GB)
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measuring import cost, show

SCRIPTS = {
    "files": """
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
start = 10**7 * (count == 64)
ids = [f"case-{start + i:09d}" for i in range(count)]
open(f"{root}.txt", "w").write("\\n".join(ids))
codes_nd = np.lib.format.open_memmap(f"{root}.npy", "w+", np.float32, (count, dim))
schema = pa.schema([("case_id", pa.string()), ("code", pa.list_(pa.float32()))])
with pq.ParquetWriter(f"{root}.parquet", schema, compression="NONE") as writer:
    for at in range(0, count, 4096):
        some = codes_nd[at : at + 4096]
        some[:] = np.random.default_rng(start + at).standard_normal(some.shape, dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(some).reshape(-1)), dim)
        writer.write_table(pa.table([ids[at : at + 4096], column.cast(schema.field("code").type)], schema=schema))
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

    def command(*words: str, store: Path = root) -> tuple[float, int]:
        return cost([sys.executable, "-m", "guidestore", *words, "--store", str(store)])

    told = ("--cohort", "bench", "--modality", "mri", "--encoder", "net")
    npy = (f"{root}.npy", "--ids", f"{root}.txt", *told)
    script("files", count)
    from_parquet = command("import", f"{root}.parquet", *told, store=root.with_name(f"{root.name}-parquet"))
    shutil.rmtree(root.with_name(f"{root.name}-parquet"))
    costs = {
        "import, Parquet": from_parquet,
        "import, npy": command("import", *npy),
        "open": script("open", count),
        "list code sets": script("list code sets", count),
        "tag": command("tag", "paper"),
        "sql, count": command("sql", "SELECT count(*) FROM codes"),
        "sql, a case": command("sql", "SELECT code FROM codes WHERE case_id = 'case-000000007'"),
    }
    script("files", 64)
    return costs | {
        "import 64 more": command("import", *npy),
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
