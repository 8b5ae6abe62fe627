"""CPU seconds of R(I), M(I) and P(I) with all their controls, and what landmarks in place of every row cost.

Simulated codes, five draws of each random control, one thread.
Run: OMP_NUM_THREADS=1 python -m tests.benchmarks.smoothers [--cases 400] [--width 150] [--classes 2] [--landmarks]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pytest

from guidestore.embeddings.types import PairedCodes
from guidestore.flows.work.threads import one_thread
from guidestore.heads.kernels import smoother
from guidestore.heads.margins.train import MarginsJob, train_margins
from guidestore.heads.plug.train import PlugJob, train_plug
from guidestore.heads.references.train import REFERENCES, ReferenceJob, train_references
from guidestore.heads.trained import TrainedHead
from tests.benchmarks.measuring import show

PERMUTATIONS, TEST = 5, 1_000


def cohort(n_train: int, width: int, classes: int) -> PairedCodes:
    """z_S of as many columns as z_I sees what the label is drawn from; z_I sees it in noise."""
    rng = np.random.default_rng(0)
    n = n_train + TEST
    h = rng.standard_normal((n, 6))
    y = (2 * h @ rng.standard_normal((6, classes)) + rng.gumbel(size=(n, classes))).argmax(axis=1)
    z_i, z_s = (h @ rng.standard_normal((6, width)) + noise * rng.standard_normal((n, width)) for noise in (6.0, 2.0))
    every = np.ones(n, dtype=bool)
    return PairedCodes(
        *("simulated", "drawn", 0, "y", tuple(map(str, range(classes))), tuple(f"C{case:05d}" for case in range(n))),
        *(z_i.astype(np.float32), z_s.astype(np.float32), every, every, y.astype(np.int64)),
        parts=np.repeat(["train", "test"], [n_train, TEST]),
    )


def measured(name: str, train: Callable[[], list[list[TrainedHead]]]) -> list[str]:
    """What is trained, CPU seconds, heads, and the test metrics of the first that is no control and reads z_I alone."""
    start = time.process_time()
    heads = [head for of_job in train() for head in of_job]
    seconds = time.process_time() - start
    shown = next(head.metrics["test"] for head in reversed(heads) if not head.control)
    return [name, f"{seconds:.1f}", str(len(heads)), f"{shown['balanced_accuracy']:.4f}", f"{shown['auroc']:.4f}"]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cases", type=int, default=400, help="train pairs, all labelled")
    asked.add_argument("--width", type=int, default=150, help="of both codes")
    asked.add_argument("--classes", type=int, default=2)
    asked.add_argument(
        "--landmarks", action="store_true", help="the RBF reference alone, by landmarks and by every row"
    )
    options = asked.parse_args()
    paired = cohort(options.cases, options.width, options.classes)
    rbf = [ReferenceJob(paired, 0, name) for name in REFERENCES if "RBF" in name]
    with one_thread():
        if options.landmarks:
            rows = [measured("R(I), RBF", lambda: train_references(rbf))]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(smoother, "EXACT_ROWS", options.cases)
                rows.append(measured("R(I), RBF of every row", lambda: train_references(rbf)))
        else:
            six = [ReferenceJob(paired, 0, name) for name in REFERENCES]
            rows = [
                measured("R(I)", lambda: train_references(six)),
                measured("M(I)", lambda: train_margins([MarginsJob(paired, 0, PERMUTATIONS)])),
                measured("P(I), ridge", lambda: train_plug([PlugJob(paired, 0, PERMUTATIONS)])),
                measured("P(I), logistic", lambda: train_plug([PlugJob(paired, 0, PERMUTATIONS, "logistic")])),
            ]
    title = f"{options.cases} train pairs of {options.width} columns, {options.classes} classes"
    show(title, ["trained", "CPU s", "heads", "balanced accuracy", "AUROC"], rows)


if __name__ == "__main__":
    main()
