"""A fitted smoother and its link as a decoder of raw codes, of outcomes that are no class; and of grades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_codes
from guidestore.heads.kernels.decoder import weights_from_tensors, weights_onnx, weights_to_tensors
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import GAMMA, Weights
from guidestore.heads.links.link import Link
from guidestore.heads.links.table import LINKS
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.onnx_graph.graph import Value


class SmootherOf:
    """The link of a smoother's scores on prepared codes. Contract: heads.protocol.FrozenForeteller.

    As heads.kernels.decoder.Smoother of classes, it has no fit of its own.
    """

    name: ClassVar[str] = "smoother"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"multilabel", "value", "survival"})

    def __init__(self, kind: TargetKind, preparation: Preparation, weights: Weights, link: Link) -> None:
        self._kind: TargetKind = kind
        self._preparation, self._weights, self._link = preparation, weights.as_kept(), link

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self._kind, "gamma": GAMMA}

    @property
    def keeps_train_codes(self) -> bool:
        """Whether landmarks of an RBF kernel are among the weights."""
        return len(self._weights.landmarks_ld) > 0

    def scores(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, c) of raw codes."""
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=len(self._preparation.mean))
        return check_finite_predictions(self._weights(self._preparation.apply(x_nd)), self.name)

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        return self._link.say(self.scores(x_nd))

    def tensors(self) -> dict[str, np.ndarray]:
        return self._preparation.tensors() | weights_to_tensors(self._weights) | self._link.tensors()

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> SmootherOf:
        kind: Any = config.get("kind")
        if config.get("name") != cls.name or config.get("gamma") != GAMMA or kind not in LINKS:
            raise InvalidInputError(f"a config of {dict(config)!r} cannot make a {cls.name}; load it by what wrote it")
        preparation = Preparation.from_tensors(tensors, cls.name)
        weights = weights_from_tensors(tensors, len(preparation.mean), cls.name)
        return finished(kind, preparation, weights, LINKS[kind].from_tensors(tensors, cls.name))

    def onnx(self, x: Value) -> Value:
        return self._link.onnx(weights_onnx(self._weights, self._preparation.onnx(x)))


class SmootherOfGrades(SmootherOf):
    """Of grades: probabilities, as heads.protocol.FrozenDecoder has them."""

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"ordinal"})

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        return self._link.say(self.scores(x_nd))

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        from guidestore.embeddings.runs import median_grade

        return median_grade(self.predict_proba(x_nd))


class SmootherOfSurvival(SmootherOf):
    """Of survival: who outlives a time, too."""

    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"survival"})

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        link: Any = self._link
        return link.baseline.survival(self.predict(x_nd), times_t)


def finished(kind: TargetKind, preparation: Preparation, weights: Weights, link: Link) -> SmootherOf:
    """The decoder of a kind."""
    made = {"ordinal": SmootherOfGrades, "survival": SmootherOfSurvival}.get(kind, SmootherOf)
    return made(kind, preparation, weights, link)
