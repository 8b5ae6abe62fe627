"""A decoder of one's own: a class with `fit(x_nd, labels)` and `predict_proba(x_nd)`, as scikit-learn's classifiers.

`fit` gets val codes and labels too if it takes four arguments, and `n_classes` and `seed` if it takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, check_fit, check_seed
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.own.code import Own
from guidestore.heads.own.model import OwnModel
from guidestore.heads.own.ways import Lesson, Says


class OwnDecoder(OwnModel):
    """Contract: heads.protocol.Decoder."""

    says: ClassVar[Says] = "predict_proba"

    def __init__(self, own: Own, params: Mapping[str, Any]) -> None:
        kinds = getattr(own.of, "kinds", ("classes",))
        if "classes" not in kinds:
            raise InvalidInputError(
                f"{own.kind} {own.name!r} learns {' or '.join(sorted(kinds))}, and the target is of classes; choose "
                "another"
            )
        super().__init__(own, params)

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
        self._widths, self.facts = None, {}
        seed = check_seed(seed)
        x_nd, labels, *val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        facts = self.way.fit(Lesson(x_nd, labels, seed, (val[0], val[1]), {"n_classes": n_classes}))
        self._widths, self.facts = (x_nd.shape[1], n_classes), facts
        try:
            self.predict_proba(x_nd[:2])
        except BaseException:
            self._widths = None
            raise
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        d_in, n_classes = self.widths
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=d_in)
        said = self.way.say(x_nd)
        if said.shape != (len(x_nd), n_classes) or said.dtype.kind != "f":
            raise InvalidInputError(
                f"{self.own.kind} {self.name!r} predicts {said.dtype} of shape {said.shape} of {len(x_nd)} cases; it "
                f"must be probabilities of shape ({len(x_nd)}, {n_classes})"
            )
        probabilities = check_finite_predictions(said.astype(np.float64), self.name)
        total = probabilities.sum(axis=1, keepdims=True)
        if probabilities.min() < 0 or not np.allclose(total, 1.0, rtol=0, atol=1e-4):
            raise InvalidInputError(
                f"{self.own.kind} {self.name!r} predicts what are no probabilities: a row is negative, or does not "
                "sum to 1; mend its predict_proba"
            )
        return probabilities / total
