"""Label transfer on digits, fou taught by kar: 50 labels, 1,000 unlabelled pairs, 30 % test, 10 splits, per student.

Target: the guided student beats the best of I, shuffled pairs and self-training by at least .08 balanced accuracy on
average. `all labels` is row I of the same student with every train pair labelled. `D_c` is the MLP that reads
[G(z_I), z_I], G a ridge, and learns the teacher's scores as an extra term. `margins` is M(I), a row of its own.
Run: OMP_NUM_THREADS=1 python -m tests.benchmarks.label_transfer [STUDENT …] [--splits N]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from guidestore.heads.margins.train import MarginsJob, train_margins
from guidestore.heads.transfer.train import TransferJob, train_transfer
from tests.benchmarks.measuring import show
from tests.heads.test_transfer_mfeat import accuracies, digits

BAR = 0.08
STUDENTS: dict[str, dict[str, str]] = {
    "ridge": {"student": "ridge"},
    "logistic": {"student": "logistic"},
    "kernel": {"student": "kernel"},
    "random_forest": {"student": "random_forest"},
    "mlp": {"student": "mlp"},
    "D_c": {"student": "mlp", "guidance": "ridge"},
    "margins": {},
}
COLUMNS = ("guided", "I", "shuffled", "self-training", "all labels")


def measure(asked: dict[str, str], split: int) -> tuple[float, ...]:
    """Balanced accuracy on test, in the order of COLUMNS."""
    few, every = (digits(split, pairs=1050, labelled=n) for n in (50, None))
    row = "T(I)" if asked else "M(I)"
    if asked:
        found = accuracies(train_transfer([TransferJob(few, split)], **asked, permutations=1, rows=("I", row))[0])
        of_all = train_transfer([TransferJob(every, split)], student=asked["student"], permutations=0, rows=("I",))
    else:
        found = accuracies(train_margins([MarginsJob(few, split, 1)])[0])
        of_all = train_margins([MarginsJob(every, split, 0)])
    ceiling = accuracies(of_all[0])
    places = ((row, ""), ("I", ""), (row, "shuffled"), (row, "own"))
    return (*(found[place] for place in places), ceiling["I", ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("students", nargs="*", default=[*STUDENTS])
    parser.add_argument("--splits", type=int, default=10)
    asked = parser.parse_args()
    rows = []
    for name in asked.students:
        start = time.perf_counter()
        values = np.array([measure(STUDENTS[name], split) for split in range(asked.splits)])
        mean = values.mean(axis=0)
        gain = mean[0] - mean[1:4].max()
        seconds = (time.perf_counter() - start) / asked.splits
        kept = "yes" if gain >= BAR else "no"
        rows.append([name, *(f"{value:.3f}" for value in mean), f"{gain:+.3f}", kept, f"{seconds:.0f}"])
    title = f"balanced accuracy, mean over {asked.splits} splits (fou taught by kar, 50 labels, 1,000 unlabelled pairs)"
    show(title, ["student", *COLUMNS, "gain over best", f">= {BAR:g}", "s/split"], rows)


if __name__ == "__main__":
    main()
