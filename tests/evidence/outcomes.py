"""How often is a verdict on a value, survival, grades or several labels wrong, and do intervals of gains hold the true
gain?

    python -m tests.evidence.outcomes --cohorts 500 [--kinds value survival ordinal multilabel] [--file FILE]

As `python -m tests.evidence`, with closed-form heads (ridge as G; ridge, Cox ridge, proportional odds or logistic
regressions as D_c; M(I), P(I)). The true gain of a row over I, as trained, is taken from 6,000 more cases, none of
them censored. What is in the file is not done again. Printed: how often `guidance helps` was said where none can, per
row and kind; how often where z_S mediates, by the true gain; and how often intervals hold the true gain.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import cast

import numpy as np
from sklearn.metrics import roc_auc_score

from guidestore.embeddings.outcomes import TargetKind, known_of
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.guiding.recipes import HeadRecipe, MarginsRecipe, PlugRecipe, RowsRecipe, references
from guidestore.flows.results.effects import ComparisonGroup, comparison_groups, is_guided
from guidestore.flows.work.threads import one_thread
from guidestore.heads.choice import Choice
from guidestore.heads.input_rows import I
from guidestore.heads.metrics import Scored, main_metric_of, metric_named, truth_of
from guidestore.heads.significance import MARGIN
from guidestore.heads.significance.guidance_effect import HELPS
from tests.evidence.__main__ import added_to
from tests.evidence.verdicts import PERMUTATIONS, by_cases, gain_over_nearest, heads_of, said_by

FILE = Path(__file__).parents[2] / "docs" / "evidence-outcomes.jsonl"
DECODERS: dict[TargetKind, str] = {
    "value": "ridge",
    "survival": "ridge",
    "ordinal": "proportional_odds",
    "multilabel": "logistic",
}
N_TRAIN, N_VAL, N_TEST, N_MORE = 150, 60, 300, 6_000
INFERIOR_DIM, LATENT_DIM, NUISANCE_DIM = 60, 4, 26
"""Of z_I, of what the outcome follows, and of what else z_I shows as clearly."""


def _noise(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return rng.standard_normal(h.shape)


def _linear(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    mixed = z_i @ rng.standard_normal((INFERIOR_DIM, LATENT_DIM)) / np.sqrt(INFERIOR_DIM)
    return mixed + 0.3 * rng.standard_normal(mixed.shape)


def _outcome(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return 0.75 * outcome.reshape(len(h), -1) / outcome.std() + rng.standard_normal(h.shape)


def _mediates(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return h + 0.1 * rng.standard_normal(h.shape)


SUPERIORS: dict[str, Callable[..., np.ndarray]] = {
    "independent noise": _noise,
    "linear function of z_I": _linear,
    "outcome alone": _outcome,
    "mediates a noisy outcome": _mediates,
}
"""What z_S is. All but the last are nulls. `outcome` is what is known of it: the value, the logarithm of the time, the
grade, or the labels in a column each; of what lies beneath a grade or a label z_S may say nothing, or it can help."""
NULLS = tuple(SUPERIORS)[:-1]


@dataclass(frozen=True, slots=True)
class Line:
    """One guided row of one cohort."""

    rule: int
    number: int
    kind: TargetKind
    superior: str
    row: str
    verdict: str
    gain: float | None
    """Over I, in the main metric; None where none could be told."""
    low: float | None
    high: float | None
    true_gain: float | None
    over_nearest: float | None
    by_cases: bool | None = None
    """Whether all intervals would lie above 0 if no luck in training were counted; None of nulls and where not told."""


RULE = 4
"""By which verdicts are made, and what truth is, where that changes: 1, controls with one run borrowed the luck of
shuffled pairs; 2, each has that of its own draws; 3, truth is told by 6,000 cases, none of them censored, not by 2,000,
whose own chance let intervals miss it more often; 4, heads in closed form choose by inner folds that are drawn up to
five times, the same for every seed. Rows of several are never counted together."""


def cohort(kind: TargetKind, superior: str, number: int) -> tuple[PairedCodes, np.ndarray]:
    """All pairs of train and val have an outcome; test has the cases that are judged, then, without, those that tell
    the truth. And the outcomes of all."""
    rng = np.random.default_rng([number, zlib.crc32(f"{kind} {superior}".encode())])
    n = N_TRAIN + N_VAL + N_TEST + N_MORE
    h = rng.standard_normal((n, LATENT_DIM))
    shown = np.hstack([h, rng.standard_normal((n, NUISANCE_DIM))])
    z_i = shown @ rng.standard_normal((shown.shape[1], INFERIOR_DIM)) + rng.standard_normal((n, INFERIOR_DIM))
    follows = h @ np.full(LATENT_DIM, 0.5)
    if kind == "multilabel":  # each label follows two of the four
        follows = h @ np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]) * np.sqrt(0.5)
    place = follows + 1.2 * rng.standard_normal(follows.shape)
    labels, outcomes, names, told = np.full(n, -1, dtype=np.int64), None, (), place
    if kind == "value":
        outcomes = 50.0 + 10.0 * place
    elif kind == "survival":
        died, left = 20.0 * rng.exponential(np.exp(-1.2 * follows)), 40.0 * rng.exponential(size=n)
        left[-N_MORE:] = np.inf
        outcomes = np.column_stack([np.minimum(died, left) + 1e-3, died <= left])
        told = np.log(outcomes[:, 0])
    elif kind == "multilabel":
        told = outcomes = (place > [-0.5, 0.0, 0.5, 1.0]).astype(np.float64)
        names = ("a", "b", "c", "d")
    else:
        told = labels = np.digitize(place, [-1.0, 0.0, 1.0]).astype(np.int64)
        names = ("0", "1", "2", "3")
    z_s = SUPERIORS[superior](rng, h, z_i, told)
    every = np.ones(n, dtype=bool)
    paired = PairedCodes(
        *("made", "drawn", 0, "outcome", names),
        tuple(f"case-{case:05d}" for case in range(n)),
        *(z_i.astype(np.float32), z_s.astype(np.float32), every, every, labels),
        parts=np.repeat(["train", "val", "test"], [N_TRAIN, N_VAL, N_TEST + N_MORE]),
        kind=kind,
        outcomes=outcomes,
    )
    shown = paired.y.copy()
    shown[-N_MORE:] = -1 if kind == "ordinal" else np.nan  # so that no metric is taken of them
    return paired.with_y(shown), paired.y


def recipes(kind: TargetKind) -> list[HeadRecipe]:
    """Closed forms."""
    return [
        RowsRecipe("matched", 0, Choice.of("ridge"), Choice.of(DECODERS[kind]), PERMUTATIONS),
        MarginsRecipe(0, PERMUTATIONS),
        PlugRecipe(0, PERMUTATIONS),
        *references(0, kind),
    ]


@dataclass(frozen=True, slots=True)
class Said:
    """By the heads of one cohort."""

    runs: list[Run]
    judges: dict[str, RunPredictions]
    """Of the cases that are judged."""
    true: dict[str, float]
    """The main metric on the further cases, of row I and the guided rows as trained."""


def said(number: int, kind: TargetKind, superior: str) -> Said:
    """Of one cohort."""
    paired, truth = cohort(kind, superior, number)
    with one_thread():
        trained = heads_of(paired, recipes(kind))
        heads = {run.id: (run, head) for run, head in trained if head.status == "ok"}
        y = truth[paired.parts != "train"]  # what heads say of
        judges, true = {}, {}
        for run, head in heads.values():
            known = known_of(head.labels)
            judges[run.id] = said_by(run, head, (head.parts == "test") & known, y)
            if run.row == I or is_guided(run.head):
                true[run.id] = _score(said_by(run, head, ~known, y), main_metric_of(kind).name)
        return Said([run for run, _ in trained], judges, true)


def judged(number: int, kind: TargetKind, superior: str, of: Said) -> list[Line]:
    """The lines of one cohort."""
    lines = []
    with one_thread():
        for group in comparison_groups(of.runs, of.judges):
            told = group.effect_in("", MARGIN)
            gain = told.effect.gain_over_i.gain if told.effect else None
            ends = (gain.value, gain.low, gain.high) if gain else (None, None, None)
            true = _true_gain(group, of.true) if gain else None
            alone = None if superior in NULLS else told.verdict == HELPS or by_cases(group, told)
            more = (told.verdict, *ends, true, gain_over_nearest(told), alone)
            lines.append(Line(RULE, number, kind, superior, group.head.row, *more))
    return lines


def _true_gain(group: ComparisonGroup, true: Mapping[str, float]) -> float | None:
    """Of the heads as trained, on the further cases."""
    row = group.row
    return fmean(true[run] for run in row.guided) - fmean(true[run] for run in row.inferior) if row else None


def _score(predictions: RunPredictions, metric: str) -> float:
    if predictions.kind == "survival":
        return _concordance(predictions.labels[:, 0], predictions.probabilities[:, 0], predictions.reference)
    if predictions.kind == "multilabel":
        return float(roc_auc_score(predictions.labels, predictions.probabilities))
    truth = truth_of(predictions.kind, predictions.labels, predictions.reference)
    return cast(float, metric_named(metric).value(Scored(truth, predictions.probabilities)))


def _concordance(time: np.ndarray, risk: np.ndarray, horizon: float) -> float:
    """What Uno's C up to the horizon estimates, where every time is that of an event and no two are equal: Kendall's
    tau of all pairs, less those that both lie beyond the horizon."""
    from scipy.stats import kendalltau, rankdata

    apart = total = 0.0
    for sign, part in ((1, np.ones(len(time), dtype=bool)), (-1, time >= horizon)):
        n, (_, ties) = int(part.sum()), np.unique(risk[part], return_counts=True)
        pairs, tied = n * (n - 1) / 2, float((ties * (ties - 1) / 2).sum())
        if tied < pairs:
            tau = float(kendalltau(rankdata(-time[part]), rankdata(risk[part])).statistic)
            apart += sign * tau * np.sqrt(pairs * (pairs - tied))
        total += sign * pairs
    return 0.5 * (apart / total + 1)


def table(lines: list[Line]) -> str:
    """A Markdown table, a line for each kind, z_S and row."""
    from scipy.stats import binomtest

    told = [
        "| kind | z_S | row | cohorts | helps | 95 % interval | true gain | gain | interval holds it | most often |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.kind, line.superior, line.row), []).append(line)
    for (kind, superior, row), of_cell in sorted(groups.items()):
        words = Counter(line.verdict for line in of_cell)
        helped = binomtest(words["guidance helps"], len(of_cell))
        ends = helped.proportion_ci()
        known = [line for line in of_cell if line.gain is not None and line.true_gain is not None]
        gains = [fmean(getattr(line, name) for line in known) if known else None for name in ("true_gain", "gain")]
        shown = " | ".join("–" if gain is None else f"{gain:+.3f}" for gain in gains)
        holds = [cast(float, line.low) <= cast(float, line.true_gain) <= cast(float, line.high) for line in known]
        covered = f"{np.mean(holds):.1%} of {len(holds)}" if holds else "–"
        told.append(
            f"| {kind} | {superior} | {row} | {len(of_cell)} | {helped.statistic:.3f} | {ends.low:.3f} to "
            f"{ends.high:.3f} | {shown} | {covered} | {words.most_common(1)[0][0]} |"
        )
    return "\n".join(told)


BARS: dict[TargetKind, float] = {"value": 0.10, "survival": 0.05, "ordinal": 0.10, "multilabel": 0.05}
"""True gains over I, in the main metric, that 300 test cases should show nine times in ten."""


def pooled(lines: list[Line]) -> str:
    """A Markdown table, a line for each kind and row, over all z_S: false verdicts with the upper end of their 95 %
    Clopper-Pearson interval, power from the bar on, and coverage."""
    from scipy.stats import binomtest

    told = [
        "| kind | row | nulls | `guidance helps` | at most | gain from | `guidance helps` | by cases alone | intervals "
        "hold it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, row in sorted({(line.kind, line.row) for line in lines}):
        here = [line for line in lines if (line.kind, line.row) == (kind, row)]
        nulls = [line.verdict == HELPS for line in here if line.superior in NULLS]
        known = [line for line in here if line.true_gain is not None]
        enough = [line for line in known if line.superior not in NULLS and cast(float, line.true_gain) >= BARS[kind]]
        power, alone = (
            [line.verdict == HELPS for line in enough],
            [line.by_cases for line in enough if line.by_cases is not None],
        )
        holds = [cast(float, line.low) <= cast(float, line.true_gain) <= cast(float, line.high) for line in known]
        most = f"{binomtest(sum(nulls), len(nulls)).proportion_ci().high:.3f}" if nulls else "–"
        told.append(
            f"| {kind} | {row} | {len(nulls)} | {sum(nulls)} | {most} | +{BARS[kind]:.2f} | {sum(power)} of "
            f"{len(power)} | {sum(alone)} of {len(alone)} | {sum(holds)} of {len(holds)} |"
        )
    return "\n".join(told)


def known(file: Path, rule: int = RULE) -> list[Line]:
    """The lines of a rule so far; a last one that was cut is left out."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    every = [Line(**json.loads(line)) for line in lines if line.endswith("}")]
    return [line for line in every if line.rule == rule]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cohorts", type=int, default=20, help="of each kind and z_S; 0: print what is there")
    asked.add_argument("--kinds", nargs="+", choices=tuple(DECODERS), default=tuple(DECODERS))
    asked.add_argument("--superiors", nargs="+", choices=tuple(SUPERIORS), default=tuple(SUPERIORS))
    asked.add_argument("--file", type=Path, default=FILE)
    asked.add_argument(
        "--rule", type=int, default=RULE, help="whose tables are printed; cohorts are judged by the last"
    )
    options = asked.parse_args()
    done = {(line.number, line.kind, line.superior) for line in known(options.file)}
    with added_to(options.file) as file:
        for number in range(options.cohorts):
            for kind in options.kinds:
                for superior in options.superiors:
                    if (number, kind, superior) not in done:
                        lines = judged(number, kind, superior, said(number, kind, superior))
                        file.write("".join(json.dumps(asdict(line)) + "\n" for line in lines))
                        file.flush()
    lines = known(options.file, options.rule)
    print(table(lines), pooled(lines), sep="\n\n")


if __name__ == "__main__":
    main()
