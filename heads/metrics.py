"""How good predictions are, and what share of the gap guidance closes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.errors import InvalidInputError
from heads.checks import check_labels

CONFIDENCE = 0.95
"""Of the interval of S+I - I."""


def evaluate(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Metrics of (n,) labels 0 … k-1, n >= 1, and (n, k) probabilities whose rows sum to 1.

    balanced_accuracy: mean recall over the classes that occur. f1_micro. log_loss: mean -ln p of the true class.
    recall:<class> for each class that occurs. auroc: of class 1 where k is 2, otherwise the macro mean of one against
    the rest; left out unless every class occurs, because it is not defined then. The predicted class is the likeliest,
    of equals the first. Raises InvalidInputError.
    """
    from sklearn.metrics import f1_score, log_loss, roc_auc_score

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
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    recalls = np.array([np.mean(predicted[labels == c] == c) for c in present])
    metrics = {
        "balanced_accuracy": float(recalls.mean()),
        "f1_micro": float(f1_score(labels, predicted, labels=np.arange(k), average="micro")),
        "log_loss": float(log_loss(labels, probabilities, labels=np.arange(k))),
    }
    if len(present) == k:
        scored = range(1, 2) if k == 2 else range(k)
        metrics["auroc"] = float(np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in scored]))
    for c, recall in zip(present, recalls, strict=True):
        metrics[f"recall:{classes[c]}"] = float(recall)
    return metrics


@dataclass(frozen=True, slots=True)
class GapClosed:
    """The share of the gap between I and S+I that guidance closes; `str` is what tables print."""

    share: float
    """(guided - I) / (S+I - I), of means; NaN where the mean gap is 0."""
    gap: float
    """Mean of S+I - I."""
    gap_low: float
    """Lower end of the 95 % t interval of S+I - I; -inf with one value."""
    gap_high: float
    """Upper end; inf with one value."""

    @property
    def gap_includes_zero(self) -> bool:
        """Whether there may be no gap to close, so that the share means nothing."""
        return self.gap_low <= 0.0 <= self.gap_high

    def __str__(self) -> str:
        return "–" if self.gap_includes_zero else f"{self.share:.0%}"


def gap_closed(i: Sequence[float], s_plus_i: Sequence[float], guided: Sequence[float]) -> GapClosed:
    """The share closed, from one value of a metric per fold or seed: entry j of each is the same fold and seed.

    The interval is Student's t over the paired differences S+I - I. Raises InvalidInputError where lengths differ or a
    value is missing.
    """
    from scipy.stats import t

    values = [np.asarray(value, dtype=np.float64) for value in (i, s_plus_i, guided)]
    n = values[0].size
    if n < 1 or any(value.shape != (n,) or not np.isfinite(value).all() for value in values):
        raise InvalidInputError(
            f"gap closed: I, S+I and guided have shapes {', '.join(str(value.shape) for value in values)}; give one "
            "finite value per fold or seed in each"
        )
    gaps = values[1] - values[0]
    gap, gain = float(gaps.mean()), float((values[2] - values[0]).mean())
    half = math.inf
    if n > 1:
        half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(gaps.std(ddof=1)) / math.sqrt(n)
    return GapClosed(gain / gap if gap else math.nan, gap, gap - half, gap + half)
