"""Speed of survival heads: a sweep's worth of ridge Cox or Cox MLPs with controls, and the evaluation of stored runs.

    python -m tests.benchmarks.outcomes [--folds 5] [--seeds 2] [--decoder ridge|mlp] [--runs 1000]

The bars are for two cores that do nothing else: 5 folds x 4 G x 4 ridge Cox D_c x 2 seeds on 500 cases of 176 and
111 dimensions with five shuffled pairings and five within class under 60 s, Cox MLPs with all controls under 240 s;
1,000 runs of 200 test cases with 2,000 draws under 90 s. `--folds 1 --seeds 1` is a tenth of the sweep.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.work.threads import one_thread
from guidestore.heads.choice import Choice
from guidestore.heads.controls import SHUFFLED, WITHIN_CLASS
from guidestore.heads.input_rows import ALL_ROWS, arms_of
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.train import train_rows
from guidestore.heads.significance import draw_metrics

CASES, D_I, D_S = 500, 176, 111
ALPHAS = (0.1, 0.3, 1.0, 3.0)


def paired(fold: int) -> PairedCodes:
    """500 cases: 300 train, 100 val, 100 test."""
    rng = np.random.default_rng(fold)
    h = rng.normal(size=(CASES, 6))
    z_i = h @ rng.normal(size=(6, D_I)) + 2 * rng.normal(size=(CASES, D_I))
    z_s = h @ rng.normal(size=(6, D_S)) + rng.normal(size=(CASES, D_S))
    died, left = rng.exponential(np.exp(-h[:, 0])), 2 * rng.exponential(size=CASES)
    every = np.ones(CASES, dtype=bool)
    return PairedCodes(
        *("made", "drawn", fold, "os", ()),
        tuple(f"case-{case:04d}" for case in range(CASES)),
        *(z_i.astype(np.float32), z_s.astype(np.float32), every, every, np.full(CASES, -1, dtype=np.int64)),
        parts=np.repeat(["train", "val", "test"], [300, 100, 100]),
        kind="survival",
        outcomes=np.column_stack([np.minimum(died, left) + 1e-3, died <= left]),
    )


def sweep(folds: int, seeds: int, decoder: str) -> float:
    """Seconds, two batches at a time."""
    guidance = [Choice.of("ridge", {"alphas": (alpha,)}) for alpha in (0.1, 1.0, 10.0, 100.0)]
    models = [Choice.of("ridge", {"alphas": (alpha,)}) for alpha in ALPHAS]
    if decoder == "mlp":
        models = [Choice.of("mlp", {"hidden_units": units}) for units in (10, 20, 50, 100)]
    arms = arms_of(ALL_ROWS, 5, (SHUFFLED, WITHIN_CLASS) if decoder == "ridge" else (SHUFFLED, WITHIN_CLASS, "self"))

    def batch(cell: tuple[int, int]) -> None:
        codes = paired(cell[0])
        train_rows([RowsJob(codes, "matched", cell[1], g, d, arms) for g in guidance for d in models])

    start = time.perf_counter()
    with one_thread(), ThreadPoolExecutor(2) as pool:
        list(pool.map(batch, [(fold, seed) for fold in range(folds) for seed in range(seeds)]))
    return time.perf_counter() - start


def evaluation(runs: int) -> float:
    """Seconds, one core."""
    rng = np.random.default_rng(0)
    ids = tuple(f"case-{case:04d}" for case in range(200))
    y = np.column_stack([rng.exponential(size=200) + 1e-3, rng.random(200) < 0.6])
    said = [
        RunPredictions(f"{run}", ("s", 0, run), ids, y, rng.normal(size=(200, 1)), "survival", 1.5)
        for run in range(runs)
    ]
    start = time.perf_counter()
    with one_thread():
        draw_metrics(said, metrics=("uno_c",))
    return time.perf_counter() - start


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--folds", type=int, default=5)
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--decoder", choices=("ridge", "mlp"), default="ridge")
    asked.add_argument("--runs", type=int, default=1000, help="0: none are evaluated")
    options = asked.parse_args()
    start = time.process_time()
    took = sweep(options.folds, options.seeds, options.decoder)
    print(
        f"{options.folds} folds x 4 G x 4 D_c ({options.decoder}) x {options.seeds} seeds: {took:.1f} s, of the CPUs "
        f"{time.process_time() - start:.1f} s"
    )
    if options.runs:
        start = time.process_time()
        took = evaluation(options.runs)
        print(f"{options.runs} runs evaluated: {took:.1f} s, of the CPU {time.process_time() - start:.1f} s")


if __name__ == "__main__":
    main()
