"""Deals cases with several labels to folds, so that each fold has its share of each label.

Iterative stratification: Sechidis, Tsoumakas and Vlahavas, On the stratification of multi-label data, ECML PKDD 2011.
Labels are dealt from the rarest on, each case to the fold that lacks most of it.
"""

from __future__ import annotations

import numpy as np


def deal(counts_gl: np.ndarray, sizes_g: np.ndarray, shares_f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(g,) int64: the fold of each group.

    counts_gl: (g, l) how many cases of a group have each label. sizes_g: (g,) its cases. shares_f: (f,) the share of
    all cases that each fold is due; they sum to 1. Groups of several cases are dealt from the largest on.
    """
    fold_g = np.full(len(sizes_g), -1, dtype=np.int64)
    wanted_fl = shares_f[:, None] * counts_gl.sum(axis=0)
    wanted_f = shares_f * sizes_g.sum()
    order = rng.permutation(len(sizes_g))
    order = order[np.argsort(-sizes_g[order], kind="stable")]
    while (fold_g < 0).any():
        left = order[fold_g[order] < 0]
        left_l = counts_gl[left].sum(axis=0)
        rarest = int(np.argmin(np.where(left_l > 0, left_l, np.inf))) if left_l.any() else -1
        for group in left if rarest < 0 else left[counts_gl[left, rarest] > 0]:
            lack_f = wanted_f if rarest < 0 else wanted_fl[:, rarest]
            best = np.flatnonzero(lack_f == lack_f.max())
            best = best[wanted_f[best] == wanted_f[best].max()]
            fold = best[rng.integers(len(best))] if len(best) > 1 else best[0]
            fold_g[group] = fold
            wanted_fl[fold] -= counts_gl[group]
            wanted_f[fold] -= sizes_g[group]
    return fold_g
