"""Seconds of a fit and variance of held-out z_S explained, for every guidance model, on real paired codes.

mfeat (2,000 handwritten digits): the views fou (76) -> kar (64) and mor (6) -> fou, 1,280 train pairs and 600 held out,
default parameters. task_aware goes through a logistic regression on z_S. Use one thread: OMP_NUM_THREADS=1.
Run: python tests/benchmarks/guidance.py [--pairs 1280]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.fitting import needs_decoder
from guidestore.heads.registry import GUIDANCE, build_guidance
from tests.benchmarks.measuring import show
from tests.heads.test_mfeat import DATA, view

VIEWS = (("fou", "kar"), ("mor", "fou"))
HELD_OUT = 600


def measure(n_pairs: int) -> list[list[str]]:
    order = np.random.default_rng(0).permutation(2000)
    train, held = order[:n_pairs], order[-HELD_OUT:]
    labels = view("labels")[:, 0].astype(np.int64)[train]
    found: dict[str, list[tuple[float, float]]] = {}
    for inferior, superior in VIEWS:
        z_inferior_nd, z_superior_nd = view(inferior), view(superior)
        codes = (z_superior_nd[train], labels)
        d_s = Logistic(Cs=(0.1,)).fit(*codes, *codes, n_classes=10, seed=0)
        for name in GUIDANCE.names():
            model: Any = build_guidance(name)
            more = {"decoder": d_s} if needs_decoder(model) else {}
            start = time.process_time()
            model.fit(z_inferior_nd[train], z_superior_nd[train], seed=0, **more)
            seconds = time.process_time() - start
            wanted_nd = z_superior_nd[held]
            left = ((model.predict(z_inferior_nd[held]) - wanted_nd) ** 2).sum()
            r2 = 1.0 - left / ((wanted_nd - z_superior_nd[train].mean(axis=0)) ** 2).sum()
            found.setdefault(name, []).append((seconds, float(r2)))
    rows = []
    for name, results in found.items():
        cells = [name]
        for (seconds, r2), (ridge_seconds, ridge_r2) in zip(results, found["ridge"], strict=True):
            cells += [f"{seconds:.2f}", f"{seconds / ridge_seconds:.0f} x", f"{r2:.3f}", f"{r2 / ridge_r2:.2f} x"]
        rows.append(cells)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1280)
    use = parser.parse_args()
    if not DATA.is_dir():
        print(f"no data at {DATA}; set GUIDESTORE_TEST_DATA")
        return
    for warm in ("autoencoder", "pls"):  # torch and scikit-learn are imported at the first fit
        build_guidance(warm).fit(np.eye(6), np.eye(6), seed=0)
    columns = [cell for i, s in VIEWS for cell in (f"{i} -> {s}: s", "to ridge", "R²", "to ridge")]
    show(f"Guidance models on {use.pairs} pairs, CPU seconds of a fit", ("", *columns), measure(use.pairs))


if __name__ == "__main__":
    main()
