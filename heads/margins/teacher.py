"""The teacher: a smoother whose scores of the classes the student regresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.smoother import ALPHAS, KERNELS, Decompositions, Kernel


@dataclass(frozen=True, slots=True)
class Teacher:
    """What was chosen; `scores` fits it on whichever labelled cases it may see."""

    reads: str
    """Input row: S; I for the control `own`."""
    kernel: Kernel
    alpha: float

    def scores(self, cases: Cases, codes: Decompositions, fit_n: np.ndarray, rows_n: np.ndarray) -> np.ndarray:
        """(m, k) of the cases at `rows_n`, ascending, by the labels of `fit_n` alone, of which no case sees its own:
        those among `fit_n` are left out one by one."""
        decomposition, targets_nk = codes.of(self.kernel, fit_n), cases.targets_nk[fit_n]
        scores_mk = np.empty((len(rows_n), targets_nk.shape[1]))
        own = np.isin(rows_n, fit_n)
        left_nk = decomposition.left_out(targets_nk, [self.alpha])[0]
        scores_mk[own] = left_nk[np.isin(fit_n, rows_n)]
        if not own.all():
            features_mr = decomposition.features(codes.codes_nd[rows_n[~own]])
            scores_mk[~own] = decomposition.predictions(targets_nk, features_mr, [self.alpha])[0]
        return scores_mk


def choose_teacher(cases: Cases, codes: Decompositions, reads: str) -> Teacher:
    """Kernel and penalty of the least leave-one-out squared error on all labelled cases; of equals the first."""
    fit_n = cases.sources[reads].labelled
    targets_nk = cases.targets_nk[fit_n]
    errors: dict[tuple[Kernel, float], float] = {}
    for kernel in KERNELS:
        error_a = ((codes.of(kernel, fit_n).left_out(targets_nk, ALPHAS) - targets_nk) ** 2).mean(axis=(1, 2))
        errors |= {(kernel, alpha): float(error) for alpha, error in zip(ALPHAS, error_a, strict=True)}
    return Teacher(reads, *min(errors, key=errors.__getitem__))
