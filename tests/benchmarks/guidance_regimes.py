"""Where guidance pays: the gain of every guided row beyond the nearest of its controls and references, by regime.

Simulated cohorts whose truth is known (tests/evidence/mediated.py), closed-form heads, one seed; gains are those on
3,000 test cases, `helps` is what 400 of them let a user say.
Run: OMP_NUM_THREADS=1 python -m tests.benchmarks.guidance_regimes [--cohorts 10]
"""

from __future__ import annotations

import argparse
from statistics import fmean, stdev

from guidestore.flows.results.effects import row_effects
from guidestore.flows.work.threads import one_thread
from tests.benchmarks.measuring import show
from tests.evidence.mediated import Regime, cohort
from tests.evidence.power import first
from tests.evidence.verdicts import closed_form, gain_over_nearest, trained

TEST, JUDGED = 3_000, 400
REGIMES = {
    "S decides the label": Regime(label_noise=0.0),
    "the label is noisy given S": Regime(label_noise=1.5),
    "I has an effect of its own": Regime(label_noise=0.5, direct=2.0),
    "S is as noisy as I": Regime(superior_noise=6.0),
    "30 % of labels wrong": Regime(400, flipped=0.3, label_noise=0.5),
    "40 of 400 labelled": Regime(400, labelled=40, label_noise=0.5),
}


def measure(regime: Regime, cohorts: int) -> dict[str, list[tuple[float | None, float | None, bool]]]:
    """Row -> of each cohort the gain over I and over the nearest (None: the gate was closed), and whether it helps."""
    found: dict[str, list[tuple[float | None, float | None, bool]]] = {}
    for number in range(cohorts):
        runs, predictions = trained(cohort(regime, number, n_test=TEST), closed_form(0))
        few = {name: first(said, JUDGED) for name, said in predictions.items()}
        verdicts = {of.head: of.verdict for of in row_effects(runs, few)}
        for of in row_effects(runs, predictions):
            over_i = of.effect.gain_over_i.gain.value if of.effect else None
            helps = verdicts[of.head] == "guidance helps"
            found.setdefault(of.head.row, []).append((over_i, gain_over_nearest(of), helps))
    return found


def spread(values: list[float | None]) -> str:
    """Mean and standard error over cohorts; a closed gate gains nothing."""
    gains = [value or 0.0 for value in values]
    error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return f"{fmean(gains):+.3f} ± {error:.3f}"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cohorts", type=int, default=10)
    options = asked.parse_args()
    rows = []
    with one_thread():
        for name, regime in REGIMES.items():
            for row, of_row in measure(regime, options.cohorts).items():
                over_i, nearest, helps = zip(*of_row, strict=True)
                closed = sum(value is None for value in nearest)
                rows.append([name, row, spread([*over_i]), spread([*nearest]), f"{fmean(helps):.2f}", str(closed)])
    columns = ["regime", "row", "over I", "over the nearest", "helps", "gate closed"]
    show(f"AUROC, mean of {options.cohorts} cohorts", columns, rows)


if __name__ == "__main__":
    main()
