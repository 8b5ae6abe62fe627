"""Runs that are compared case by case: the same cases, labels and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions, Unit


def check_pair(a: RunPredictions, b: RunPredictions) -> None:
    """Two runs that are compared case by case must have the same cases, labels and classes."""
    if a.case_ids != b.case_ids:
        apart = len(set(a.case_ids) ^ set(b.case_ids))
        raise InvalidInputError(
            f"runs {a.run} and {b.run} differ in {apart} cases; compare them on the cases that both have "
            "(on_common_cases)"
        )
    if (
        a.kind != b.kind
        or a.n_classes != b.n_classes
        or not np.array_equal(a.labels, b.labels, equal_nan=a.kind == "multilabel")
    ):
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
