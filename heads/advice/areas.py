"""AUROC of what was said of held-out cases, and how sure a difference is (DeLong, DeLong & Clarke-Pearson, 1988)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.heads.kernels.scoring import auroc

OVERLAP = 1.5
"""By which the standard error over held-out cases falls short of that over new training sets too: in 5-fold
cross-validation the root of 1 + 5 / 4 (Nadeau & Bengio, 2003), since training sets share most of their cases."""


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Of one row, over all repeats."""

    value: float
    """Mean over repeats of the AUROC, that a mean over classes of one against the rest."""
    influence_n: np.ndarray
    """(n,) what each held-out case adds to it, beyond the mean; its squares sum up to the variance."""


def area(labels_n: np.ndarray, said_rnk: np.ndarray) -> Area:
    """said_rnk: (repeats, n, k) scores of the same n cases."""
    values = [auroc(labels_n, said_nk) for said_nk in said_rnk]
    return Area(float(np.mean(values)), np.mean([_influence(labels_n, said_nk) for said_nk in said_rnk], axis=0))


def _influence(labels_n: np.ndarray, said_nk: np.ndarray) -> np.ndarray:
    k = said_nk.shape[1]
    columns = [said_nk[:, 1] - said_nk[:, 0]] if k == 2 else list(said_nk.T)
    positives = [1] if k == 2 else list(range(k))
    parts = []
    for c, score_n in zip(positives, columns, strict=True):
        positive_n = labels_n == c
        if positive_n.all() or not positive_n.any():
            continue
        part_n = np.empty(len(labels_n))
        for side_n, sign in ((positive_n, 1), (~positive_n, -1)):
            others = np.sort(score_n[~side_n])
            below, up_to = (np.searchsorted(others, score_n[side_n], end) for end in ("left", "right"))
            won = (below + up_to) / (2 * len(others))
            won = won if sign > 0 else 1 - won
            part_n[side_n] = (won - won.mean()) / side_n.sum()
        parts.append(part_n)
    return np.mean(parts, axis=0) if parts else np.zeros(len(labels_n))


@dataclass(frozen=True, slots=True)
class Gain:
    """Of one row over another, expected of a training set like this one."""

    value: float
    error: float
    """Standard error, over cases and training sets."""

    @classmethod
    def of(cls, row: Area, other: Area) -> Gain:
        error = float(np.sqrt(((row.influence_n - other.influence_n) ** 2).sum()))
        return cls(row.value - other.value, OVERLAP * error)
