"""What stands for z_S of the train pairs: z_S itself, or what a control puts there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.heads.controls import CONTROLS, in_control_order
from guidestore.heads.input_rows import Arm, S
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.outcomes import strata
from guidestore.heads.replaced_codes import replaced


@dataclass(frozen=True, slots=True, eq=False)
class Superior:
    """Of one arm."""

    preparation: Preparation
    codes_nd: np.ndarray
    """(N, d) prepared; only those of the train pairs are read."""

    @classmethod
    def of(cls, cases: Cases, arm: Arm) -> Superior:
        """Raises InvalidInputError where a replaced code is constant."""
        source, paired = cases.sources[S], cases.paired
        if arm.control and CONTROLS[arm.control].replaces:
            raw_nd = replaced(paired, arm.control, arm.permutation, seed=cases.seed).superior_nd
            preparation = Preparation.fit(raw_nd[cases.pairs], f"{arm.control} for z_S of {paired.cohort}")
            return cls(preparation, preparation.apply(raw_nd))
        codes_nd, labels_n = source.codes_nd.copy(), strata(paired)[cases.pairs]
        codes_nd[cases.pairs] = in_control_order(
            arm.control, codes_nd[cases.pairs], labels_n, seed=cases.seed, permutation=arm.permutation
        )
        return cls(source.preparation, codes_nd)
