"""What guidance models that fit one at a time share: the checks around fit and prediction."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from guidestore.heads.checks import check_codes, check_pairs, check_seed
from guidestore.heads.model import Model
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.protocol import GuidanceProblem


class GuidanceBase[F](Model[F]):
    """Contract: heads.protocol.GuidanceModel. A model is what it learns (`learn`) and what that says (`foretell`)."""

    @abstractmethod
    def learn(self, problem: GuidanceProblem) -> tuple[F, dict[str, float]]:
        """State and facts; the problem is checked, its codes are float32."""

    @abstractmethod
    def foretell(self, fitted: F, z_inferior_nd: np.ndarray) -> np.ndarray:
        """(n, d_I) float32 -> (n, d_S) in the units of z_S; rounded to float32 afterwards."""

    @abstractmethod
    def code_dim(self, fitted: F) -> int:
        """Of the z_I that it was fitted on."""

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        self.forget()
        check_seed(seed)
        both = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        self._fitted, self.facts = self.learn(GuidanceProblem(self, *both, seed))
        return self

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        fitted = self.fitted
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=self.code_dim(fitted))
        with np.errstate(over="ignore", invalid="ignore"):
            predicted_nd = self.foretell(fitted, z_inferior_nd).astype(np.float32)
        return check_finite_predictions(predicted_nd, self.name)
