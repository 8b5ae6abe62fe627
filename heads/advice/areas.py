"""AUROC of what was said of held-out cases, and how sure a difference is (DeLong, DeLong & Clarke-Pearson, 1988); of
other kinds than classes see figures.py."""

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
    """Mean over repeats of the AUROC, that a mean over classes of one against the rest, or of the main metric."""
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
        won_n, part_n = won(positive_n, score_n), np.empty(len(labels_n))
        for side_n in (positive_n, ~positive_n):
            part_n[side_n] = (won_n[side_n] - won_n[side_n].mean()) / side_n.sum()
        parts.append(part_n)
    return np.mean(parts, axis=0) if parts else np.zeros(len(labels_n))


def won(positive_n: np.ndarray, score_n: np.ndarray) -> np.ndarray:
    """(n,) the share of cases of the other side, of those with (n,) bool and those without, that each is right about;
    ties count half. Its mean over either side is the AUROC."""
    won_n = np.empty(len(score_n))
    for side_n, sign in ((positive_n, 1), (~positive_n, -1)):
        others = np.sort(score_n[~side_n])
        below, up_to = (np.searchsorted(others, score_n[side_n], end) for end in ("left", "right"))
        share_n = (below + up_to) / (2 * len(others))
        won_n[side_n] = share_n if sign > 0 else 1 - share_n
    return won_n


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
