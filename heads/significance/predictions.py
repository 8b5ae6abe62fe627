"""What every comparison starts from: the stored predictions of one run on its labelled test cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_labels

Unit = tuple[str | int, ...]
"""What two runs must share to be a pair, as (split, fold, seed)."""


@dataclass(frozen=True, slots=True, eq=False)
class RunPredictions:
    """Predictions of one run on n >= 2 labelled cases, kept sorted by case id. Raises InvalidInputError."""

    run: str
    """Id of the run."""
    unit: Unit
    """(split, fold, seed). Runs of one row and one unit (the permutations of a control) count with their mean."""
    case_ids: tuple[str, ...]
    """(n,), each once. One id is one case in every fold, seed and split: it is drawn in all of them or in none."""
    labels: np.ndarray
    """(n,) int64, 0 … k-1; leave unlabelled cases out."""
    probabilities: np.ndarray
    """(n, k) float64, k >= 2; rows sum to 1 (within 1e-6; kept normalised)."""

    def __post_init__(self) -> None:
        what = f"predictions of run {self.run}"
        probabilities_nk = np.asarray(self.probabilities, dtype=np.float64)
        n = len(self.case_ids)
        if n < 2:
            raise InvalidInputError(f"{what}: {n} cases; at least 2 are needed to say how sure a figure is")
        if probabilities_nk.ndim != 2 or len(probabilities_nk) != n:
            raise InvalidInputError(
                f"{what}: probabilities have shape {probabilities_nk.shape}; give one row for each of the {n} cases"
            )
        in_range = np.isfinite(probabilities_nk).all() and probabilities_nk.min(initial=0.0) >= 0
        if not in_range or not np.allclose(probabilities_nk.sum(axis=1), 1.0, rtol=0, atol=1e-6):
            raise InvalidInputError(
                f"{what}: probabilities are negative, not finite or do not sum to 1 in some row; leave the run out"
            )
        # As `heads.metrics.evaluate` does, so that ties are the same ties.
        probabilities_nk = probabilities_nk / probabilities_nk.sum(axis=1, keepdims=True)
        labels = check_labels(self.labels, n, probabilities_nk.shape[1], f"{what}: labels")
        ids = np.asarray(self.case_ids, dtype=object)
        order = np.argsort(ids, kind="stable")
        case_ids = tuple(ids[order].tolist())
        if len(set(case_ids)) < n:
            twice = next(a for a, b in pairwise(case_ids) if a == b)
            raise InvalidInputError(f"{what}: case {twice} occurs twice; give one row per case and run")
        object.__setattr__(self, "case_ids", case_ids)
        object.__setattr__(self, "labels", labels[order])
        object.__setattr__(self, "probabilities", np.ascontiguousarray(probabilities_nk[order]))

    def __len__(self) -> int:
        return len(self.case_ids)

    @property
    def n_classes(self) -> int:
        return self.probabilities.shape[1]

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool: whether the likeliest class, of equals the first, is the true one."""
        return self.probabilities.argmax(axis=1) == self.labels


def check_pair(a: RunPredictions, b: RunPredictions) -> None:
    """Two runs that are compared case by case must have the same cases, labels and classes."""
    if a.case_ids != b.case_ids:
        apart = len(set(a.case_ids) ^ set(b.case_ids))
        raise InvalidInputError(
            f"runs {a.run} and {b.run} differ in {apart} cases; compare them on the cases that both have "
            "(on_common_cases)"
        )
    if a.n_classes != b.n_classes or (a.labels != b.labels).any():
        raise InvalidInputError(f"runs {a.run} and {b.run} differ in the labels of their cases; compare one target")


def on_common_cases(runs: Sequence[RunPredictions]) -> list[RunPredictions]:
    """`runs`, each with those cases alone that all runs of its unit have (S+I lacks the cases without z_S).

    Raises InvalidInputError where fewer than 2 cases are left.
    """
    common: dict[Unit, set[str]] = {}
    for run in runs:
        common[run.unit] = common.get(run.unit, set(run.case_ids)) & set(run.case_ids)
    kept = []
    for run in runs:
        keep = np.array([case_id in common[run.unit] for case_id in run.case_ids])
        kept.append(
            replace(
                run,
                case_ids=tuple(c for c in run.case_ids if c in common[run.unit]),
                labels=run.labels[keep],
                probabilities=run.probabilities[keep],
            )
        )
    return kept
