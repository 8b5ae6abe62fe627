"""What decoders share: the checks around fit and prediction, and the choice among candidates by their val loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Self

import numpy as np

from guidestore.heads.checks import check_codes, check_fit, check_seed
from guidestore.heads.model import Model
from guidestore.heads.protocol import DecoderProblem


class FittedDecoder[F](Model[F]):
    """Contract: heads.protocol.Decoder. A decoder is what it fits (`candidates`) and what that says (`probabilities`).

    Of the candidates that with the least val loss is kept, of equals the first.
    """

    @abstractmethod
    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[F, dict[str, float]]]:
        """State and facts, val_loss among them, of each; the problem is checked, its codes are float32."""

    @abstractmethod
    def probabilities(self, fitted: F, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) codes, float32 -> (n, k) float64; rows sum to 1."""

    @abstractmethod
    def code_dim(self, fitted: F) -> int:
        """Of the codes that it was fitted on."""

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        self.forget()
        seed = check_seed(seed)
        checked = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        candidates = self.candidates(DecoderProblem(self, *checked, n_classes, seed))
        self._fitted, self.facts = min(candidates, key=lambda candidate: candidate[1]["val_loss"])
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        fitted = self.fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=self.code_dim(fitted))
        return self.probabilities(fitted, x_nd)
