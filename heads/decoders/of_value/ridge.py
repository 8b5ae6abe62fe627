"""Ridge regression, its penalty chosen on val: the decoder to beat on any code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers
from guidestore.heads.decoders.common.affine_value import AffineForeteller, AffineState, squared_error
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """Hyper-parameters of `Ridge`."""

    alphas: tuple[float, ...] = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    """To choose among by the val loss, as shares of n: what is added to the mean squares of standardised columns."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "ridge: alphas", 0, open_low=True)


class Ridge(AffineForeteller):
    """min |y - X w - b|² + alpha n |w|² on codes standardised on train: scikit-learn's Ridge(alpha * n).

    alpha is that with the least mean squared val error; of equals the largest. The seed is not used.
    """

    name: ClassVar[str] = "ridge"
    Settings = RidgeSettings
    settings: RidgeSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[AffineState, dict[str, float]]]:
        scale, n = Standardiser.fit(problem.x_nd), len(problem.labels)
        x_nd, x_val_nd, y_mean = scale.apply(problem.x_nd), scale.apply(problem.x_val_nd), problem.labels.mean()
        u_nr, s_r, vt_rd = np.linalg.svd(x_nd, full_matrices=False)
        onto_r = u_nr.T @ (problem.labels - y_mean)
        for alpha in sorted(self.settings.alphas, reverse=True):
            weight_d = vt_rd.T @ (s_r / (s_r**2 + alpha * n) * onto_r)
            loss = squared_error(problem.labels_val, x_val_nd @ weight_d + y_mean)
            yield (scale, weight_d[None], np.array([y_mean])), {"alpha": alpha, "val_loss": loss}
