"""The paired bootstrap over cases: how sure a metric, or the difference of two rows, is.

What is drawn are cases, with replacement, once for all runs of a cohort: a case that was drawn twice counts twice in
every row, fold, seed and split that tested it. So rows stay paired, several seeds of one test set do not pass for more
cases, and splits that share cases are not taken for independent. Nothing is stratified: a class's share varies from
draw to draw as it would in the next cohort. (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.)

What follows holds for the heads as they were trained. Luck in training is `heads.significance.training_luck`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions, Unit
from guidestore.heads.checks import check_choice, check_number, check_seed
from guidestore.heads.metrics import drawn_metrics, truth_of
from guidestore.heads.significance.intervals import Interval, interval_of

DRAWS = 2_000
"""The end of a 95 % interval is then the 50th of the sorted draws; another seed moves it by about 3 % of its width."""

MIN_DRAWS = 199
"""Fewer leave less than 5 draws beyond each end of an interval."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMetrics:
    """Metrics of r runs, on their cases and under every draw of them. Made by `draw_metrics`."""

    runs: Mapping[str, int]
    """Run id -> column."""
    units: tuple[Unit, ...]
    """(r,)."""
    test_sets: tuple[int, ...]
    """(r,): runs of one number have the same cases."""
    values: Mapping[str, np.ndarray] = field(repr=False)
    """Metric -> (1 + draws, r) float64; row 0 is the metric itself. NaN where undefined."""
    draws: int
    seed: int
    n_cases: tuple[int, ...] = ()
    """(r,): cases of each run."""
    n_all: int = 0
    """Different cases of all runs."""
    lower_is_better: frozenset[str] = frozenset()
    """Metrics of which less is better: their gains are counted the other way round."""

    def interval(self, run: str, metric: str) -> Interval:
        """The metric of one run with its interval. Raises InvalidInputError."""
        return interval_of(self.row(metric, [run]), f"{metric} of run {run}")

    def row(self, metric: str, runs: Sequence[str]) -> np.ndarray:
        """(1 + draws,) float64: the mean over units, in each unit over its runs (the permutations of a control)."""
        check_choice(metric, "metric", tuple(self.values))
        columns = self._columns(runs)
        by_unit: dict[Unit, list[int]] = {}
        for column in columns:
            by_unit.setdefault(self.units[column], []).append(column)
        weights = [1.0 / (len(by_unit) * len(by_unit[self.units[column]])) for column in columns]
        return self.values[metric][:, columns] @ np.array(weights)

    def tested_on(self, runs: Sequence[str]) -> dict[Unit, int]:
        """Unit -> number of its test set. Raises InvalidInputError where runs of one unit have different cases."""
        test_set_of: dict[Unit, int] = {}
        for run, column in zip(runs, self._columns(runs), strict=True):
            unit, test_set = self.units[column], self.test_sets[column]
            if test_set_of.setdefault(unit, test_set) != test_set:
                raise InvalidInputError(f"run {run} of unit {unit} has other cases than its row; use on_common_cases")
        return test_set_of

    def _columns(self, runs: Sequence[str]) -> list[int]:
        if not runs or len(set(runs)) < len(runs):
            raise InvalidInputError("a row without runs, or with one twice, has no value; give each of its runs once")
        unknown = [run for run in runs if run not in self.runs]
        if unknown:
            raise InvalidInputError(f"run {unknown[0]} was not drawn; pass its predictions to draw_metrics too")
        return [self.runs[run] for run in runs]


def draw_metrics(
    runs: Sequence[RunPredictions],
    *,
    metrics: Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    drawn_from: Iterable[str] = (),
) -> DrawnMetrics:
    """Metrics of all `runs` of one cohort and target, on their cases and under `draws` shared draws of the cases.

    metrics: names of heads.metrics.drawn_metrics of the runs' kind; None: all of them. drawn_from: cases beside those
    of the runs, so that other targets of them are drawn jointly. The draws depend on the set of all case ids, `draws`
    and `seed` alone.
    Raises InvalidInputError where a run occurs twice, a case has two labels, or the number of classes differs.
    """
    check_number(draws, "draws", MIN_DRAWS, integer=True)
    known = drawn_metrics(runs[0].kind if runs else "classes", *(metrics or ()))
    for name in metrics or ():
        check_choice(name, "metric", tuple(known))
    asked = [known[name] for name in (known if metrics is None else metrics)]
    if not runs or len({run.run for run in runs}) < len(runs):
        raise InvalidInputError("there are no runs to draw, or one occurs twice; give the predictions of each run once")
    test_set_of: dict[tuple[str, ...], int] = {}
    groups: dict[tuple[tuple[str, ...], float], list[int]] = {}
    for column, run in enumerate(runs):
        test_set_of.setdefault(run.case_ids, len(test_set_of))
        reference = run.reference if math.isfinite(run.reference) else 0.0
        groups.setdefault((run.case_ids, reference), []).append(column)
    labels = _labels_by_case(runs)
    column_of = {case_id: column for column, case_id in enumerate(sorted({*labels, *drawn_from}))}
    counts_bn = draw_counts(len(column_of), draws, seed)
    values = {metric.name: np.empty((1 + draws, len(runs))) for metric in asked}
    test_sets = np.empty(len(runs), dtype=np.int64)
    for (case_ids, _), columns in groups.items():
        counts = np.ascontiguousarray(counts_bn[:, [column_of[case_id] for case_id in case_ids]])
        first = runs[columns[0]]
        truth = truth_of(first.kind, first.labels, first.reference)
        probabilities_rnk = np.stack([runs[column].probabilities for column in columns])
        test_sets[columns] = test_set_of[case_ids]
        for metric in asked:
            assert metric.drawn is not None  # noqa: S101  (see drawn_metrics)
            values[metric.name][:, columns] = metric.drawn(counts, truth, probabilities_rnk)
    by_id = {run.run: column for column, run in enumerate(runs)}
    return DrawnMetrics(
        *(by_id, tuple(run.unit for run in runs), tuple(test_sets.tolist()), values, draws, seed),
        n_cases=tuple(len(run) for run in runs),
        n_all=len(column_of),
        lower_is_better=frozenset(metric.name for metric in asked if metric.better == "lower"),
    )


def draw_counts(n_cases: int, draws: int, seed: int) -> np.ndarray:
    """(1 + draws, n_cases) float32: how often each draw of n_cases cases holds each; row 0 holds each once."""
    picks = np.random.default_rng(check_seed(seed)).integers(0, n_cases, (draws, n_cases))
    picks += np.arange(draws)[:, None] * n_cases
    counts = np.bincount(picks.ravel(), minlength=draws * n_cases).reshape(draws, n_cases)
    return np.concatenate([np.ones((1, n_cases)), counts]).astype(np.float32)


def _labels_by_case(runs: Sequence[RunPredictions]) -> dict[str, Any]:
    """Case -> its y: a number, or of survival and several labels the bytes of it."""
    labels: dict[str, Any] = {}
    seen: set[tuple[tuple[str, ...], bytes]] = set()
    for run in runs:
        if run.kind != runs[0].kind:
            raise InvalidInputError(
                f"runs {runs[0].run} and {run.run} are of kinds {runs[0].kind} and {run.kind}; draw one target at "
                "a time"
            )
        if run.n_classes != runs[0].n_classes:
            raise InvalidInputError(
                f"runs {runs[0].run} and {run.run} have {runs[0].n_classes} and {run.n_classes} classes; draw one "
                "target at a time"
            )
        key = (run.case_ids, run.labels.tobytes())
        if key in seen:
            continue
        seen.add(key)
        own = run.labels.tolist() if run.labels.ndim == 1 else [row.tobytes() for row in run.labels]
        for case_id, label in zip(run.case_ids, own, strict=True):
            if labels.setdefault(case_id, label) != label:
                raise InvalidInputError(
                    f"case {case_id} has label {label} in run {run.run} and {labels[case_id]} in another; draw one "
                    "target and one snapshot at a time"
                )
    return labels
