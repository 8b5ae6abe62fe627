"""One choice among candidates by cross-validation inside the train pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from guidestore.heads.folds import fold_numbers

FOLDS = 5
"""Of the inner cross-validation; fewer where there are fewer pairs. They are the same for every seed of a head, so
that two seeds of a method without randomness are one fit."""


def choose[C](
    x_nd: np.ndarray, y_nd: np.ndarray, solve: Callable[[np.ndarray, np.ndarray], Mapping[C, np.ndarray]]
) -> tuple[np.ndarray, C, float]:
    """W fitted on all rows by the candidate of least mean squared error on left-out rows, the candidate, that error.

    solve: (n, d_I) and (n, d_S), columns centred -> W by candidate, simplest first: the first at least, and of the
    others those that so few rows allow; only what every fold allows is compared. Of equals the first. Fewer than 4 rows
    choose nothing: the first, error nan.
    """
    n = len(x_nd)
    n_folds = min(FOLDS, n)
    weights = solve(x_nd, y_nd)
    if n < 4:
        first = next(iter(weights))
        return weights[first], first, float("nan")
    fold_n = fold_numbers(n, n_folds, seed=0)
    errors: dict[C, list[float]] = {candidate: [] for candidate in weights}
    for fold in range(n_folds):
        fit, held = fold_n != fold, fold_n == fold
        x_mean, y_mean = x_nd[fit].mean(axis=0), y_nd[fit].mean(axis=0)
        for candidate, weight_nd in solve(x_nd[fit] - x_mean, y_nd[fit] - y_mean).items():
            if candidate not in errors:
                continue
            residual_nd = y_nd[held] - y_mean - (x_nd[held] - x_mean) @ weight_nd
            errors[candidate].append(float((residual_nd**2).sum()))
    mse = {candidate: sum(own) / y_nd.size for candidate, own in errors.items() if len(own) == n_folds}
    best = min(mse, key=mse.__getitem__)
    return weights[best], best, mse[best]


def up_to(counts: Sequence[int], available: int) -> list[int]:
    """`counts`, ascending, until one takes all that is available."""
    ascending = sorted(set(counts))
    return [count for i, count in enumerate(ascending) if not i or ascending[i - 1] < available]
