"""Cox regression that leaves columns out; both penalties chosen on val."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, check_numbers
from guidestore.heads.decoders.common.surviving import LinearLesson, LinearSurviving

WEAKEST = 50
"""Parts of the penalty that leaves every column out, which the weakest is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticNetSettings:
    """Hyper-parameters of `ElasticNet`."""

    l1_ratios: tuple[float, ...] = (0.5, 0.9)
    """Shares of the penalty on |w|; the rest is on w² / 2."""
    alphas: int = 10
    """Penalties on the path of each, from that which leaves every column out."""
    max_iter: int = 200
    """Steps of one penalty."""

    def __post_init__(self) -> None:
        check_numbers(self.l1_ratios, "elastic_net: l1_ratios", 0, open_low=True)
        check_number(self.alphas, "elastic_net: alphas", 1, integer=True)
        check_number(self.max_iter, "elastic_net: max_iter", 1, integer=True)


class ElasticNet(LinearSurviving):
    """min loss / n + alpha (ratio |w| + (1 - ratio) w² / 2), Efron's ties, on codes standardised on train.

    By accelerated proximal steps (Beck & Teboulle, SIAM J. Imaging Sciences 2, 2009) from the next stronger penalty. Of
    the least val loss, of equals the strongest penalty. The seed is not used.
    """

    name: ClassVar[str] = "elastic_net"
    Settings = ElasticNetSettings
    settings: ElasticNetSettings

    def weights(self, lesson: LinearLesson) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
        sets, x_nd, n = lesson.sets, lesson.x_nd, len(lesson.x_nd)

        def loss(weight_d: np.ndarray) -> tuple[float, np.ndarray]:
            told, gradient_n = sets.loss(x_nd @ weight_d)
            return told / n, x_nd.T @ gradient_n / n

        steepest = float(np.abs(loss(np.zeros(x_nd.shape[1]))[1]).max())
        for l1_ratio in self.settings.l1_ratios:
            strongest, weight_d, step = steepest / l1_ratio, np.zeros(x_nd.shape[1]), 1.0
            for alpha in np.geomspace(strongest, strongest / WEAKEST, self.settings.alphas):
                l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
                weight_d, step = _proximal(loss, weight_d, l1, l2, step, self.settings.max_iter)
                facts = {"alpha": float(alpha), "l1_ratio": l1_ratio, "columns": float((weight_d != 0).sum())}
                yield weight_d, facts


def _proximal(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    weight_d: np.ndarray,
    l1: float,
    l2: float,
    step: float,
    most: int,
) -> tuple[np.ndarray, float]:
    """The weights of one penalty, and the step that they were reached with."""
    ahead_d, momentum = weight_d, 1.0
    for _ in range(most):
        told, gradient_d = loss(ahead_d)
        gradient_d = gradient_d + l2 * ahead_d
        told += l2 / 2 * float(ahead_d @ ahead_d)
        while True:
            moved_d = ahead_d - step * gradient_d
            new_d = np.sign(moved_d) * np.maximum(np.abs(moved_d) - step * l1, 0.0)
            apart_d = new_d - ahead_d
            reached = loss(new_d)[0] + l2 / 2 * float(new_d @ new_d)
            if reached <= told + gradient_d @ apart_d + apart_d @ apart_d / (2 * step) + 1e-12:
                break
            step /= 2
        later = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead_d = new_d + (momentum - 1) / later * (new_d - weight_d)
        change = float(np.abs(new_d - weight_d).max())
        weight_d, momentum = new_d, later
        if change < 1e-5:
            break
    return weight_d, step
