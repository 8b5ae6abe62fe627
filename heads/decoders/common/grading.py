"""What decoders of grades share: probabilities of the grades in their order, and the grade in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.runs import median_grade
from guidestore.heads.checks import check_codes
from guidestore.heads.networks import check_finite_predictions


class Grading:
    """A mix-in of Foretelling: what is `said` of a case are probabilities, as heads.protocol.FrozenDecoder has them."""

    name: ClassVar[str]
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"ordinal"})

    if TYPE_CHECKING:  # of Foretelling, beside which it stands

        @property
        def fitted(self) -> Any: ...

        def say(self, fitted: Any, x_nd: np.ndarray) -> np.ndarray: ...

        def code_dim(self, fitted: Any) -> int: ...

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, k) float64, in the order of the grades; rows sum to 1."""
        fitted = self.fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=self.code_dim(fitted))
        return check_finite_predictions(self.say(fitted, x_nd), self.name)

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        """(n,) int64: the grade in the middle."""
        return median_grade(self.predict_proba(x_nd))
