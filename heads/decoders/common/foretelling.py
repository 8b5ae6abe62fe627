"""What decoders of outcomes that are no class share: checks around fit and prediction, and the choice by val loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind, check_y, known_of
from guidestore.heads.checks import check_codes, check_seed, settings_from_config
from guidestore.heads.model import Model, Tensors
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.protocol import DecoderProblem


class Foretelling[F](Model[F]):
    """Contract: heads.protocol.Foreteller, but for the fit. A decoder is what it fitted and what that says (`say`)."""

    kinds: ClassVar[frozenset[TargetKind]]
    """One: names are alike where it is the same thing, so each kind has a class of its own."""

    @classmethod
    def kind(cls) -> TargetKind:
        """The one of `kinds`."""
        (kind,) = cls.kinds
        return kind

    @property
    def config(self) -> dict[str, Any]:
        of_model = super().config
        return {"name": of_model.pop("name"), "kind": self.kind(), **of_model}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Tensors) -> Self:
        if config.get("kind") != cls.kind():
            raise InvalidInputError(
                f"a config of kind {config.get('kind')!r} cannot make a {cls.name} of {cls.kind()}; load it by its own"
            )
        model = cls()
        without_kind = {name: value for name, value in config.items() if name != "kind"}
        model.settings = settings_from_config(cls.Settings, without_kind, cls.name)
        model._fitted = model.unpack(tensors)
        return model

    @abstractmethod
    def say(self, fitted: F, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) codes, float32 -> (n,) float64."""

    @abstractmethod
    def code_dim(self, fitted: F) -> int:
        """Of the codes that it was fitted on."""

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        fitted = self.fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=self.code_dim(fitted))
        return check_finite_predictions(self.say(fitted, x_nd), self.name)


class ChosenForeteller[F](Foretelling[F]):
    """Of its `candidates` that with the least val loss is kept, of equals the first."""

    @abstractmethod
    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[F, dict[str, float]]]:
        """State and facts, val_loss among them, of each; the problem is checked, its codes are float32."""

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
        problem = DecoderProblem(self, x_nd, labels, x_val_nd, labels_val, n_classes, check_seed(seed))
        self._fitted, self.facts = self.chosen(checked(problem, self.kind(), self.name))
        return self

    def chosen(self, problem: DecoderProblem) -> tuple[F, dict[str, float]]:
        """Of the candidates of a checked problem."""
        return min(self.candidates(problem), key=lambda candidate: candidate[1]["val_loss"])


def checked(problem: DecoderProblem, kind: TargetKind, what: str) -> DecoderProblem:
    """A problem whose codes are float32 and whose outcomes can be learnt. Raises InvalidInputError."""
    given = (problem.x_nd, problem.labels, problem.x_val_nd, problem.labels_val, problem.n_classes)
    found = checked_outcomes(*given, kind, what)
    return DecoderProblem(problem.decoder, *found, problem.n_classes, problem.seed)


def checked_outcomes(
    x_nd: np.ndarray,
    labels: np.ndarray,
    x_val_nd: np.ndarray,
    labels_val: np.ndarray,
    n_classes: int,
    kind: TargetKind,
    what: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """These codes, float32, with outcomes that can be learnt. Raises InvalidInputError."""
    x_nd = check_codes(x_nd, f"{what}: train codes")
    x_val_nd = check_codes(x_val_nd, f"{what}: val codes", code_dim=x_nd.shape[1])
    dtype = np.int64 if kind == "ordinal" else np.float64
    parts = []
    for name, y, codes_nd in (("train", labels, x_nd), ("val", labels_val, x_val_nd)):
        y = np.asarray(y, dtype=dtype)
        check_y(kind, y, n_names=n_classes, what=f"{what}: {name} outcomes")
        if len(y) != len(codes_nd) or not known_of(y).all():
            raise InvalidInputError(
                f"{what}: {name} has {len(codes_nd)} codes and {int(known_of(y).sum())} known outcomes; give one each"
            )
        parts.append(y)
    y, y_val = parts
    if kind == "value" and np.ptp(y) == 0:
        raise InvalidInputError(f"{what}: every train value is {y[0]:g}; there is nothing to foretell")
    if kind == "survival" and not (y[:, 1].any() and y_val[:, 1].any()):
        where = "train" if not y[:, 1].any() else "val"
        raise InvalidInputError(f"{what}: no {where} case has an event; follow them for longer, or draw another split")
    if kind == "ordinal" and len(np.unique(y)) < 2:
        raise InvalidInputError(f"{what}: train has one grade alone; there is nothing to foretell")
    return x_nd, y, x_val_nd, y_val
