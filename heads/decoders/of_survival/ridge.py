"""Cox regression with a ridge penalty, chosen on val: the decoder to beat on any code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers
from guidestore.heads.decoders.common.surviving import LinearLesson, LinearSurviving


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """Hyper-parameters of `Ridge`."""

    alphas: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """To choose among by the val loss: alpha / 2 |w|² beside the loss per train case, on standardised codes."""

    def __post_init__(self) -> None:
        check_numbers(self.alphas, "ridge: alphas", 0, open_low=True)


class Ridge(LinearSurviving):
    """Proportional hazards on codes standardised on train, Efron's ties (heads.cox).

    alpha is that with the least val partial likelihood loss; of equals the largest. The seed is not used.
    """

    name: ClassVar[str] = "ridge"
    Settings = RidgeSettings
    settings: RidgeSettings

    def weights(self, lesson: LinearLesson) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
        alphas, (path, back_rd) = sorted(self.settings.alphas, reverse=True), lesson.ridge
        for alpha, weight_r in zip(alphas, path.fit(alphas), strict=True):
            yield weight_r @ back_rd, {"alpha": alpha}
