"""Which kernel and penalty: by what was held out, in squared error or in score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.kernels.smoother import ALPHAS, KERNELS, Decompositions, Kernel


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One fit of an inner cross-validation."""

    fit_n: np.ndarray
    """Row numbers that are fitted on, ascending."""
    held_n: np.ndarray
    """Row numbers that are held out, none of them among the others."""
    targets_nc: np.ndarray
    """(n, c) of those that are fitted on."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A kernel with its penalty."""

    kernel: Kernel
    alpha: float
    held_mk: np.ndarray
    """(m, k) what was said of all that was held out, fold by fold."""


type HeldOut = Mapping[Kernel, np.ndarray]
"""Kernel -> (a, m, c): for each of ALPHAS what the smoother said of all held-out rows, fold by fold."""


def held_out(codes: Decompositions, folds: Sequence[Fold], kernels: Sequence[Kernel] = KERNELS) -> HeldOut:
    """Every kernel and penalty in every fold. Folds that are cut from the same rows share a decomposition."""
    said: dict[Kernel, np.ndarray] = {}
    for kernel in kernels:
        parts = []
        for fold in folds:
            rows_n = np.union1d(fold.fit_n, fold.held_n)
            of = codes.of(kernel, rows_n)
            held_m = np.searchsorted(rows_n, fold.held_n)
            parts.append(of.features_nr[held_m] @ of.without(held_m, fold.targets_nc, ALPHAS))
        said[kernel] = np.concatenate(parts, axis=1)
    return said


def by_error(held: HeldOut, targets_mk: np.ndarray) -> Chosen:
    """That of the least squared error to (m, k) targets of what was held out; of equals the first, strongest
    penalty."""
    return _least(held, lambda scores_mk: float(((scores_mk - targets_mk) ** 2).mean()))


def by_score(held: HeldOut, rows_m: np.ndarray, score: Callable[[np.ndarray, np.ndarray], float]) -> Chosen:
    """That of the best score on what was held out, which are the cases at rows_m; of equals the first."""
    return _least(held, lambda scores_mk: -score(rows_m, scores_mk))


def _least(held: HeldOut, loss: Callable[[np.ndarray], float]) -> Chosen:
    every = [Chosen(kernel, alpha, said_amk[i]) for kernel, said_amk in held.items() for i, alpha in enumerate(ALPHAS)]
    return min(every, key=lambda chosen: loss(chosen.held_mk))
