"""Cases whose predicted class differs between two heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guidestore.embeddings.runs import RunPredictions


def changed_cases(
    one: Sequence[RunPredictions], other: Sequence[RunPredictions], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Per case that both predict: label, and what each says where that is not the same class.

    A head with several runs says what their mean probabilities say.
    """
    sides = [_means(side) for side in (one, other)]
    labels = {case: int(label) for run in one for case, label in zip(run.case_ids, run.labels, strict=True)}
    found = []
    for case in sorted(sides[0].keys() & sides[1].keys()):
        first, second = (int(side[case].argmax()) for side in sides)
        if first != second:
            says = {"a says": classes[first], "b says": classes[second]}
            found.append({"case_id": case, "label": classes[labels[case]], **says})
    return found


def _means(runs: Sequence[RunPredictions]) -> dict[str, np.ndarray]:
    """Case -> mean probabilities over the runs that predict it."""
    found: dict[str, list[np.ndarray]] = {}
    for run in runs:
        for case, probabilities in zip(run.case_ids, run.probabilities, strict=True):
            found.setdefault(case, []).append(probabilities)
    return {case: np.mean(rows, axis=0) for case, rows in found.items()}
