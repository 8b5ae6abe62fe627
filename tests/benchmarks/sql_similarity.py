"""Top-10 by cosine over 1,000,000 x 256 codes: SQL on a warm connection against numpy's matrix product.

    python tests/benchmarks/sql_similarity.py [--rows 1000000] [--queries 9]

The codes are committed to a store and indexed as a user would; numpy holds the same unit codes in memory. Both are
timed in turns in one run, so that other load hits both; the ratio is that of the medians and the target is 8. Needs
about 5 GB of disk and 6 GB of memory at the full size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from guidestore.warehouse.catalog import open_catalog
from guidestore.warehouse.indexer import build_index

DIM, CHUNK, TARGET = 256, 50_000, 8.0
SQL = f"""
    SELECT case_id, array_inner_product(unit, ?::FLOAT[{DIM}]) AS similarity
    FROM codes_{DIM} ORDER BY similarity DESC LIMIT 10
"""


def timed(function: Callable[[], list[str]]) -> tuple[float, list[str]]:
    started = time.perf_counter()
    answer = function()
    return 1000 * (time.perf_counter() - started), answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=9)
    parser.add_argument("--folder", default=None, help="where to put the store; default: the temporary folder")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    units_nd = rng.standard_normal((options.rows, DIM), dtype=np.float32)
    units_nd /= np.linalg.norm(units_nd, axis=1, keepdims=True)
    case_ids = [f"case_{number:07d}" for number in range(options.rows)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder) / "store"
        store = EmbeddingStore.create(root)
        key = CodeSetKey.of("bench", "mri_all", EncoderSpec("volumes", "1", "volumes", DIM))
        with store.begin("codes") as transaction:
            for start in range(0, options.rows, CHUNK):
                cases = tuple(case_ids[start : start + CHUNK])
                codes = CaseCodes(cases, units_nd[start : start + CHUNK], key=key)
                transaction.write_codes(codes, input_digests=[()] * len(cases))
        built_s = timed(lambda: [str(build_index(store).path)])[0] / 1000
        con = open_catalog(root)

        def by_sql(query: np.ndarray) -> list[str]:
            return [case_id for case_id, _ in con.execute(SQL, [query.tolist()]).fetchall()]

        def by_neighbours(query_case: str) -> list[str]:
            return [
                row[1] for row in con.execute("FROM neighbours(?, 'bench/mri_all', k := 10)", [query_case]).fetchall()
            ]

        def by_numpy(query: np.ndarray) -> list[str]:
            similarities = units_nd @ query
            top = np.argpartition(-similarities, 10)[:10]
            return [case_ids[row] for row in top[np.argsort(-similarities[top])]]

        picked = rng.integers(0, options.rows, options.queries + 1)
        for warm in (by_sql, by_numpy):
            warm(units_nd[picked[0]])
        times: dict[str, list[float]] = {"sql": [], "numpy": [], "product": [], "neighbours": []}
        for row in picked[1:]:
            query = units_nd[row]
            numpy_ms, expected = timed(lambda query=query: by_numpy(query))
            product_ms, _ = timed(lambda query=query: [str((units_nd @ query).shape)])
            sql_ms, found = timed(lambda query=query: by_sql(query))
            near_ms, near = timed(lambda row=row: by_neighbours(case_ids[row]))
            if found != expected or near[:9] != expected[1:]:
                raise SystemExit(f"the answers differ: {found} and {near}, not {expected}")
            for name, ms in (("sql", sql_ms), ("numpy", numpy_ms), ("product", product_ms), ("neighbours", near_ms)):
                times[name].append(ms)
        con.close()
    median = {name: statistics.median(values) for name, values in times.items()}
    print("| codes | build | numpy product | numpy top-10 | SQL top-10 | neighbours() | SQL / product | target |")
    print("|---|---|---|---|---|---|---|---|")
    ratio = median["sql"] / median["product"]
    print(
        f"| {options.rows:,} x {DIM} | {built_s:.1f} s | {median['product']:.0f} ms | {median['numpy']:.0f} ms "
        f"| {median['sql']:.0f} ms | {median['neighbours']:.0f} ms | {ratio:.1f} "
        f"| < {TARGET:.0f}, {'met' if ratio < TARGET else 'missed'} |"
    )


if __name__ == "__main__":
    main()
