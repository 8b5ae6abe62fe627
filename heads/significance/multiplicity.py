"""Holm: many tasks, one chance of a false claim among all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from guidestore.embeddings.errors import InvalidInputError


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Task -> adjusted p; what stays <= .05 holds with 5 % over all tasks, however they depend on each other.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979; to the bit what statsmodels' multipletests says, which
    collects Python's garbage at each call: a tenth of the time of a report. Raises InvalidInputError.
    """
    if not p_values:
        raise InvalidInputError("Holm: there is no p-value to adjust; give one for each task that was tested")
    for task, p in p_values.items():
        if not 0.0 <= p <= 1.0:
            raise InvalidInputError(
                f"Holm: task {task} has no p-value from 0 to 1 but {p}; leave out what was not tested"
            )
    p_n = np.array(list(p_values.values()), dtype=np.float64)
    order = np.argsort(p_n)
    adjusted_n = np.empty_like(p_n)
    adjusted_n[order] = np.minimum(np.maximum.accumulate(p_n[order] * np.arange(len(p_n), 0, -1)), 1.0)
    return dict(zip(p_values, adjusted_n.tolist(), strict=True))
