"""How often is a verdict wrong? Simulated cohorts of known truth through the heads and verdicts that users get.

    python -m tests.evidence --cohorts 500 [--heads closed-form|networks] [--file docs/evidence.jsonl]

Each cohort is trained and judged as `guide` and `evaluate` do it, in the main metric, with five draws of each control:
with one seed and with three, on 300 test cases. What is in the file already is not done again: a run that was stopped
goes on. Printed per row and kind of cohort: how often `guidance helps` was said, the upper Clopper-Pearson end of the
more often of the two, and the mean gains.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TextIO

from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.flows.work.threads import one_thread
from guidestore.heads.significance.guidance_effect import HELPS
from tests.evidence.cohorts import KINDS, NULLS, cohort
from tests.evidence.verdicts import closed_form, networks, trained, verdicts

HEADS = {"closed-form": closed_form, "networks": networks}
SIZES = (60, 165, 400, 1_000)
SEEDS = (1, 3)
"""With which each cohort is judged."""
N_TEST = 300
FILE = Path(__file__).parents[2] / "docs" / "evidence.jsonl"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One cohort."""

    number: int
    kind: str
    n_train: int
    heads: str


def judged(cell: Cell) -> list[dict[str, object]]:
    """The lines of the file of one cohort."""
    with one_thread():
        recipes = [recipe for seed in range(max(SEEDS)) for recipe in HEADS[cell.heads](seed)]
        paired = cohort(cell.kind, cell.n_train, cell.number, n_test=N_TEST)
        return lines_of(cell, *trained(paired, recipes))


def lines_of(cell: Cell, runs: Sequence[Run], predictions: Mapping[str, RunPredictions]) -> list[dict[str, object]]:
    """What was said of a cohort's rows, each way that it is judged."""
    lines: list[dict[str, object]] = []
    for seeds in SEEDS:
        said = verdicts([run for run in runs if run.seed < seeds], predictions)
        lines += [{**asdict(cell), "seeds": seeds, "n_test": N_TEST, **asdict(row)} for row in said]
    return lines


def known(file: Path) -> list[dict[str, object]]:
    """The lines so far; a last one that was cut is left out."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


@contextmanager
def added_to(file: Path) -> Iterator[TextIO]:
    """To write whole lines behind those that are there; a last one that was cut is ended."""
    ended = not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")
    with file.open("a", encoding="utf-8") as more:
        more.write("" if ended else "\n")
        yield more


def missing(file: Path, cells: list[Cell]) -> Iterator[Cell]:
    """Those that are not in the file."""
    done = {(line["number"], line["kind"], line["n_train"], line["heads"]) for line in known(file)}
    return (cell for cell in cells if (cell.number, cell.kind, cell.n_train, cell.heads) not in done)


def table(lines: list[dict[str, object]]) -> str:
    """A Markdown table of how often each row of each kind of cohort was said to be helped, by seeds; `at most` is the
    upper Clopper-Pearson end of the more often of them."""
    from scipy.stats import binomtest

    groups: dict[tuple[str, ...], dict[int, list[dict[str, object]]]] = {}
    for line in lines:
        key = tuple(str(line[name]) for name in ("heads", "kind", "row", "n_train"))
        groups.setdefault(key, {}).setdefault(int(str(line["seeds"])), []).append(line)
    kinds = list(KINDS)
    ways = " | ".join(f"helps, seeds: {seeds}" for seeds in SEEDS)
    told = [
        f"| heads | cohort | row | n | cohorts | {ways} | at most | gain over I | over the nearest | most often |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted(groups, key=lambda key: (key[0], kinds.index(key[1]), key[2], int(key[3]))):
        each = [groups[key][seeds] for seeds in SEEDS]
        helped = [sum(line["verdict"] == HELPS for line in of_way) for of_way in each]
        most = binomtest(max(helped), len(each[0])).proportion_ci().high
        gains = " | ".join(_mean(each[-1], name) for name in ("gain_over_i", "gain_over_nearest"))
        often = Counter(str(line["verdict"]) for line in each[0]).most_common(1)[0][0]
        told.append(
            f"| {' | '.join(key)} | {len(each[0])} | {' | '.join(map(str, helped))} | {most:.3f} | {gains} | {often} |"
        )
    return "\n".join(told)


def over_nulls(lines: list[dict[str, object]]) -> str:
    """As `table`, over all kinds of cohorts where no guidance can help: rates of each row and size."""
    from scipy.stats import binomtest

    groups: dict[tuple[str, str, int], dict[int, list[bool]]] = {}
    for line in lines:
        if line["kind"] in NULLS:
            key = (str(line["heads"]), str(line["row"]), int(str(line["n_train"])))
            groups.setdefault(key, {}).setdefault(int(str(line["seeds"])), []).append(line["verdict"] == HELPS)
    ways = " | ".join(f"helps, seeds: {seeds}" for seeds in SEEDS)
    told = [f"| heads | row | n | cohorts where none can help | {ways} | at most |", "|---|---|---|---|---|---|---|"]
    for key in sorted(groups):
        helped = [sum(groups[key][seeds]) for seeds in SEEDS]
        n = len(groups[key][SEEDS[0]])
        most = binomtest(max(helped), n).proportion_ci().high
        told.append(f"| {' | '.join(map(str, key))} | {n} | {' | '.join(map(str, helped))} | {most:.3f} |")
    return "\n".join(told)


def _mean(lines: list[dict[str, object]], name: str) -> str:
    """Over the cohorts where the teacher was allowed to teach."""
    values = [float(str(line[name])) for line in lines if line[name] is not None]
    return f"{fmean(values):+.3f}" if values else "–"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cohorts", type=int, default=20, help="of each kind and size; 0: print what is there")
    asked.add_argument("--heads", choices=tuple(HEADS), default="closed-form")
    asked.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="train cases")
    asked.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    asked.add_argument("--file", type=Path, default=FILE)
    asked.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = asked.parse_args()
    cells = [
        Cell(number, kind, n, options.heads)
        for number in range(options.cohorts)
        for n in options.sizes
        for kind in options.kinds
    ]
    todo = list(missing(options.file, cells))
    with ProcessPoolExecutor(options.workers) as pool, added_to(options.file) as file:
        waiting = [pool.submit(judged, cell) for cell in todo]
        for number, done in enumerate(as_completed(waiting), 1):
            file.write("".join(json.dumps(line) + "\n" for line in done.result()))
            file.flush()
            if number % 50 == 0:
                print(f"{number} of {len(todo)} cohorts", flush=True)
    print(table(known(options.file)), over_nulls(known(options.file)), sep="\n\n")
    false = [line for line in known(options.file) if line["kind"] in NULLS and line["verdict"] == HELPS]
    print(f"\n`guidance helps` was said {len(false)} times of rows of cohorts where none can")


if __name__ == "__main__":
    main()
