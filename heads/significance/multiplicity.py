"""Holm: many tasks, one chance of a false claim among all of them."""

from __future__ import annotations

from collections.abc import Mapping

from guidestore.embeddings.errors import InvalidInputError


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Task -> adjusted p; what stays <= .05 holds with 5 % over all tasks, however they depend on each other.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979. Raises InvalidInputError.
    """
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        raise InvalidInputError("Holm: there is no p-value to adjust; give one for each task that was tested")
    for task, p in p_values.items():
        if not 0.0 <= p <= 1.0:
            raise InvalidInputError(
                f"Holm: task {task} has no p-value from 0 to 1 but {p}; leave out what was not tested"
            )
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return {task: float(p) for task, p in zip(p_values, adjusted, strict=True)}
