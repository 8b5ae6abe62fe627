"""Proportional odds: P(y > j) = sigmoid(x w - threshold_j), the logistic regression of grades in their order.

(McCullagh, JRSS B 42, 1980.) With two grades it is logistic regression.
"""

from __future__ import annotations

import numpy as np

from guidestore.heads.onnx_graph.graph import Value

_LEAST = 1e-12
"""Probability that a logarithm is taken of."""


def fit_odds(
    x_nd: np.ndarray, labels_n: np.ndarray, n_grades: int, *, penalty: float, start_d: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n_grades - 1,) ascending thresholds and (d,) weights of the least mean -ln p + penalty / 2 |w|².

    labels_n: (n,) grades from 0; one that no case has lies between its neighbours, as narrow as can be. L-BFGS over the
    first threshold and the logarithms of the steps between them.
    """
    from scipy.optimize import minimize

    n, d = x_nd.shape
    counts = np.bincount(labels_n, minlength=n_grades) + 0.5
    shares = 1.0 - np.cumsum(counts)[:-1] / counts.sum()
    first = -np.log(shares / (1.0 - shares))
    start = np.concatenate(
        [first[:1], np.log(np.maximum(np.diff(first), 1e-3)), np.zeros(d) if start_d is None else start_d]
    )

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        steps = np.exp(np.clip(values[1 : n_grades - 1], -30.0, 30.0))
        thresholds = values[0] + np.append(0.0, np.cumsum(steps))
        w_d = values[n_grades - 1 :]
        above = _sigmoid(np.subtract.outer(x_nd @ w_d, thresholds))
        upper = np.concatenate([np.ones((n, 1)), above], axis=1)[np.arange(n), labels_n]
        lower = np.concatenate([above, np.zeros((n, 1))], axis=1)[np.arange(n), labels_n]
        p_n = np.maximum(upper - lower, _LEAST)
        up, down = upper * (1 - upper) / p_n, lower * (1 - lower) / p_n
        to_x = -(up - down) / n
        of_threshold = np.zeros(n_grades + 1)
        np.add.at(of_threshold, labels_n, up / n)
        np.add.at(of_threshold, labels_n + 1, -down / n)
        of_threshold = of_threshold[1:-1]
        later = np.cumsum(of_threshold[::-1])[::-1]
        gradient = np.concatenate([later[:1], later[1:] * steps, x_nd.T @ to_x + penalty * w_d])
        return float(-np.log(p_n).mean() + penalty / 2 * (w_d @ w_d)), gradient

    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-7})
    steps = np.exp(np.clip(found.x[1 : n_grades - 1], -30.0, 30.0))
    return found.x[0] + np.append(0.0, np.cumsum(steps)), found.x[n_grades - 1 :]


def grade_probabilities(place_n: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(n,) x w -> (n, k) float64 probabilities of the grades; rows sum to 1."""
    return between(_sigmoid(np.subtract.outer(place_n, thresholds)))


def between(above_nk: np.ndarray) -> np.ndarray:
    """(n, k - 1) probabilities of being above each grade but the last, falling -> (n, k) of the grades."""
    n = len(above_nk)
    edges = np.concatenate([np.ones((n, 1)), above_nk, np.zeros((n, 1))], axis=1)
    shares = np.maximum(edges[:, :-1] - edges[:, 1:], 0.0)
    return shares / shares.sum(axis=1, keepdims=True)


def grades_onnx(place: Value, thresholds: np.ndarray) -> Value:
    """`grade_probabilities` of (n, 1) as a graph."""
    above = (place - thresholds[None, :]).graph.node("Sigmoid", place - thresholds[None, :])
    return between_onnx(above, len(thresholds))


def between_onnx(above: Value, n_thresholds: int) -> Value:
    """`between` as a graph: one product with what subtracts neighbours."""
    differences = np.zeros((n_thresholds, n_thresholds + 1))
    for j in range(n_thresholds):
        differences[j, j], differences[j, j + 1] = -1.0, 1.0
    first = np.zeros(n_thresholds + 1)
    first[0] = 1.0
    return (above @ differences + first).at_least(0.0).share()


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -500.0, 500.0)))
