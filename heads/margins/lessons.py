"""Whose scores a student regresses on which pair: the true ones, or a control's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guidestore.heads.controls import OWN, in_control_order
from guidestore.heads.input_rows import Arm, I, S
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.outcomes import strata


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What one student learns from."""

    arm: Arm
    teacher: str
    """Input row that its teacher reads."""
    order: np.ndarray
    """(p,) for each pair, whose scores it is given."""

    @classmethod
    def of(cls, cases: Cases, arm: Arm) -> Lesson:
        """Where the control permutes z_S, the scores of the pairs are permuted. own: the teacher reads z_I."""
        own_p1, labels = np.arange(len(cases.pairs))[:, None], strata(cases.paired)[cases.pairs]
        order_p1 = in_control_order(arm.control, own_p1, labels, seed=cases.seed, permutation=arm.permutation)
        return cls(arm, I if arm.control == OWN else S, order_p1[:, 0])

    def given(self, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """(p, k) of every pair. scores: (p, k) by what a teacher reads."""
        return scores[self.teacher][self.order]
