"""The kind's main metric of what was said of held-out cases, and what each case adds to it (heads.advice.areas).

Of scores, before a link makes an outcome of them: R² is that of the least squares line, kappa that of the grades that a
link fitted to these scores says, C and AUROC go by the order alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.advice.areas import Area, area, won
from guidestore.heads.links.ordinal import OrdinalLink
from guidestore.heads.metrics.survival import uncensored_before
from guidestore.heads.metrics.survival import won as concordant
from guidestore.heads.outcomes import reference_of

type Figure = tuple[float, np.ndarray]
"""The metric, and the influence of each case on it; the squares of these sum up to the variance."""
ROWS = 500
"""Cases that are compared with all others at once."""


def figure_of(paired: PairedCodes, rows_n: np.ndarray, said_rnc: np.ndarray) -> Area:
    """said_rnc: (repeats, n, c) scores of the cases at rows_n; the mean over repeats."""
    y = paired.y[rows_n]
    if paired.kind == "classes":
        return area(y, said_rnc)
    of: Callable[[np.ndarray], Figure] = {
        "value": lambda said_nc: _r2(y, said_nc[:, 0]),
        "survival": lambda said_nc: _uno_c(y, said_nc[:, 0], reference_of(paired)),
        "ordinal": lambda said_nc: _kappa(y, said_nc),
        "multilabel": lambda said_nc: _macro_auroc(y, said_nc),
    }[paired.kind]
    values, influences = zip(*(of(said_nc) for said_nc in said_rnc), strict=True)
    return Area(float(np.mean(values)), np.mean(influences, axis=0))


def _r2(y_n: np.ndarray, said_n: np.ndarray) -> Figure:
    """The square of Pearson's correlation where that is above 0, else 0."""
    sds = said_n.std(), y_n.std()
    if not all(sds):
        return 0.0, np.zeros(len(y_n))
    u_n, v_n = (said_n - said_n.mean()) / sds[0], (y_n - y_n.mean()) / sds[1]
    r = float((u_n * v_n).mean())
    if r <= 0:
        return 0.0, np.zeros(len(y_n))
    return r**2, 2 * r * (u_n * v_n - 0.5 * r * (u_n**2 + v_n**2)) / len(y_n)


def _uno_c(y_n2: np.ndarray, risk_n: np.ndarray, horizon: float) -> Figure:
    """Uno's C up to the horizon, its censoring weights taken as known; .5 where no pair can be compared."""
    (time_n, event_n), n = y_n2.T, len(y_n2)
    truth_n3 = np.column_stack([y_n2, np.full(n, horizon)])
    weight_n = 1.0 / np.maximum(uncensored_before(np.ones((1, n)), truth_n3)[0], 1e-12) ** 2
    first_n = np.flatnonzero((time_n < horizon) & (event_n == 1))
    pairs_n, wins_n = np.zeros((2, n))
    for start in range(0, len(first_n), ROWS):
        rows = first_n[start : start + ROWS]
        later = (time_n > time_n[rows, None]) | ((time_n == time_n[rows, None]) & (event_n == 0))
        for into_n, compared in (
            (pairs_n, later.astype(np.float64)),
            (wins_n, concordant(later, risk_n[rows], risk_n)),
        ):
            into_n[rows] += weight_n[rows] * compared.sum(axis=1)
            into_n += weight_n[rows] @ compared
    total = pairs_n.sum() / 2
    if not total:
        return 0.5, np.zeros(n)
    c = wins_n.sum() / 2 / total
    return float(c), (wins_n - c * pairs_n) / total


def _kappa(y_n: np.ndarray, said_nc: np.ndarray) -> Figure:
    """Quadratic kappa; 0 where it is not defined."""
    from guidestore.embeddings.runs import median_grade

    said_n = median_grade(OrdinalLink.fit(said_nc, y_n, said_nc.shape[1] + 1).say(said_nc)).astype(np.float64)
    apart_n = (y_n - said_n) ** 2
    by_chance_n = (y_n - said_n.mean()) ** 2 + said_n.var() + (said_n - y_n.mean()) ** 2 + y_n.var()
    apart, by_chance = apart_n.mean(), by_chance_n.mean() / 2
    if not by_chance:
        return 0.0, np.zeros(len(y_n))
    influence_n = (apart_n - apart) / by_chance - apart / by_chance**2 * (by_chance_n - 2 * by_chance)
    return float(1.0 - apart / by_chance), -influence_n / len(y_n)


def _macro_auroc(y_nl: np.ndarray, said_nl: np.ndarray) -> Figure:
    """The mean over the labels that some have and some have not, of the cases that were looked at; .5 without one."""
    values, influences = [], []
    for y_n, said_n in zip(y_nl.T, said_nl.T, strict=True):
        known = np.flatnonzero(~np.isnan(y_n))
        positive = y_n[known] == 1
        if positive.all() or not positive.any():
            continue
        won_n, influence_n = won(positive, said_n[known]), np.zeros(len(y_n))
        for side in (positive, ~positive):
            influence_n[known[side]] = (won_n[side] - won_n[side].mean()) / side.sum()
        values.append(won_n[positive].mean())
        influences.append(influence_n)
    return (float(np.mean(values)), np.mean(influences, axis=0)) if values else (0.5, np.zeros(len(y_nl)))
