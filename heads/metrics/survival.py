"""How good foretold risks are: truth (n, 3), time, event and horizon, and (n, 1 + T) outputs, the risk and the shares
that outlive T times. Axes as in metric.py.

A larger risk is worse, always: no figure here picks its own sign. Censoring is weighed by the Kaplan-Meier curve of
being censored among the cases themselves, anew in every draw.
"""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.metrics.metric import Metric, Scored, at_once, ratio

_SURVIVAL: frozenset[TargetKind] = frozenset({"survival"})
TIMES = 8
"""Equal steps up to the horizon, at which heads say what share survives."""


def times_up_to(horizon: float) -> np.ndarray:
    """(T,) ascending; the last is the horizon."""
    return horizon * np.arange(1, TIMES + 1) / TIMES


def uncensored_before(counts_bn: np.ndarray, truth_n3: np.ndarray) -> np.ndarray:
    """(b, n) G(t-): the share that is not censored before each case's time, by Kaplan-Meier in each draw.

    Of equal times events come before censorings.
    """
    _, group_n, after_bg = _uncensored(counts_bn, truth_n3)
    before_bg = np.concatenate([np.ones((len(counts_bn), 1)), after_bg[:, :-1]], axis=1)
    return before_bg[:, group_n]


def _uncensored(counts_bn: np.ndarray, truth_n3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(g,) distinct times, (n,) which is whose, and (b, g) G(t): the share that is not censored up to each of them."""
    time_n, event_n = truth_n3[:, 0], truth_n3[:, 1]
    distinct_g, group_n = np.unique(time_n, return_inverse=True)
    counts_bn = counts_bn.astype(np.float64)
    all_bg, censored_bg = (np.zeros((len(counts_bn), len(distinct_g))) for _ in range(2))
    np.add.at(all_bg.T, group_n, counts_bn.T)
    np.add.at(censored_bg.T, group_n, (counts_bn * (1.0 - event_n)).T)
    at_risk_bg = np.cumsum(all_bg[:, ::-1], axis=1)[:, ::-1]
    events_bg = all_bg - censored_bg
    left_bg = 1.0 - censored_bg / np.maximum(at_risk_bg - events_bg, 1.0)
    return distinct_g, group_n, np.cumprod(left_bg, axis=1)


def _concordance(
    counts_bn: np.ndarray, truth_n3: np.ndarray, outputs_rnk: np.ndarray, weights_bn: np.ndarray, first_n: np.ndarray
) -> np.ndarray:
    """(b, r): of the pairs whose first (a row of `first_n`, with its weight) had its event before the other's time, the
    weighted share whose first has the larger risk; equal risks count half. Of equal times an event is before a
    censoring. NaN in a draw without such a pair."""
    time_n, event_n = truth_n3[:, 0], truth_n3[:, 1]
    rows = np.flatnonzero(first_n & (event_n == 1))
    later_en = (time_n > time_n[rows, None]) | ((time_n == time_n[rows, None]) & (event_n == 0))
    counts_bn = counts_bn.astype(np.float64)
    weighed_be = counts_bn[:, rows] * weights_bn[:, rows]
    pairs = np.einsum("bn,bn->b", weighed_be @ later_en.astype(np.float64), counts_bn)
    told = np.empty((len(counts_bn), len(outputs_rnk)))
    for r, outputs_nk in enumerate(outputs_rnk):
        wins_en = won(later_en, outputs_nk[rows, 0], outputs_nk[:, 0])
        told[:, r] = ratio(np.einsum("bn,bn->b", weighed_be @ wins_en, counts_bn), pairs)
    return told


def won(compared_en: np.ndarray, risk_e: np.ndarray, risk_n: np.ndarray) -> np.ndarray:
    """(e, n) float64: 1 where a pair is compared (bool) and its first has the larger risk, half where both have one."""
    wins_en = (compared_en & (risk_e[:, None] > risk_n)).astype(np.float64)
    equal_en = compared_en & (risk_e[:, None] == risk_n)
    if equal_en.any():
        wins_en += 0.5 * equal_en
    return wins_en


def drawn_uno_c(counts_bn: np.ndarray, truth_n3: np.ndarray, outputs_rnk: np.ndarray) -> np.ndarray:
    """Uno's C up to the horizon: events before it, each weighed by 1 / G(t-)². (Uno et al., Statistics in Medicine 30,
    2011.)"""
    weights_bn = 1.0 / np.maximum(uncensored_before(counts_bn, truth_n3), 1e-12) ** 2
    return _concordance(counts_bn, truth_n3, outputs_rnk, weights_bn, truth_n3[:, 0] < truth_n3[:, 2])


def drawn_harrell_c(counts_bn: np.ndarray, truth_n3: np.ndarray, outputs_rnk: np.ndarray) -> np.ndarray:
    """Harrell's C, over all times. (Harrell et al., Statistics in Medicine 15, 1996.)"""
    every_n = np.ones(len(truth_n3), dtype=bool)
    return _concordance(counts_bn, truth_n3, outputs_rnk, np.ones(counts_bn.shape), every_n)


def drawn_auc_at(
    counts_bn: np.ndarray, truth_n3: np.ndarray, outputs_rnk: np.ndarray, time: float | None = None
) -> np.ndarray:
    """AUC of the risk, cases with an event up to `time` (the horizon) against those that outlive it; the former weighed
    by 1 / G(t-). (Uno et al., JASA 102, 2007: cumulative cases, dynamic controls.)"""
    time = truth_n3[0, 2] if time is None else time
    counts_bn = counts_bn.astype(np.float64)
    weights_bn = counts_bn / np.maximum(uncensored_before(counts_bn, truth_n3), 1e-12)
    cases, others = (truth_n3[:, 0] <= time) & (truth_n3[:, 1] == 1), truth_n3[:, 0] > time
    pairs = weights_bn[:, cases].sum(axis=1) * counts_bn[:, others].sum(axis=1)
    told = np.empty((len(counts_bn), len(outputs_rnk)))
    for r, outputs_nk in enumerate(outputs_rnk):
        above = np.subtract.outer(outputs_nk[cases, 0], outputs_nk[others, 0])
        wins = weights_bn[:, cases] @ (0.5 * (np.sign(above) + 1.0))
        told[:, r] = ratio(np.einsum("bn,bn->b", wins, counts_bn[:, others]), pairs)
    return told


def brier_scores(truth_n3: np.ndarray, survival_nt: np.ndarray, times_t: np.ndarray) -> np.ndarray:
    """(T,) mean squared distance of what was said to outlive each time from who did, weighed for censoring. (Graf et
    al., Statistics in Medicine 18, 1999.)"""
    time_n, event_n = truth_n3[:, :2].T
    distinct_g, group_n, after_1g = _uncensored(np.ones((1, len(truth_n3))), truth_n3)
    curve = np.append(1.0, after_1g[0])  # before the first time everybody is there
    own_n, scores = curve[group_n], []
    for time, said_n in zip(times_t, survival_nt.T, strict=True):
        died, lives = (time_n <= time) & (event_n == 1), time_n > time
        later = curve[np.searchsorted(distinct_g, time, side="right")]
        terms = np.where(died, said_n**2 / np.maximum(own_n, 1e-12), 0.0)
        scores.append(float(np.mean(terms + np.where(lives, (1.0 - said_n) ** 2 / max(later, 1e-12), 0.0))))
    return np.array(scores)


def _integrated_brier(scored: Scored) -> float | None:
    """Brier scores over the times up to the horizon, their mean by trapezoids."""
    horizon = float(scored.labels[0, 2])
    times_t, survival_nt = times_up_to(horizon), scored.probabilities[:, 1:]
    if survival_nt.shape[1] != TIMES:
        return None
    scores_t = brier_scores(scored.labels, survival_nt, times_t)
    return float(np.trapezoid(scores_t, times_t) / (times_t[-1] - times_t[0]))


def log_rank_p(y_n2: np.ndarray, risk_n: np.ndarray) -> float | None:
    """p of the log-rank test between the cases above and up to the median risk; None where either half is empty, and
    where no event has somebody of both halves at risk."""
    import warnings

    from statsmodels.duration.survfunc import survdiff

    high = risk_n > np.median(risk_n)
    if not high.any() or high.all() or not y_n2[:, 1].any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            p = float(survdiff(y_n2[:, 0], y_n2[:, 1], high)[1])
        except np.linalg.LinAlgError:
            return None
    return None if np.isnan(p) else p


def _log_rank(scored: Scored) -> float | None:
    return log_rank_p(scored.labels[:, :2], scored.probabilities[:, 0])


UNO_C = Metric(
    *("uno_c", "Uno's C", "Uno's C", at_once(drawn_uno_c), drawn_uno_c), chance=lambda k: 0.5, kinds=_SURVIVAL
)
HARRELL_C = Metric(
    *("harrell_c", "Harrell's C", "Harrell's C", at_once(drawn_harrell_c), drawn_harrell_c),
    chance=lambda k: 0.5,
    kinds=_SURVIVAL,
)
AUC_AT_HORIZON = Metric(
    *("auc_at_horizon", "AUC at the horizon", "AUC(t)", at_once(drawn_auc_at), drawn_auc_at),
    chance=lambda k: 0.5,
    kinds=_SURVIVAL,
)
INTEGRATED_BRIER = Metric(
    "integrated_brier", "integrated Brier score", "IBS", _integrated_brier, better="lower", kinds=_SURVIVAL
)
LOG_RANK_P = Metric(
    "log_rank_p", "log-rank p, high against low risk", "log-rank p", _log_rank, better="lower", kinds=_SURVIVAL
)

METRICS = (UNO_C, HARRELL_C, AUC_AT_HORIZON, INTEGRATED_BRIER, LOG_RANK_P)
