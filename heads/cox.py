"""Cox's proportional hazards in numpy: partial likelihood by Efron, its ridge, martingale residuals, who survives.

Outcomes are (n, 2): time > 0, event 1 or 0. A larger risk is worse. (Cox, JRSS B 34, 1972; Efron, JASA 72, 1977;
Breslow, JRSS B 34, 1972.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import take_tensor


@dataclass(frozen=True, slots=True, eq=False)
class RiskSets:
    """Who is at risk when, of n cases: made once, asked for many risks."""

    order: np.ndarray
    """(n,) by time."""
    starts: np.ndarray
    """(g,) first place of each distinct time in that order."""
    group: np.ndarray
    """(n,) which of these times, in that order."""
    event: np.ndarray
    """(n,) in that order."""
    share: np.ndarray
    """(n,) Efron's: of d events at one time the i-th has i / d; 0 of others."""

    @classmethod
    def of(cls, y_n2: np.ndarray) -> RiskSets:
        order = np.argsort(y_n2[:, 0], kind="stable")
        time, event = y_n2[order].T
        starts = np.flatnonzero(np.append(True, time[1:] != time[:-1]))
        group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(time))))
        events_g = np.add.reduceat(event, starts)
        number = np.cumsum(event) - event - (np.cumsum(events_g) - events_g)[group]
        share = event * number / np.maximum(events_g[group], 1.0)
        return cls(order, starts, group, event, share)

    @property
    def n_events(self) -> float:
        return float(self.event.sum())

    def at_risk(self, weight_n: np.ndarray) -> np.ndarray:
        """(g,) the weights, in order of time, of all that are at risk at each time."""
        return np.cumsum(weight_n[::-1])[::-1][self.starts]

    def _compared(self, weight_n: np.ndarray) -> np.ndarray:
        of_events_g = np.add.reduceat(weight_n * self.event, self.starts)
        compared = self.at_risk(weight_n)[self.group] - self.share * of_events_g[self.group]
        return np.maximum(compared, np.finfo(float).tiny)

    def loss(self, risk_n: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log partial likelihood, and its gradient (n,)."""
        risk = risk_n[self.order]
        risk = risk - risk.max()
        weight = np.exp(risk)
        compared = self._compared(weight)
        loss = float((self.event * (np.log(compared) - risk)).sum())
        inverse = self.event / compared
        so_far = np.cumsum(np.add.reduceat(inverse, self.starts))[self.group]
        spared = np.add.reduceat(inverse * self.share, self.starts)[self.group]
        gradient = np.empty(len(risk))
        gradient[self.order] = weight * (so_far - self.event * spared) - self.event
        return loss, gradient

    def curvature(self, x_nr: np.ndarray) -> np.ndarray:
        """(r, r) second derivative of `loss(x w)` in w at w = 0."""
        x_nr, rows = x_nr[self.order], np.flatnonzero(self.event)
        compared = self._compared(np.ones(len(x_nr)))[rows]
        own_en = self.group[rows, None] == self.group
        in_en = (self.group >= self.group[rows, None]) - self.share[rows, None] * (own_en & (self.event == 1))
        in_en = in_en / compared[:, None]
        means_er = in_en @ x_nr
        return (x_nr * in_en.sum(axis=0)[:, None]).T @ x_nr - means_er.T @ means_er

    def baseline(self, risk_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) places in order of time that are events' first, and the cumulative hazard there of a risk of 0."""
        weight = np.exp(risk_n[self.order])
        events_g = np.add.reduceat(self.event, self.starts)
        hazard_g = np.cumsum(events_g / self.at_risk(weight))
        with_event = events_g > 0
        return self.starts[with_event], hazard_g[with_event]


def martingale_residuals(y_n2: np.ndarray) -> np.ndarray:
    """(n,) of the null model, in which nobody is at more risk than others: event minus the cumulative hazard up to the
    case's time (Nelson-Aalen). Above 0 it happened sooner than expected. They sum to 0, and are minus the gradient of
    Cox's loss (Breslow's for ties) where all risks are alike: least squares on them is Cox's first step. (Therneau,
    Grambsch & Fleming, Biometrika 77, 1990.)"""
    sets = RiskSets.of(y_n2)
    hazard_g = np.cumsum(np.add.reduceat(sets.event, sets.starts) / sets.at_risk(np.ones(len(y_n2))))
    residuals = np.empty(len(y_n2))
    residuals[sets.order] = sets.event - hazard_g[sets.group]
    return residuals


@dataclass(frozen=True, slots=True, eq=False)
class RidgePath:
    """Ridges of one training set, whose curvature at 0 is taken apart once for all penalties."""

    sets: RiskSets
    values_r: np.ndarray
    """Eigenvalues of the curvature of the loss per case."""
    vectors_rr: np.ndarray
    turned_nr: np.ndarray
    """The codes along them."""

    @classmethod
    def of(cls, x_nr: np.ndarray, sets: RiskSets) -> RidgePath:
        """x_nr: columns centred."""
        values_r, vectors_rr = np.linalg.eigh(sets.curvature(x_nr) / len(x_nr))
        return cls(sets, values_r, vectors_rr, x_nr @ vectors_rr)

    def fit(self, alphas: Sequence[float]) -> list[np.ndarray]:
        """Per alpha the (r,) weights of min loss(x w) / n + alpha / 2 |w|².

        Quasi-Newton steps from the next stronger penalty, in the coordinates in which the curvature at 0 is round.
        """
        from scipy.optimize import minimize

        n, w_r = len(self.turned_nr), np.zeros(len(self.values_r))
        fits: dict[float, np.ndarray] = {}
        for alpha in sorted(set(alphas), reverse=True):
            scale_r = 1.0 / np.sqrt(np.maximum(self.values_r, 0.0) + alpha)

            def objective(
                v_r: np.ndarray, scale_r: np.ndarray = scale_r, alpha: float = alpha
            ) -> tuple[float, np.ndarray]:
                own_r = v_r * scale_r
                loss, gradient_n = self.sets.loss(self.turned_nr @ own_r)
                whole = loss / n + alpha / 2 * float(own_r @ own_r)
                return whole, scale_r * (self.turned_nr.T @ gradient_n / n + alpha * own_r)

            options = {"gtol": 1e-6, "maxiter": 200}
            found = minimize(objective, w_r / scale_r, jac=True, method="L-BFGS-B", options=options)
            w_r = found.x * scale_r
            fits[alpha] = self.vectors_rr @ w_r
        return [fits[alpha] for alpha in alphas]


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Who survives, by a risk: exp(-H(t) exp(slope risk)), H by Breslow, the slope by Cox on that one risk."""

    times_m: np.ndarray
    """(m,) ascending, of events."""
    hazard_m: np.ndarray
    """(m,) cumulative, of a risk of 0."""
    slope: float = field(default=1.0)
    """At least 0: a risk that is turned the wrong way says nothing of who survives, but is not turned round."""

    @classmethod
    def fit(cls, risk_n: np.ndarray, y_n2: np.ndarray) -> Baseline:
        """Of cases that the risk was not fitted on, as far as there are some; one event at least."""
        sets, spread = RiskSets.of(y_n2), float(risk_n.std()) or 1.0
        low, high = 0.0, 10.0 / spread

        def rises(slope: float) -> bool:
            return bool(sets.loss(slope * risk_n)[1] @ risk_n > 0)

        if rises(low):
            high = low
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if rises(middle) else (middle, high)
        slope = (low + high) / 2
        places, hazard_m = sets.baseline(slope * risk_n)
        return cls(y_n2[sets.order, 0][places], hazard_m, slope)

    def survival(self, risk_n: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        """(n, T) share that outlives each time; beyond the last event as at it."""
        hazard_t = np.append(0.0, self.hazard_m)[np.searchsorted(self.times_m, times_t, side="right")]
        return np.exp(-np.outer(np.exp(np.clip(self.slope * risk_n, -500.0, 500.0)), hazard_t))

    def tensors(self) -> dict[str, np.ndarray]:
        """{baseline_times, baseline_hazard, baseline_slope}."""
        return {
            "baseline_times": self.times_m,
            "baseline_hazard": self.hazard_m,
            "baseline_slope": np.array([self.slope]),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Baseline:
        """The inverse. Raises InvalidInputError."""
        times_m = take_tensor(tensors, "baseline_times", (None,), what)
        hazard_m = take_tensor(tensors, "baseline_hazard", (len(times_m),), what)
        (slope,) = take_tensor(tensors, "baseline_slope", (1,), what)
        if (np.diff(times_m) <= 0).any() or (np.diff(hazard_m, prepend=0.0) < 0).any() or slope < 0:
            raise InvalidInputError(f"{what}: its baseline does not rise with time; the weights are damaged")
        return cls(times_m, hazard_m, float(slope))
