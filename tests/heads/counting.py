"""Models that count how often they are fitted, under names of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import pytest

from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.decoders.mlp import Mlp
from guidestore.heads.errors import DivergedError
from guidestore.heads.guidance.ridge import Ridge
from guidestore.heads.protocol import DecoderProblem, GuidanceProblem
from guidestore.heads.registry import DECODERS, GUIDANCE


class CountedRidge(Ridge):
    name: ClassVar[str] = "counted_ridge"
    fits: ClassVar[list[GuidanceProblem]] = []

    def learn(self, problem: GuidanceProblem) -> Any:
        self.fits.append(problem)
        return super().learn(problem)


class CountedLogistic(Logistic):
    name: ClassVar[str] = "counted_logistic"
    fits: ClassVar[list[DecoderProblem]] = []

    def candidates(self, problem: DecoderProblem) -> Iterator[Any]:
        self.fits.append(problem)
        return super().candidates(problem)


class CountedMlp(Mlp):
    name: ClassVar[str] = "counted_mlp"
    batches: ClassVar[list[Sequence[DecoderProblem]]] = []

    @classmethod
    def fit_many(cls, problems: Sequence[DecoderProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        cls.batches.append(problems)
        return super().fit_many(problems, device=device)


def offer_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts start at 0, and the models can be asked for by name, as those of a plug-in."""
    for table, model in ((GUIDANCE, CountedRidge), (DECODERS, CountedLogistic), (DECODERS, CountedMlp)):
        monkeypatch.setitem(table.built_in, model.name, f"{model.__module__}:{model.__name__}")
    monkeypatch.setattr(CountedRidge, "fits", [])
    monkeypatch.setattr(CountedLogistic, "fits", [])
    monkeypatch.setattr(CountedMlp, "batches", [])
