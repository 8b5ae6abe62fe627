"""How often is true guidance found, and do the intervals hold? Cohorts whose S does help, judged on few test cases.

    python -m tests.evidence.power --cohorts 100 [--first 100] [--file docs/power.jsonl]

The heads of one cohort, three seeds of each, are judged on 150 and on 400 test cases as `evaluate` does it; what their
gains truly are is told by 4,000 further cases. Kinds: `noisy outcome`, where S settles what the label is drawn from and
all pairs are labelled; `few labels`, where 40 of 400 pairs are. What is in the file already is not done again. Printed:
how often `guidance helps` was said, by the true gain over the nearest control or reference, and how often the draw of
cases alone would let it be said; how often the 95 % intervals of gains (over I, controls and references) hold the true
one, with its standard error over cohorts, since those of one cohort share their test cases.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
from sklearn.metrics import roc_auc_score

from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.flows.results.effects import ComparisonGroup, comparison_groups
from guidestore.flows.work.threads import one_thread
from guidestore.heads.significance import MARGIN
from tests.evidence.__main__ import added_to, known
from tests.evidence.mediated import Regime, cohort
from tests.evidence.verdicts import by_cases, closed_form, first, trained

TEST_CASES = (150, 400)
POPULATION = 4_000
SEEDS = 3
BINS = (-np.inf, 0.0, 0.02, 0.05, 0.08, 0.12, np.inf)
"""Ends of the true gain over the nearest."""
FILE = Path(__file__).parents[2] / "docs" / "power.jsonl"


KINDS = {"noisy outcome": Regime(label_noise=1.5), "few labels": Regime(400, labelled=40, label_noise=0.5)}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One cohort."""

    number: int
    kind: str


@dataclass(frozen=True, slots=True)
class Found:
    """Of one guided row of one cohort, on so many test cases."""

    n_test: int
    row: str
    verdict: str
    true_over_i: float
    true_over_nearest: float
    by_cases: bool
    """Whether all gains that `guidance helps` asks for lie above 0 by the draw of cases alone, heads as trained."""
    intervals: int
    """Of gains: over I, each control and each reference."""
    covering: int
    """Of them, those that hold the true gain."""


def judged(cell: Cell) -> list[dict[str, object]]:
    """The lines of the file of one cohort."""
    with one_thread():
        recipes = [recipe for seed in range(SEEDS) for recipe in closed_form(seed)]
        runs, predictions = trained(cohort(KINDS[cell.kind], cell.number, n_test=max(TEST_CASES) + POPULATION), recipes)
        found = found_in(runs, predictions)
    return [{**asdict(cell), **asdict(line)} for line in found if line]


def found_in(runs: Sequence[Run], predictions: Mapping[str, RunPredictions]) -> list[Found | None]:
    """Of every guided row, on so many of the test cases; those beyond tell the truth."""
    most = max(TEST_CASES)
    true = {
        name: float(roc_auc_score(said.labels[most:], said.probabilities[most:, 1]))
        for name, said in predictions.items()
    }
    return [
        _found(group, true, n_test)
        for n_test in TEST_CASES
        for group in comparison_groups(runs, {name: first(said, n_test) for name, said in predictions.items()})
    ]


def _found(group: ComparisonGroup, true: dict[str, float], n_test: int) -> Found | None:
    """None where no effect could be told: the teacher was not allowed to teach."""
    said = group.effect_in("", MARGIN)
    if said.effect is None or group.row is None:
        return None

    def true_gain(over: Sequence[str]) -> float:
        return fmean(true[run] for run in group.row.guided) - fmean(true[run] for run in over)

    rivals = (*said.effect.over_controls, *said.effect.over_references)
    told = [(said.effect.gain_over_i.gain, true_gain(group.row.inferior))]
    told += [(gain.over.gain, true_gain(gain.rival.runs)) for gain in rivals]
    covering = sum(interval.low <= truth <= interval.high for interval, truth in told)
    nearest = min(truth for _, truth in told[1:])
    alone = by_cases(group, said)
    return Found(n_test, group.head.row, said.verdict, told[0][1], nearest, alone, len(told), covering)


def missing(file: Path, cells: list[Cell]) -> Iterator[Cell]:
    """Those that are not in the file."""
    done = {(line["number"], line["kind"]) for line in known(file)}
    return (cell for cell in cells if (cell.number, cell.kind) not in done)


def tables(lines: list[dict[str, object]]) -> str:
    """Power by test cases, row and true gain; coverage by test cases and row."""
    from scipy.stats import binomtest

    told = [
        "| test cases | true gain over the nearest | rows | helps | 95 % interval | by cases alone |",
        "|---|---|---|---|---|---|",
    ]
    for n_test in TEST_CASES:
        for low, high in pairwise(BINS):
            here = [x for x in lines if x["n_test"] == n_test and low < float(str(x["true_over_nearest"])) <= high]
            if here:
                helped = binomtest(sum(x["verdict"] == "guidance helps" for x in here), len(here))
                ends = helped.proportion_ci()
                told.append(
                    f"| {n_test} | {low:+.2f} to {high:+.2f} | {len(here)} | {helped.statistic:.3f} | "
                    f"{ends.low:.3f} to {ends.high:.3f} | {fmean(bool(x['by_cases']) for x in here):.3f} |"
                )
    told += ["", "| test cases | row | cohorts | intervals | hold the true gain |", "|---|---|---|---|---|"]
    for n_test in TEST_CASES:
        for row in sorted({str(x["row"]) for x in lines}):
            here = [x for x in lines if x["n_test"] == n_test and x["row"] == row]
            total, covering = (sum(int(str(x[name])) for x in here) for name in ("intervals", "covering"))
            if total:
                share, n = covering / total, len(here)
                off = [int(str(x["covering"])) - share * int(str(x["intervals"])) for x in here]
                error = f"{np.sqrt(n / (n - 1) * np.square(off).sum()) / total:.3f}" if n > 1 else "–"
                told.append(f"| {n_test} | {row} | {n} | {total} | {share:.3f} ± {error} |")
    return "\n".join(told)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cohorts", type=int, default=20, help="of each kind; 0: print what is there")
    asked.add_argument("--first", type=int, default=0, help="number of the first")
    asked.add_argument("--file", type=Path, default=FILE)
    asked.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = asked.parse_args()
    numbers = range(options.first, options.first + options.cohorts)
    todo = list(missing(options.file, [Cell(number, kind) for number in numbers for kind in KINDS]))
    with ProcessPoolExecutor(options.workers) as pool, added_to(options.file) as file:
        for done in as_completed([pool.submit(judged, cell) for cell in todo]):
            file.write("".join(json.dumps(line) + "\n" for line in done.result()))
            file.flush()
    print(tables(known(options.file)))


if __name__ == "__main__":
    main()
