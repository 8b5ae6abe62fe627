"""How good predictions are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_labels

_EPS = float(np.finfo(np.float64).eps)


def evaluate(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Metrics of (n,) labels 0 … k-1, n >= 1, and (n, k) probabilities whose rows sum to 1.

    balanced_accuracy: mean recall over the classes that occur. f1_micro: of one label per case, that is accuracy.
    log_loss: mean -ln p of the true class, p at least 2.2e-16.
    recall:<class> for each class that occurs. auroc: of class 1 where k is 2, otherwise the macro mean of one against
    the rest; left out unless every class occurs, because it is not defined then. The predicted class is the likeliest,
    of equals the first. Raises InvalidInputError.
    """
    from sklearn import config_context
    from sklearn.metrics import roc_auc_score

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
        "f1_micro": float(np.mean(predicted == labels)),
        "log_loss": float(-np.log(np.clip(probabilities[np.arange(len(labels)), labels], _EPS, 1 - _EPS)).mean()),
    }
    if len(present) == k:
        scored = range(1, 2) if k == 2 else range(k)
        # Checked above; scikit-learn's own checks take longer than the metric, and sweeps ask thousands of times.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            metrics["auroc"] = float(np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in scored]))
    for c, recall in zip(present, recalls, strict=True):
        metrics[f"recall:{classes[c]}"] = float(recall)
    return metrics


def balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean -ln p of the true class, rows weighted so that every class that occurs counts alike.

    labels: (n,) 0 … k-1, n >= 1. probabilities: (n, k).
    """
    chosen = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)
    weights = 1.0 / np.bincount(labels)[labels]
    return float(np.average(-np.log(chosen), weights=weights))
