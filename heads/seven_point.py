"""The seven-point checklist: points of the dermoscopic criteria, and melanoma inferred from their sum.

Sources: Argenziano et al. 1998 (points; melanoma from 3 on); Argenziano et al. 2011 (from 1 on); Kawahara et al. 2019
(AUROC over the score of predicted criteria).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

POINTS: Mapping[str, Mapping[str, int]] = {
    "PN": {"ABS": 0, "TYP": 0, "ATP": 2},
    "BWV": {"ABS": 0, "PRS": 2},
    "VS": {"ABS": 0, "REG": 0, "IR": 2},
    "PIG": {"ABS": 0, "REG": 0, "IR": 1},
    "STR": {"ABS": 0, "REG": 0, "IR": 1},
    "DaG": {"ABS": 0, "REG": 0, "IR": 1},
    "RS": {"ABS": 0, "PRS": 1},
}
"""Criterion -> class -> points."""

MAX_SCORE = sum(max(points.values()) for points in POINTS.values())
"""10."""

THRESHOLDS = (1, 3)
"""Scores from which on melanoma is inferred."""


def seven_point_score(classes: Mapping[str, Sequence[str] | np.ndarray]) -> np.ndarray:
    """(n,) int64 scores, 0 to 10, of criterion -> (n,) class names, true or predicted.

    The AUROC of melanoma is computed over it. Raises InvalidInputError unless exactly the seven criteria of `POINTS`
    are given, all of one length, and for an unknown class (such as '' of an unlabelled case).
    """
    _check_criteria(classes)
    columns = {name: np.asarray(values, dtype=np.str_) for name, values in classes.items()}
    _check_lengths({name: column.shape for name, column in columns.items()}, ndim=1)
    score_n = np.zeros(len(columns["PN"]), np.int64)
    for name, column in columns.items():
        present, inverse_n = np.unique(column, return_inverse=True)
        score_n += _points(name, present.tolist())[inverse_n]
    return score_n


def predicted_classes(probabilities: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(n,) names of the likeliest of `classes`, of equals the first, from (n, k) probabilities.

    Raises InvalidInputError where k is not the number of classes.
    """
    return np.asarray(classes)[_checked(probabilities, classes, "probabilities").argmax(axis=1)]


def infer_melanoma(score_n: np.ndarray, threshold: int) -> np.ndarray:
    """(n,) bool: score >= threshold. Raises InvalidInputError for a threshold outside 1 to 10."""
    if not 1 <= threshold <= MAX_SCORE:
        raise InvalidInputError(f"seven-point threshold {threshold} must be from 1 to {MAX_SCORE}; usual are 1 and 3")
    return np.asarray(score_n) >= threshold


def _points(criterion: str, classes: Sequence[str]) -> np.ndarray:
    """(k,) int64 points of the classes."""
    for name in classes:
        if name not in POINTS[criterion]:
            raise InvalidInputError(
                f"seven-point score: criterion {criterion} has no class {name!r}; it has {', '.join(POINTS[criterion])}"
            )
    return np.array([POINTS[criterion][name] for name in classes], np.int64)


def _check_criteria(given: Mapping[str, object]) -> None:
    if set(given) != set(POINTS):
        raise InvalidInputError(
            f"the seven-point score needs the criteria {', '.join(POINTS)}, but has {', '.join(given) or 'none'}; give "
            "exactly these"
        )


def _check_lengths(shapes: Mapping[str, tuple[int, ...]], ndim: int) -> None:
    if len(set(shapes.values())) > 1 or any(len(shape) != ndim for shape in shapes.values()):
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InvalidInputError(f"seven-point score: the criteria have shapes {shown}; give one value per case in each")


def _checked(probabilities: np.ndarray, classes: Sequence[str], what: str) -> np.ndarray:
    """The (n, k) float64 probabilities."""
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise InvalidInputError(
            f"{what} have shape {values.shape}; they must be (n, {len(classes)}), a column for each of "
            f"{', '.join(classes)}"
        )
    if not np.isfinite(values).all():
        raise InvalidInputError(f"{what} are not finite; look at the head that made them")
    return values
