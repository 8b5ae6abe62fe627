"""A guidance model of one's own: a class with `fit(z_inferior_nd, z_superior_nd)` and `predict(z_inferior_nd)`.

What else heads.protocol asks for is added where it is missing. `fit` gets `seed` if it takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, check_pairs, check_seed
from guidestore.heads.errors import DivergedError
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.own.model import OwnModel
from guidestore.heads.own.ways import Keeping, Lesson, Says
from guidestore.heads.protocol import FrozenDecoder, GuidanceProblem


class OwnGuidance(OwnModel):
    """Contract: heads.protocol.BatchGuidanceModel, and DecoderGuidedModel where it is one."""

    says: ClassVar[Says] = "predict"

    @property
    def needs_decoder(self) -> bool:
        """As its own says; only one with `tensors` and `from_tensors` may."""
        return isinstance(self.way, Keeping) and bool(getattr(self.way.model, "needs_decoder", False))

    def fit(
        self,
        z_inferior_nd: np.ndarray,
        z_superior_nd: np.ndarray,
        *,
        seed: int,
        decoder: FrozenDecoder | None = None,
    ) -> Self:
        self._widths, self.facts = None, {}
        seed = check_seed(seed)
        x_nd, y_nd = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        more = {"decoder": decoder} if self.needs_decoder else None
        facts = self.way.fit(Lesson(x_nd, y_nd, seed, more=more))
        self._widths, self.facts = (x_nd.shape[1], y_nd.shape[1]), facts
        try:
            self.predict(x_nd[:2])
        except BaseException:
            self._widths = None
            raise
        return self

    @classmethod
    def fit_many(cls, problems: Sequence[GuidanceProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        """One after the other, on the CPU."""
        results: list[Self | DivergedError] = []
        for problem in problems:
            model = cast(Self, problem.model)
            try:
                both = (problem.z_inferior_nd, problem.z_superior_nd)
                d_s = cast(FrozenDecoder | None, problem.decoder)
                results.append(model.fit(*both, seed=problem.seed, decoder=d_s))
            except DivergedError as error:
                results.append(error)
        return results

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        d_in, d_out = self.widths
        x_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=d_in)
        with np.errstate(over="ignore", invalid="ignore"):
            said: Any = self.way.say(x_nd)
            if said.shape == (len(x_nd),) and d_out == 1:
                said = said[:, None]
            if said.shape != (len(x_nd), d_out) or said.dtype.kind not in "fiu":
                raise InvalidInputError(
                    f"{self.own.kind} {self.name!r} predicts {said.dtype} of shape {said.shape} of {len(x_nd)} cases; "
                    f"it must be numbers of shape ({len(x_nd)}, {d_out})"
                )
            predicted_nd = np.ascontiguousarray(said, dtype=np.float32)
        return check_finite_predictions(predicted_nd, self.name)
