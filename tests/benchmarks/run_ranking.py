"""Ranking 100,000 stored runs by SQL: the best runs on val, and the best heads over their folds and seeds.

    python -m tests.benchmarks.run_ranking [RUNS]

Each run has four metrics and the predictions of 28 val cases. Target: under 1 s per query, on an open catalog and from
opening it. The baseline reads the same files from the store, without the index, and ranks them with pyarrow.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName
from guidestore.heads.metrics import METRICS
from guidestore.warehouse.catalog import open_catalog
from guidestore.warehouse.indexer import build_index
from tests.benchmarks.measuring import median_ms, show

CHUNK, CASES, TARGET_S = 1_000, 28, 1.0
QUERIES = {
    "best_runs('grade') LIMIT 10": "FROM best_runs('grade') LIMIT 10",
    "best heads, mean over folds and seeds": """
        SELECT inferior, superior, mode, "row", guidance, decoder, avg(value) AS val, count(*) AS n
        FROM metrics WHERE target = 'grade' AND metric = 'balanced_accuracy' AND part = 'val' AND control = ''
        GROUP BY ALL ORDER BY val DESC LIMIT 10""",
}


def make_runs(first: int, rng: np.random.Generator) -> tuple[list[Run], list[dict], list[dict]]:
    runs, metrics, predictions = [], [], []
    for number in range(first, first + CHUNK):
        run = hashlib.sha256(str(number).encode()).hexdigest()
        head, unit = divmod(number, 10)
        models = {"guidance": f"autoencoder(width={head % 97})", "decoder": f"mlp(hidden_units={head % 89})"}
        names = {side: CodeSetName("bench", side, "made", "0") for side in ("inferior", "superior")}
        when = {"snapshot": 1, "created_at": "2026-01-01T00:00:00+00:00"}
        fitted = {"seed": unit // 5, "n_train": 165, "best_epoch": 40}
        runs.append(Run(run, "bench", "grade", "s", unit % 5, "G(I)+I", **models, **names, **fitted, **when))
        scores = rng.random(len(METRICS)).tolist()
        metrics += [
            {"run": run, "part": "val", "metric": name, "value": score}
            for name, score in zip((metric.name for metric in METRICS), scores, strict=True)
        ]
        chances = rng.dirichlet(np.ones(3), CASES).tolist()
        predictions += [
            {"run": run, "cohort": "bench", "case_id": f"case-{case:03d}", "part": "val"}
            | {"label": "G", "predicted": "O", "probabilities": row}
            for case, row in enumerate(chances)
        ]
    return runs, metrics, predictions


def ranked_without_index(store: EmbeddingStore) -> None:
    snapshot = store.snapshot()
    metrics = snapshot.rows("metrics")
    wanted = (pc.field("metric") == "balanced_accuracy") & (pc.field("part") == "val")
    best = metrics.filter(wanted).sort_by([("value", "descending")])[:10]
    runs = snapshot.rows("runs")
    runs.filter(pc.field("run").isin(best["run"]) & (pc.field("target") == "grade"))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        store = EmbeddingStore.create(root)
        start = time.perf_counter()
        for first in range(0, count, CHUNK):
            runs, metrics, predictions = make_runs(first, rng)
            with store.begin("runs") as transaction:
                transaction.write_runs(runs, metrics, predictions, inputs={run.id: () for run in runs})
        written = time.perf_counter() - start
        start = time.perf_counter()
        build_index(store)
        indexed = time.perf_counter() - start
        baseline = median_ms(lambda: ranked_without_index(store), 3)
        con = open_catalog(root)

        def from_opening(query: str) -> None:
            with open_catalog(root) as own:
                own.execute(query).fetchall()

        rows = []
        for name, query in QUERIES.items():
            warm = median_ms(lambda query=query: con.execute(query).fetchall(), 9)
            cold = median_ms(lambda query=query: from_opening(query), 5)
            said = "met" if cold / 1000 < TARGET_S else "missed"
            rows.append([name, f"{warm:.0f}", f"{cold:.0f}", f"{baseline:.0f}", f"{cold / baseline:.2f}", said])
        con.close()
    title = f"{count:,} runs; made and committed in {written:.0f} s, indexed in {indexed:.0f} s"
    columns = ["query", "ms, open", "ms, opened for it", "ms without index", "ratio", f"under {TARGET_S:.0f} s"]
    show(title, columns, rows)


if __name__ == "__main__":
    main()
