"""How much a case counts by its class: one setting of every decoder that has a loss.

knn and prototype have none, and count each class alike by construction.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_choice, check_numbers

type ClassWeights = Literal["balanced", "none"] | tuple[float, ...]
"""n / (k * count) on train; 1 for every class; or one number per class in the order of the labels."""


def check_class_weights(given: Any, what: str) -> None:
    """A setting that must be `ClassWeights`; whether there are as many numbers as classes shows at the fit."""
    if isinstance(given, str):
        check_choice(given, f"{what}: class_weights", ("balanced", "none"))
    else:
        check_numbers(given, f"{what}: class_weights (if not 'balanced' or 'none')", 0, open_low=True, min_length=2)


def weights_as_given_k(given: ClassWeights, labels: np.ndarray, n_classes: int, what: str) -> np.ndarray:
    """(k,) float64 weights for (n,) train labels 0 … k-1 among which every class occurs. Raises InvalidInputError."""
    if given == "balanced":
        return len(labels) / (n_classes * np.bincount(labels, minlength=n_classes))
    if given == "none":
        return np.ones(n_classes)
    if len(given) != n_classes:
        raise InvalidInputError(
            f"{what}: class_weights has {len(given)} values but there are {n_classes} classes; give one per class in "
            "the order of the labels, or 'balanced' or 'none'"
        )
    return np.asarray(given, dtype=np.float64)


def class_weights_k(given: ClassWeights, labels: np.ndarray, n_classes: int, what: str) -> np.ndarray:
    """As `weights_as_given_k`, of mean 1 over the train rows: of numbers only the ratios count, not their sum against a
    penalty."""
    weights_k = weights_as_given_k(given, labels, n_classes, what)
    return weights_k if isinstance(given, str) else weights_k / weights_k[labels].mean()  # the words' have it


def weighted_log_loss(labels: np.ndarray, probabilities_nk: np.ndarray, weights_k: np.ndarray) -> float:
    """Mean -ln p of the true class, rows weighted by their class: what val chooses by."""
    chosen = probabilities_nk[np.arange(len(labels)), labels]
    return float(np.average(-np.log(np.maximum(chosen, 1e-300)), weights=weights_k[labels]))
