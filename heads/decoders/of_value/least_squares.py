"""Least squares without a penalty: the D_S of LuPTS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number
from guidestore.heads.decoders.common.affine_value import AffineForeteller, AffineState, squared_error
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import CONSTANT_SHARE, Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresSettings:
    """Hyper-parameters of `LeastSquares`."""

    resolution: float = CONSTANT_SHARE
    """Directions whose singular value is a smaller share of the largest are left out, as in the linear G."""

    def __post_init__(self) -> None:
        check_number(self.resolution, "least_squares: resolution", 0, 1)


class LeastSquares(AffineForeteller):
    """Of all solutions the shortest, on codes standardised on train. With a linear G it is LuPTS (Karlsson et al.,
    AISTATS 2022, arXiv 2110.14993): G(I) of guidance lupts. The seed is not used."""

    name: ClassVar[str] = "least_squares"
    Settings = LeastSquaresSettings
    settings: LeastSquaresSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[AffineState, dict[str, float]]]:
        scale, y_mean = Standardiser.fit(problem.x_nd), problem.labels.mean()
        weight_d, _, rank, _ = np.linalg.lstsq(
            scale.apply(problem.x_nd), problem.labels - y_mean, rcond=self.settings.resolution
        )
        loss = squared_error(problem.labels_val, scale.apply(problem.x_val_nd) @ weight_d + y_mean)
        yield (scale, weight_d[None], np.array([y_mean])), {"rank": float(rank), "val_loss": loss}
