"""All metrics by name and kind of target, which of them decides, and all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind, known_of
from guidestore.embeddings.plugins import Registry, names_object
from guidestore.embeddings.runs import median_grade
from guidestore.heads.checks import check_labels
from guidestore.heads.metrics import classes as of_classes
from guidestore.heads.metrics import multilabel, ordinal, survival, value
from guidestore.heads.metrics.metric import Metric, Scored
from guidestore.heads.metrics.own import own_metric

METRICS: tuple[Metric, ...] = tuple(
    metric for kind in (of_classes, ordinal, multilabel, value, survival) for metric in kind.METRICS
)
"""In the order of tables, whose columns are those with a drawn form."""
MAIN: Mapping[TargetKind, Metric] = {
    "classes": of_classes.AUROC,
    "ordinal": ordinal.QUADRATIC_KAPPA,
    "multilabel": multilabel.MACRO_AUROC,
    "value": value.R2,
    "survival": survival.UNO_C,
}
"""In which verdicts are given, heads ranked and champions chosen, where nothing else is asked."""

_BROUGHT: Registry[Any] = Registry("metric", "guidestore.metrics", {})
_asked: dict[str, Metric] = {}
"""Metrics of one's own that this process was asked for, by name."""


def every_metric() -> dict[str, Metric]:
    """By name, of whatever kind: ours first, then those of other distributions. Raises InvalidInputError."""
    return {metric.name: metric for metric in (*METRICS, *_brought().values())}


@cache
def _brought() -> Mapping[str, Metric]:
    """By the name of the entry point."""
    ours = {metric.name for metric in METRICS}
    for name in _BROUGHT.names():
        if name in ours:
            raise InvalidInputError(
                f"the entry point {name!r} of guidestore.metrics has the name of a metric of guidestore; rename it, or "
                "uninstall the package that has it"
            )
    return {name: own_metric(_BROUGHT.load(name), name) for name in _BROUGHT.names()}


def asked_metric(given: Any, kind: TargetKind | None = None) -> str:
    """The name of a metric that heads can be compared by; '' for ''.

    given: a name; ``module:Class``, of the working directory too; a function, class or object of one's own
    (heads.metrics.own), which `metric_named` knows from then on. Raises InvalidInputError, suggesting the nearest.
    """
    if given == "" or given is None:
        return ""
    if isinstance(given, str) and given in _brought():
        given = _brought()[given].name
    elif not isinstance(given, str) or names_object(given):
        metric = own_metric(given)
        _asked[metric.name] = metric
        given = metric.name
    check_metric(given, kind)
    return given


def all_metrics(kind: TargetKind = "classes") -> tuple[Metric, ...]:
    """Those of a kind of target. Raises InvalidInputError."""
    return tuple(metric for metric in every_metric().values() if kind in metric.kinds)


def drawn_metrics(kind: TargetKind = "classes", *asked: str) -> dict[str, Metric]:
    """Those with a drawn form, by name: what tables show and heads are compared by. asked: metrics of one's own that
    are shown beside them, where they are for that kind; '' for none."""
    own = [_asked[name] for name in asked if name in _asked and kind in _asked[name].kinds]
    return {metric.name: metric for metric in (*all_metrics(kind), *own) if metric.drawn}


def main_metric_of(kind: TargetKind) -> Metric:
    """The one that decides."""
    return MAIN[kind]


def metric_named(name: str) -> Metric:
    """Of whatever kind. Raises InvalidInputError, suggesting the nearest."""
    every = every_metric() | _asked
    if name not in every:
        raise unknown_name("metric", name, every)
    return every[name]


def check_metric(name: str, kind: TargetKind | None = None) -> None:
    """That heads can be compared by it, and that it is for that kind of target. Raises InvalidInputError."""
    every = {of.name: of for of in (every_metric() | _asked).values() if of.drawn}
    known = drawn_metrics(kind, name) if kind else every
    if name not in known:
        raise unknown_name("metric", name, known)


# All of them at once -------------------------------------------------------------------------------------------------


def truth_of(kind: TargetKind, y: np.ndarray, reference: float = math.nan) -> np.ndarray:
    """What metrics read as the truth: y of n cases, beside it the run's reference where the kind has one."""
    if kind in ("value", "survival"):
        return np.column_stack([y, np.full(len(y), reference)])
    return y


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    kind: TargetKind = "classes",
    reference: float = math.nan,
) -> dict[str, float]:
    """Every metric of the y of n >= 1 cases (embeddings.outcomes), all known, and of what a head says of them
    (heads.metrics.metric), where it is defined. Raises InvalidInputError.

    Classes and grades: beside them recall:<class> for each class that occurs, of grades by the one in the middle, as
    predictions have it; several labels: auroc:<label> and ap:<label>.
    reference: of a value the mean of the train cases, of survival the horizon.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if kind in ONE_CLASS_KINDS:
        scored = _scored_classes(labels, probabilities, len(classes))
    else:
        y = np.asarray(labels, dtype=np.float64)
        if probabilities.ndim != 2 or len(probabilities) != len(y) or not len(y):
            raise InvalidInputError(
                f"metrics: {len(y)} outcomes, but what was said of them is of shape {probabilities.shape}; they must "
                "be one row for each, at least one"
            )
        if not np.isfinite(probabilities).all() or not known_of(y).all():
            raise InvalidInputError("metrics: an outcome is missing, or what was said of it is not finite")
        scored = Scored(truth_of(kind, y, reference), probabilities)
    values = {metric.name: metric.value(scored) for metric in all_metrics(kind)}
    kept = {name: told for name, told in values.items() if told is not None}
    if kind == "multilabel":
        return kept | multilabel.of_each_label(scored.labels, scored.probabilities, classes)
    if kind not in ONE_CLASS_KINDS:
        return kept
    said_n = median_grade(scored.probabilities) if kind == "ordinal" else scored.predicted
    recalls = scored.recalls_of(said_n)
    return kept | {f"recall:{classes[c]}": float(r) for c, r in zip(scored.present, recalls, strict=True)}


def _scored_classes(labels: np.ndarray, probabilities: np.ndarray, k: int) -> Scored:
    if probabilities.ndim != 2 or probabilities.shape[1] != k or not len(probabilities):
        raise InvalidInputError(
            f"metrics: probabilities have shape {probabilities.shape}; they must be (n, {k}) with at least one row"
        )
    in_range = np.isfinite(probabilities).all() and probabilities.min() >= 0
    if not in_range or not np.allclose(probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-6):
        raise InvalidInputError("metrics: some probabilities are negative, not finite or do not sum to 1 in their row")
    labels = check_labels(labels, len(probabilities), k, "metrics: labels")
    return Scored(labels, probabilities / probabilities.sum(axis=1, keepdims=True))
