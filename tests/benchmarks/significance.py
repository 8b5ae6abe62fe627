"""Three metrics with 2,000-draw intervals for 1,000 stored runs of 400 cases, against scikit-learn called per draw.

Predictions are read from a store, which is part of the time. Target: below 60 s on 2 cores. One BLAS thread
(OMP_NUM_THREADS=1) is enough, and steadier on a busy machine. The plain loop is timed on a few draws of a few runs and
scaled up.
Run: python tests/benchmarks/significance.py
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.heads.metrics import drawn_metrics
from guidestore.heads.significance import draw_metrics
from guidestore.heads.significance.bootstrap import DRAWS
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.benchmarks.measuring import show

RUNS, CASES = 1_000, 400
LOOP_RUNS, LOOP_DRAWS = 3, 20
BAR_S = 60.0


def make_runs(k: int) -> list[RunPredictions]:
    rng = np.random.default_rng(k)
    labels = rng.integers(0, k, CASES)
    case_ids = tuple(f"C{i:05d}" for i in range(CASES))
    runs = []
    for r in range(RUNS):
        probabilities = np.exp(np.eye(k)[labels] + rng.normal(size=(CASES, k)))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        runs.append(RunPredictions(f"{r:064x}", ("s", 0, r), case_ids, labels, probabilities))
    return runs


def stored(runs: list[RunPredictions], folder: Path) -> EmbeddingStore:
    """A store with these runs, ten commits of them."""
    store = EmbeddingStore.create(folder)
    classes = [f"class-{c}" for c in range(runs[0].n_classes)]
    for first in range(0, RUNS, RUNS // 10):
        part = runs[first : first + RUNS // 10]
        made, predictions = [], []
        for seed, run in enumerate(part, start=first):
            made.append(Run(run.run, "c", "t", "s", 0, "I", seed=seed, classes=tuple(classes)))
            predictions += [
                {"run": run.run, "cohort": "c", "case_id": case_id, "part": "test", "label": classes[label]}
                | {"predicted": "", "probabilities": row}
                for case_id, label, row in zip(run.case_ids, run.labels, run.probabilities.tolist(), strict=True)
            ]
        with store.begin("runs") as transaction:
            transaction.write_runs(made, [], predictions, inputs={run.id: [] for run in made})
    return store


def ours_s(store: EmbeddingStore) -> float:
    start = time.perf_counter()
    snapshot = store.snapshot()
    runs = list(load_predictions(snapshot, all_runs(snapshot)).values())
    drawn = draw_metrics(runs)
    for run in runs:
        for metric in drawn_metrics():
            drawn.interval(run.run, metric)
    return time.perf_counter() - start


def loop_s(runs: list[RunPredictions]) -> float:
    """Seconds that all runs and draws would take."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for run in runs[:LOOP_RUNS]:
        for _ in range(LOOP_DRAWS):
            cases = rng.integers(0, CASES, CASES)
            labels, probabilities = run.labels[cases], run.probabilities[cases]
            balanced_accuracy_score(labels, probabilities.argmax(axis=1))
            f1_score(labels, probabilities.argmax(axis=1), average="micro")
            roc_auc_score(labels, probabilities, multi_class="ovr")
    return (time.perf_counter() - start) / (LOOP_RUNS * LOOP_DRAWS) * RUNS * DRAWS


def main() -> None:
    warnings.simplefilter("ignore")
    rows = []
    for k in (3, 5):
        runs = make_runs(k)
        with tempfile.TemporaryDirectory() as folder:
            loop, ours = loop_s(runs), ours_s(stored(runs, Path(folder) / "store"))
        rows.append([f"{k} classes", f"{ours:.1f} (bar {BAR_S:.0f})", f"{loop:,.0f}", f"{loop / ours:,.0f} x"])
    title = f"{len(drawn_metrics())} metrics, {DRAWS:,} draws, {RUNS:,} runs of {CASES} cases"
    show(title, ["", "from the store, s", "scikit-learn per draw, s (scaled up)", "ratio"], rows)


if __name__ == "__main__":
    main()
