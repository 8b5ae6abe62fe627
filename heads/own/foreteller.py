"""A decoder of one's own of values or survival: a class with `fit(x_nd, y)` and `predict(x_nd)`, as scikit-learn's
regressors.

What learns survival says so by a class attribute `kinds` with "survival" in it; what says nothing predicts a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_codes, check_seed
from guidestore.heads.decoders.common.foretelling import checked
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.own.code import Own
from guidestore.heads.own.model import OwnModel
from guidestore.heads.own.torch_module import TorchModule
from guidestore.heads.own.ways import Lesson, Says
from guidestore.heads.protocol import DecoderProblem


class OwnForeteller(OwnModel):
    """Contract: heads.protocol.Foreteller."""

    says: ClassVar[Says] = "predict"

    def __init__(self, own: Own, params: Mapping[str, Any], kind: TargetKind = "value") -> None:
        declared = getattr(own.of, "kinds", None)
        learns = frozenset(declared) if declared else frozenset[TargetKind]({"value"})
        if kind not in learns or (not declared and hasattr(own.of, "predict_proba")):
            told = "classes" if hasattr(own.of, "predict_proba") and not declared else " or ".join(sorted(learns))
            raise InvalidInputError(
                f"{own.kind} {own.name!r} learns {told}, and the target is of kind {kind}; choose another, or name the "
                f"kind in its class attribute `kinds` if it does"
            )
        super().__init__(own, params)
        self.kind: TargetKind = kind
        self.kinds: frozenset[TargetKind] = frozenset({kind})
        if kind != "value" and isinstance(self.way, TorchModule):
            raise InvalidInputError(f"{own.kind} {own.name!r} is a torch module, which learns values and classes alone")

    @classmethod
    def of_config(cls, own: Own, config: Mapping[str, Any]) -> Self:
        return cls(own, config["params"], config["kind"])

    @property
    def config(self) -> dict[str, Any]:
        of_model = super().config
        return {"name": of_model.pop("name"), "kind": self.kind, **of_model}

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
        given = DecoderProblem(self, x_nd, labels, x_val_nd, labels_val, n_classes, check_seed(seed))  # pyright: ignore[reportArgumentType]
        problem = checked(given, self.kind, self.name)
        val = (problem.x_val_nd, problem.labels_val)
        self.facts = self.way.fit(Lesson(problem.x_nd, problem.labels, problem.seed, val, {"n_classes": 1}))
        self._widths = (problem.x_nd.shape[1], 1)
        try:
            self.predict(problem.x_nd[:2])
        except BaseException:
            self._widths = None
            raise
        return self

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n,) float64 values, or risks."""
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=self.widths[0])
        said = self.way.say(x_nd)
        said = said[:, 0] if said.shape == (len(x_nd), 1) else said
        if said.shape != (len(x_nd),) or said.dtype.kind not in "fiu":
            raise InvalidInputError(
                f"{self.own.kind} {self.name!r} predicts {said.dtype} of shape {said.shape} of {len(x_nd)} cases; it "
                f"must be a number each, of shape ({len(x_nd)},)"
            )
        return check_finite_predictions(said.astype(np.float64), self.name)
