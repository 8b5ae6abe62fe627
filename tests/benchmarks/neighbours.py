"""Ten nearest codes: comparing all against the index that large code sets get. 256 dimensions, clustered codes.

    python tests/benchmarks/neighbours.py [--codes 10000 100000 1000000]

One query at a time, as a person asks, and 200 at once. Reading an index is what the first question costs once it is
stored. recall@10 is of 200 codes that had no part in choosing how many lists are read. 1,000,000 codes take some
2 minutes and 5 GB of memory.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np

from guidestore.embeddings.index.exact import ExactIndex
from guidestore.embeddings.index.faiss_index import FaissIndex, build
from tests.benchmarks.measuring import median_ms, show

DIM, CLUSTERS, INNER_DIM, QUERIES = 256, 500, 32, 200


def clustered(n: int) -> np.ndarray:
    """(n, DIM) float32: clusters that vary in INNER_DIM directions, and a little in all."""
    rng = np.random.default_rng(0)
    codes_nd = rng.standard_normal((CLUSTERS, DIM), dtype=np.float32)[rng.integers(0, CLUSTERS, n)]
    basis = rng.standard_normal((INNER_DIM, DIM), dtype=np.float32) * 1.5 / np.sqrt(INNER_DIM, dtype=np.float32)
    codes_nd += rng.standard_normal((n, INNER_DIM), dtype=np.float32) @ basis
    codes_nd += 0.3 * rng.standard_normal((n, DIM), dtype=np.float32)
    return codes_nd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, nargs="+", default=[10_000, 100_000])
    rows = []
    for n in parser.parse_args().codes:
        codes_nd = clustered(n)
        start = time.perf_counter()
        built = build(codes_nd, "cosine")
        build_s = time.perf_counter() - start
        start = time.perf_counter()
        index = FaissIndex(built.data, "cosine")
        read_s = time.perf_counter() - start
        exact = ExactIndex(codes_nd, "cosine")
        queries_md = exact.codes()[np.random.default_rng(1).choice(n, QUERIES, replace=False)]
        del codes_nd
        one = [median_ms(partial(i.search, queries_md[:1], 11), 15) for i in (exact, index)]
        many = [median_ms(partial(i.search, queries_md, 11), 3) / QUERIES for i in (exact, index)]
        rows.append(
            (
                f"{n:,}",
                f"{build_s:.1f}",
                f"{read_s:.2f}",
                f"{one[0]:.2f}",
                f"{one[1]:.2f} ({one[0] / one[1]:.0f} x)",
                f"{many[0]:.2f}",
                f"{many[1]:.2f} ({many[0] / many[1]:.0f} x)",
                f"{built.probes}/{built.lists}",
                f"{built.recall:.3f}",
            )
        )
    columns = ("codes", "build s", "read s", "exact ms", "index ms", f"of {QUERIES}", "index", "lists", "recall@10")
    show("Ten nearest of codes of 256 dimensions: exact (baseline) and by index", columns, rows)


if __name__ == "__main__":
    main()
