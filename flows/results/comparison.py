"""Two groups of runs on the same cases: how much better is one, how sure is that, and which predictions changed.

Two runs, two snapshots, two sweeps, champion and challenger: all of them are compared here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.runs import RunPredictions, Unit, median_grade
from guidestore.heads.significance import Interval, compare, draw_metrics, on_common_cases


@dataclass(frozen=True, slots=True)
class MetricGain:
    """One metric of both groups, the mean over their units, and how much more b has."""

    metric: str
    a: float
    b: float
    gain: Interval
    """b minus a, with its 95 % interval over the cases."""
    p: float
    """Two-sided."""

    def as_row(self) -> dict[str, float]:
        """Flat, for tables: a, b, gain, low, high, p."""
        gain = self.gain
        return {"a": self.a, "b": self.b, "gain": gain.value, "low": gain.low, "high": gain.high, "p": self.p}


@dataclass(frozen=True, slots=True)
class ChangedCase:
    """A case whose predicted class differs; of several runs their mean probabilities say it."""

    case_id: str
    label: str
    a: str
    """The class that group a predicts."""
    b: str

    def as_row(self) -> dict[str, str]:
        """Flat, for tables."""
        return {"case_id": self.case_id, "label": self.label, "a says": self.a, "b says": self.b}


@dataclass(frozen=True, slots=True, eq=False)
class GroupComparison:
    """Group b minus group a, heads as trained. Made by `compare_groups`."""

    a: tuple[RunPredictions, ...]
    """In the units that both groups have, on the cases that all runs of a unit have."""
    b: tuple[RunPredictions, ...]
    gains: tuple[MetricGain, ...]
    """In the order that was asked; but for the first, those that are not defined on these cases are left out."""
    draws: int
    seed: int

    @property
    def n_cases(self) -> int:
        """Different cases."""
        return len({case_id for run in self.a for case_id in run.case_ids})

    def changed(self, classes: Sequence[str]) -> list[ChangedCase]:
        """The cases whose class or grade the groups predict otherwise, by id; none where a case has no one class."""
        if self.a[0].kind not in ONE_CLASS_KINDS:
            return []
        a, b = _mean_predictions(self.a), _mean_predictions(self.b)
        labels = {case: int(label) for run in self.a for case, label in zip(run.case_ids, run.labels, strict=True)}
        return [
            ChangedCase(case, classes[labels[case]], classes[a[case]], classes[b[case]])
            for case in sorted(a.keys() & b.keys())
            if a[case] != b[case]
        ]


def compare_groups(
    a: Iterable[RunPredictions],
    b: Iterable[RunPredictions],
    metrics: Sequence[str],
    unit: Callable[[RunPredictions], Unit],
) -> GroupComparison:
    """Group `b` minus group `a` in these metrics, by a paired bootstrap over the cases.

    unit: what a run of one group and a run of the other must share to be a pair, such as split and fold; runs of one
    group and unit count with their mean. Raises InvalidInputError where no unit is in both groups, fewer than 2 cases
    are, or the first metric is not defined on them.
    """
    sides = [
        [replace(run, run=f"{name} {run.run}", unit=unit(run)) for run in runs] for name, runs in (("a", a), ("b", b))
    ]
    both = {run.unit for run in sides[0]} & {run.unit for run in sides[1]}
    if not both:
        raise InvalidInputError("they have no fold in common; compare heads of the same split and folds")
    in_a = [run for run in sides[0] if run.unit in both]
    runs = on_common_cases([*in_a, *(run for run in sides[1] if run.unit in both)])
    in_a, in_b = runs[: len(in_a)], runs[len(in_a) :]
    ids = [[run.run for run in side] for side in (in_a, in_b)]
    gains = []
    with threadpool_limits(1):
        drawn = draw_metrics(runs, metrics=metrics)
        for metric in metrics:
            try:
                gain = compare(drawn, metric, ids[1], ids[0])
            except InvalidInputError:
                if metric == metrics[0]:
                    raise
                continue
            of_a, of_b = (float(drawn.row(metric, side)[0]) for side in ids)
            gains.append(MetricGain(metric, of_a, of_b, gain.gain, gain.p_value))
    return GroupComparison(tuple(in_a), tuple(in_b), tuple(gains), drawn.draws, drawn.seed)


def split_and_fold(run: RunPredictions) -> Unit:
    """A unit of `compare_groups`: seeds count with their mean, so that heads of other seeds can be compared."""
    return run.unit[:2]


def _mean_predictions(runs: Iterable[RunPredictions]) -> dict[str, int]:
    """Case -> class, or grade, of the mean probabilities over the runs that predict it."""
    runs = list(runs)
    probabilities: dict[str, list[np.ndarray]] = {}
    for run in runs:
        for case, of_case in zip(run.case_ids, run.probabilities, strict=True):
            probabilities.setdefault(case, []).append(of_case)
    means = {case: np.mean(of_case, axis=0) for case, of_case in probabilities.items()}
    if runs[0].kind == "ordinal":
        return {case: int(median_grade(mean[None])[0]) for case, mean in means.items()}
    return {case: int(mean.argmax()) for case, mean in means.items()}
