"""The contract of decoders of values and of survival (heads.protocol.Foreteller), on made-up codes and outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.registry import build_decoder_of, decoder_choice, load_any_decoder
from guidestore.testing.guidance import same


def outcomes(kind: TargetKind, n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5) codes on an offset, and y that mostly follows from them: a value, or a time and an event, a third of them
    censored."""
    rng = np.random.default_rng(seed)
    x_nd = rng.normal(size=(n, 5))
    score_n = x_nd @ np.array([1.0, -0.5, 0.5, 0.0, 0.0]) + 0.1 * rng.normal(size=n)
    codes_nd = (x_nd + 3.0).astype(np.float32)
    if kind == "value":
        return codes_nd, 20.0 + 5.0 * score_n
    return codes_nd, np.column_stack([np.exp(2.0 - score_n), rng.random(n) > 1 / 3]).astype(np.float64)


def concordance(risk_n: np.ndarray, y: np.ndarray) -> float:
    """Share of the pairs that can be compared in which the higher risk came first."""
    time, event = y.T
    first = (time[:, None] < time[None]) & (event[:, None] > 0)
    return float((risk_n[:, None] > risk_n[None])[first].mean())


@dataclass(frozen=True)
class ForetellerCase:
    """A decoder of values or survival, and what may be expected of it."""

    model: Any
    """A name, ``module:Class``, a class or an object."""
    kind: TargetKind = "value"
    params: Mapping[str, Any] = field(default_factory=dict)
    """That keep it small."""
    random: bool = False
    """Whether the seed matters."""

    def build(self) -> Any:
        """An unfitted one of its kind."""
        choice = decoder_choice(self.model, self.params or None)
        return build_decoder_of(self.kind, choice.name, **choice.params)

    def fitted(self, *, seed: int = 3) -> Any:
        """One that saw `outcomes`; seed: of the fit."""
        return self.build().fit(*outcomes(self.kind), *outcomes(self.kind, 40, 1), n_classes=1, seed=seed)

    @cached_property
    def once(self) -> Any:
        """As `fitted` is; the same for all tests that change nothing about it."""
        return self.fitted()


class ForetellerContract:
    """What holds for every decoder of values or of survival. Subclass it and name yours: `model`, `kind`, …"""

    model: ClassVar[Any]
    kind: ClassVar[TargetKind] = "value"
    params: ClassVar[Mapping[str, Any]] = {}
    random: ClassVar[bool] = False

    @pytest.fixture
    def case(self) -> ForetellerCase:
        return ForetellerCase(self.model, self.kind, self.params, self.random)

    def test_round_trip_predicts_bit_for_bit(self, case):
        decoder = case.once
        config = json.loads(json.dumps(decoder.config))
        assert config["kind"] == case.kind
        loaded: Any = load_any_decoder(config, {name: array.copy() for name, array in decoder.tensors().items()})
        x_nd, _ = outcomes(case.kind, 19, 5)
        said = decoder.predict(x_nd)
        assert (said.dtype, said.shape) == (np.float64, (19,))
        assert np.array_equal(loaded.predict(x_nd), said)
        assert loaded.config == decoder.config
        assert same(loaded.tensors(), decoder.tensors())

    def test_learns_an_easy_problem(self, case):
        x_nd, y = outcomes(case.kind, 200, 5)
        said = case.once.predict(x_nd)
        if case.kind == "value":
            assert 1 - ((said - y) ** 2).mean() / y.var() > 0.5
        else:
            assert concordance(said, y) > 0.75

    def test_the_seed_alone_decides(self, case):
        first, again, other = case.once, case.fitted(), case.fitted(seed=4)
        x_nd, _ = outcomes(case.kind, 19, 5)
        assert same(first.tensors(), again.tensors())
        assert np.array_equal(first.predict(x_nd), other.predict(x_nd)) is not case.random

    def test_a_row_does_not_depend_on_its_neighbours(self, case):
        decoder = case.once
        x_nd, _ = outcomes(case.kind, 9, 5)
        np.testing.assert_allclose(decoder.predict(x_nd[4:5])[0], decoder.predict(x_nd)[4], rtol=1e-6, atol=1e-9)

    def test_refuses_bad_input(self, case):
        (x_nd, y), val = outcomes(case.kind), outcomes(case.kind, 40, 1)
        decoder = case.build()
        missing = y.copy()
        missing[7] = np.nan
        with pytest.raises(InvalidInputError, match="not fitted"):
            decoder.predict(x_nd)
        for wrong in (
            (x_nd, missing, *val),
            (x_nd, y[1:], *val),
            (x_nd * np.nan, y, *val),
            (x_nd, y, val[0][:, 1:], val[1]),
            (x_nd, np.arange(len(x_nd)) % 3, *val) if case.kind == "survival" else (x_nd, y * 0 + 1.0, *val),
        ):
            with pytest.raises(InvalidInputError):
                case.build().fit(*wrong, n_classes=1, seed=0)
        decoder.fit(x_nd, y, *val, n_classes=1, seed=0)
        with pytest.raises(InvalidInputError, match="have 4 dimensions, but 5 were fitted"):
            decoder.predict(x_nd[:, 1:])
        with pytest.raises(InvalidInputError, match="is missing"):
            load_any_decoder(decoder.config, {})
