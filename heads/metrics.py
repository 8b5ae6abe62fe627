"""How good predictions are: one object per metric, from its name to its value under draws of the cases.

A metric of a target of classes reads (n,) labels 0 … k-1 and (n, k) probabilities. Its drawn form gives the metric of
many runs under many draws of the cases, as matrix products: a draw is a row of counts, and with every count 1 it is the
metric itself. Axes: b draws, n cases, r runs, k classes. To add one, write it here and put it into METRICS; an
installed distribution brings a `Metric` through the entry-point group ``guidestore.metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.plugins import Registry
from guidestore.heads.checks import check_labels

TargetKind = Literal["classes"]

_EPS = float(np.finfo(np.float64).eps)
_EXACT_FLOAT32 = 2**22
"""Up to here float32 holds every half exactly (2**24 / 2, and a factor 2 to spare)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Labelled predictions, checked: n >= 1 rows of k >= 2 classes."""

    labels: np.ndarray
    """(n,) int64, 0 … k-1."""
    probabilities: np.ndarray
    """(n, k) float64; rows sum to 1."""
    predicted: np.ndarray
    """(n,) int64: the likeliest class, of equals the first."""
    present: np.ndarray
    """The classes that occur, sorted."""

    @property
    def recalls(self) -> np.ndarray:
        """float64, one per class that occurs."""
        return np.array([np.mean(self.predicted[self.labels == c] == c) for c in self.present])


type Drawn = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(b, n) float32 counts, (n,) labels and (r, n, k) probabilities -> (b, r) float64, NaN where undefined."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of predictions."""

    name: str
    """As runs, tables and options have it."""
    title: str
    """As figures and the report print it."""
    short: str
    """As the head of a column."""
    value: Callable[[Scored], float | None]
    """None where it is not defined."""
    drawn: Drawn | None = None
    """None: it is stored with runs, but no table shows it and nothing is compared by it."""
    chance: Callable[[int], float] | None = None
    """Of k classes, what a head that knows nothing has; None where that depends on the cases."""
    better: Literal["higher", "lower"] = "higher"
    kinds: frozenset[TargetKind] = frozenset({"classes"})
    """Kinds of targets that it is for."""


# Values --------------------------------------------------------------------------------------------------------------


def _auroc(scored: Scored) -> float | None:
    from sklearn import config_context
    from sklearn.metrics import roc_auc_score

    labels, k = scored.labels, scored.probabilities.shape[1]
    if len(scored.present) < k:
        return None
    of_class = range(1, 2) if k == 2 else range(k)
    # Checked above; scikit-learn's own checks take longer than the metric, and sweeps ask thousands of times.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return float(np.mean([roc_auc_score(labels == c, scored.probabilities[:, c]) for c in of_class]))


def _log_loss(scored: Scored) -> float:
    chosen = scored.probabilities[np.arange(len(scored.labels)), scored.labels]
    return float(-np.log(np.clip(chosen, _EPS, 1 - _EPS)).mean())


# Under draws of the cases --------------------------------------------------------------------------------------------


def _correct(labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """(n, r) bool."""
    return np.ascontiguousarray((probabilities_rnk.argmax(axis=2) == labels).T)


def drawn_balanced_accuracy(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that the draw holds; NaN in a draw without any of the cases."""
    correct_nr = _correct(labels, probabilities_rnk)
    recalls, held = np.zeros((len(counts_bn), correct_nr.shape[1])), np.zeros((len(counts_bn), 1))
    for c in np.unique(labels):
        cases = labels == c
        counts = counts_bn[:, cases]
        total = counts.sum(axis=1, keepdims=True)
        # Where the draw holds no case of the class there are no hits either, and 0 / 1 adds nothing.
        recalls += (counts @ correct_nr[cases].astype(counts.dtype)) / np.maximum(total, 1.0).astype(np.float64)
        held += total > 0
    return _divide(recalls, held)


def drawn_f1_micro(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """With one label per case micro F1 is the share of correct cases; NaN in a draw without any."""
    hits = counts_bn @ _correct(labels, probabilities_rnk).astype(counts_bn.dtype)
    return _divide(hits.astype(np.float64), counts_bn.sum(axis=1, keepdims=True, dtype=np.float64))


def drawn_auroc(counts_bn: np.ndarray, labels: np.ndarray, probabilities_rnk: np.ndarray) -> np.ndarray:
    """Of class 1 where k is 2, otherwise the macro mean of one against the rest.

    A class that the draw lacks (or that the draw consists of) is left out of that draw's mean; NaN where that leaves
    none. All NaN where the cases themselves lack a class. Each is the weighted Mann-Whitney statistic
    sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) over positives i and negatives j: exact with ties.
    """
    n_runs, _, k = probabilities_rnk.shape
    sums, held = np.zeros((len(counts_bn), n_runs)), np.zeros((len(counts_bn), 1))
    if len(np.unique(labels)) < k:
        return _divide(sums, held)
    # Wins are multiples of 1/2 below the square of a draw's size, so float32 is exact as long as it holds them.
    dtype = np.float32 if float(counts_bn.sum(axis=1).max()) ** 2 / 4 < _EXACT_FLOAT32 else np.float64
    for c in range(1, 2) if k == 2 else range(k):
        positive = labels == c
        counts_pos = np.ascontiguousarray(counts_bn[:, positive], dtype=dtype)
        counts_neg = np.ascontiguousarray(counts_bn[:, ~positive], dtype=dtype)
        pairs = counts_pos.sum(axis=1, dtype=np.float64) * counts_neg.sum(axis=1, dtype=np.float64)
        scale = 1.0 / np.maximum(pairs, 1.0)
        held += (pairs > 0)[:, None]
        for r in range(n_runs):
            scores = probabilities_rnk[r, :, c]
            above = np.subtract.outer(scores[positive], scores[~positive])
            wins = (0.5 * (np.sign(above) + 1.0)).astype(dtype)
            sums[:, r] += scale * np.einsum("bj,bj->b", counts_pos @ wins, counts_neg)
    return _divide(sums, held)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their ratio, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator


# The table -----------------------------------------------------------------------------------------------------------

BALANCED_ACCURACY = Metric(
    "balanced_accuracy",
    "balanced accuracy",
    "BA",
    lambda scored: float(scored.recalls.mean()),
    drawn_balanced_accuracy,
    chance=lambda k: 1 / k,
)
"""Mean recall over the classes that occur."""
F1_MICRO = Metric(
    "f1_micro",
    "micro F1",
    "micro F1",
    lambda scored: float(np.mean(scored.predicted == scored.labels)),
    drawn_f1_micro,
)
"""Of one label per case, that is accuracy."""
LOG_LOSS = Metric("log_loss", "log loss", "log loss", _log_loss, better="lower")
"""Mean -ln p of the true class, p at least 2.2e-16."""
AUROC = Metric("auroc", "AUROC", "AUROC", _auroc, drawn_auroc, chance=lambda k: 0.5)
"""Of class 1 where k is 2, otherwise the macro mean of one against the rest; not defined unless every class occurs."""

METRICS: tuple[Metric, ...] = (BALANCED_ACCURACY, F1_MICRO, LOG_LOSS, AUROC)
"""In the order of tables, whose columns are those with a drawn form."""

_BROUGHT: Registry[Metric] = Registry("metric", "guidestore.metrics", {})


def all_metrics(kind: TargetKind = "classes") -> tuple[Metric, ...]:
    """Those of a kind of target, ours first, then those of other distributions by name. Raises InvalidInputError."""
    every = {metric.name: metric for metric in METRICS}
    for name in _BROUGHT.names():
        metric = _BROUGHT.load(name)
        if not isinstance(metric, Metric) or metric.name != name or name in every:
            raise InvalidInputError(
                f"the entry point {name!r} of guidestore.metrics must be a guidestore.heads.metrics.Metric of a name "
                "that is not taken yet; mend or uninstall the package that has it"
            )
        every[name] = metric
    return tuple(metric for metric in every.values() if kind in metric.kinds)


def drawn_metrics(kind: TargetKind = "classes") -> dict[str, Metric]:
    """Those with a drawn form, by name: what tables show and heads are compared by; the first decides unless another
    is asked for."""
    return {metric.name: metric for metric in all_metrics(kind) if metric.drawn}


def evaluate(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Every metric of (n,) labels 0 … k-1, n >= 1, and (n, k) probabilities whose rows sum to 1, where it is defined;
    and recall:<class> for each class that occurs. Raises InvalidInputError.
    """
    k = len(classes)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] != k or not len(probabilities):
        raise InvalidInputError(
            f"metrics: probabilities have shape {probabilities.shape}; they must be (n, {k}) with at least one row"
        )
    in_range = np.isfinite(probabilities).all() and probabilities.min() >= 0
    if not in_range or not np.allclose(probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-6):
        raise InvalidInputError("metrics: some probabilities are negative, not finite or do not sum to 1 in their row")
    labels = check_labels(labels, len(probabilities), k, "metrics: labels")
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    scored = Scored(labels, probabilities, probabilities.argmax(axis=1), np.unique(labels))
    values = {metric.name: metric.value(scored) for metric in all_metrics()}
    kept = {name: value for name, value in values.items() if value is not None}
    recalls = zip(scored.present, scored.recalls, strict=True)
    return kept | {f"recall:{classes[c]}": float(recall) for c, recall in recalls}


def balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean -ln p of the true class, rows weighted so that every class that occurs counts alike.

    labels: (n,) 0 … k-1, n >= 1. probabilities: (n, k).
    """
    chosen = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)
    weights = 1.0 / np.bincount(labels)[labels]
    return float(np.average(-np.log(chosen), weights=weights))
