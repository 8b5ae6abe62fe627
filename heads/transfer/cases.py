"""One training set as teachers and students read it: prepared codes, the folds of its choices, who is taught."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.controls import in_control_order
from guidestore.heads.input_rows import S_PLUS_I, I
from guidestore.heads.outcomes import strata
from guidestore.heads.transfer.inner_cv import Split, inner_splits
from guidestore.heads.transfer.learning import Learning, learning_of
from guidestore.heads.transfer.preparation import Preparation


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """All rows of the paired codes, prepared on train; N rows, of which those without a modality hold NaN there."""

    paired: PairedCodes
    seed: int
    of_inferior: Preparation
    of_superior: Preparation
    inferior_nr: np.ndarray
    """(N, r_I)."""
    superior_nr: np.ndarray
    """(N, r_S)."""
    learning: Learning
    splits: list[Split]
    """Of the labelled train cases; val is held out only where these cannot be cut into folds."""

    @classmethod
    def of(cls, paired: PairedCodes, *, seed: int) -> Cases:
        """Raises InvalidInputError where the codes of a modality are constant."""
        train = paired.parts == "train"
        of_inferior = Preparation.fit(paired.inferior_nd[train & paired.has_inferior], f"z_I of {paired.cohort}")
        of_superior = Preparation.fit(paired.superior_nd[train & paired.has_superior], f"z_S of {paired.cohort}")
        inferior_nr, superior_nr = of_inferior.apply(paired.inferior_nd), of_superior.apply(paired.superior_nd)
        of_codes = (of_inferior, of_superior, inferior_nr, superior_nr)
        return cls(paired, seed, *of_codes, learning_of(paired), inner_splits(paired))

    def permuted(self, control: str, permutation: int) -> Cases:
        """z_S of all train pairs in the order of a control, labelled or not; superior-only cases keep theirs."""
        superior_nr, pairs = self.superior_nr.copy(), self.pairs
        superior_nr[pairs] = in_control_order(
            control, superior_nr[pairs], strata(self.paired)[pairs], seed=self.seed, permutation=permutation
        )
        return replace(self, superior_nr=superior_nr)

    @property
    def labelled(self) -> np.ndarray:
        """Rows of the labelled train cases, of either modality."""
        return self.paired.rows("train", self.paired.has_label)

    @property
    def pairs(self) -> np.ndarray:
        """Rows of the train pairs."""
        return self.paired.rows("train", self.paired.is_pair)

    @property
    def unlabelled_pairs(self) -> np.ndarray:
        """Rows of those that a teacher can label for a student."""
        return self.paired.rows("train", self.paired.is_pair, ~self.paired.has_label)

    def read(self, row: str) -> tuple[np.ndarray, np.ndarray]:
        """(N, r) codes of input row S+I, S or I, and (N,) bool: who has them."""
        if row == S_PLUS_I:
            return np.hstack([self.superior_nr, self.inferior_nr]), self.paired.is_pair
        if row == I:
            return self.inferior_nr, self.paired.has_inferior
        return self.superior_nr, self.paired.has_superior

    def preparation(self, row: str) -> Preparation:
        """What makes `read(row)` from raw codes, side by side as the row has them."""
        if row == S_PLUS_I:
            return Preparation.side_by_side(self.of_superior, self.of_inferior)
        return self.of_inferior if row == I else self.of_superior
