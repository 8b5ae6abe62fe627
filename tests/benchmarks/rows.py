"""The tables of docs/guidance.md: AUROC of R(I), M(I) and P(I) on simulations whose answer is known.

Means over seeds of `weak` (tests/heads/test_references.py) and `mediated` (tests/heads/test_plug.py), one draw of each
control. `above` is the share of seeds in which the row is above I and every control.
Run: OMP_NUM_THREADS=1 python -m tests.benchmarks.rows [--seeds 20]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.flows.work.threads import one_thread
from guidestore.heads.margins.train import MarginsJob, train_margins
from guidestore.heads.plug.blocks import Family
from guidestore.heads.plug.train import PlugJob, train_plug
from guidestore.heads.references.train import REFERENCES
from guidestore.heads.trained import TrainedHead
from tests.benchmarks.measuring import show
from tests.heads.test_plug import mediated
from tests.heads.test_references import trained, weak

type Simulation = Callable[[int], PairedCodes]

MARGINS: dict[str, Simulation] = {
    "z_S knows the odds of y": weak,
    "z_S tells y, but nothing of it given z_I": partial(weak, harmful=True),
}
PLUG: dict[str, Simulation] = {
    "noisy, follows z_S, which follows z_I": mediated,
    "z_I has a large effect of its own beside it": partial(mediated, own=3.0),
    "z_S has nothing to do with it": partial(mediated, useless=True),
}


def margins(paired: PairedCodes, seed: int) -> list[TrainedHead]:
    return train_margins([MarginsJob(paired, seed, 1)])[0]


def plug(family: Family, paired: PairedCodes, seed: int) -> list[TrainedHead]:
    return train_plug([PlugJob(paired, seed, 1, family)])[0]


def compared(name: str, row: str, per_seed: Sequence[Sequence[TrainedHead]]) -> list[str]:
    """I, the row and the best of its controls, as means over seeds; and how often the gate was closed."""
    aurocs: dict[tuple[str, str, int], list[float]] = {}
    for head in (head for heads in per_seed for head in heads):
        aurocs.setdefault((head.row, head.control, head.permutation), []).append(head.metrics["test"]["auroc"])
    means = {place: float(np.mean(values)) for place, values in aurocs.items()}
    rivals = {place: value for place, value in means.items() if place[1]}
    over = np.array(aurocs[row, "", -1]) - np.max([aurocs[place] for place in [("I", "", -1), *rivals]], axis=0)
    gates = [head.facts.get("guidance_gate", 1.0) for heads in per_seed for head in heads if not head.control]
    cells = (means["I", "", -1], means[row, "", -1], max(rivals.values()))
    return [
        name,
        *(f"{value:.3f}" for value in cells),
        f"{(over > 0).mean():.0%}",
        f"{gates.count(0) / len(per_seed):.0%}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    columns = ["simulated", "I", "row", "best control", "above", "gate closed"]
    with one_thread():
        references = [trained(weak(seed), seed) for seed in seeds]
        aurocs = {name: np.mean([of[name].metrics["test"]["auroc"] for of in references]) for name in REFERENCES}
        found = [[name, f"{auroc:.3f}"] for name, auroc in aurocs.items()]
        show(f"R(I), 100 labels, 150 noisy columns, AUROC, {len(seeds)} seeds", ["trained", "AUROC"], found)
        rows = [compared(name, "M(I)", [margins(made(seed), seed) for seed in seeds]) for name, made in MARGINS.items()]
        show(f"M(I), 100 labels, AUROC, {len(seeds)} seeds", columns, rows)
        for family in ("ridge", "logistic"):
            train = partial(plug, family)
            rows = [compared(name, "P(I)", [train(made(seed), seed) for seed in seeds]) for name, made in PLUG.items()]
            show(f"P(I) by {family}, 150 labels, AUROC, {len(seeds)} seeds", columns, rows)


if __name__ == "__main__":
    main()
