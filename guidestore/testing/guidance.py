"""The contract of guidance models (heads.protocol), on made-up pairs of codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_guidance, needs_decoder
from guidestore.heads.protocol import GuidanceProblem
from guidestore.heads.registry import build_guidance, guidance_choice, load_guidance


def pairs(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """z_I (n, 6) and a non-negative z_S (n, 4) that mostly follows from it."""
    rng = np.random.default_rng(seed)
    z_inferior_nd = rng.normal(size=(n, 6))
    mix = np.random.default_rng(99).normal(size=(6, 4))
    z_superior_nd = np.maximum(z_inferior_nd @ mix + 3.0, 0.0) + 0.05 * rng.random((n, 4))
    return z_inferior_nd.astype(np.float32), z_superior_nd.astype(np.float32)


D_S = Linear(np.random.default_rng(97).normal(size=(3, 4)), np.zeros(3))
"""For those that are trained through it."""


def through(model: Any) -> dict[str, Any]:
    """What its fit takes besides."""
    return {"decoder": D_S} if needs_decoder(model) else {}


def few_epochs(params: Mapping[str, Any]) -> dict[str, Any]:
    """Training amplifies the rounding in which a batch differs from a fit alone; 3 epochs do not."""
    return {**params, "epochs": 3} if "epochs" in params or "hidden" in params else dict(params)


def same(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


@dataclass(frozen=True)
class GuidanceCase:
    """A guidance model, and what may be expected of it."""

    model: Any
    """A name or preset, ``module:Class``, a class or an object."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """That keep it small."""
    random: bool = False
    """Whether the seed matters."""
    least_r2: float = 0.8
    """On held-out pairs of which a linear map explains nearly all."""
    bounded: bool = False
    """Far from all train cases it still predicts what it has seen."""

    def build(self, **more: Any) -> Any:
        """An unfitted one; more: parameters beside its own."""
        choice = guidance_choice(self.model, {**self.params, **more} or None)
        return build_guidance(choice.name, **choice.params)

    def fitted(self, *, seed: int = 3) -> Any:
        """One that saw `pairs`; seed: of the fit."""
        model = self.build()
        return model.fit(*pairs(), seed=seed, **through(model))

    @cached_property
    def once(self) -> Any:
        """As `fitted` is; the same for all tests that change nothing about it."""
        return self.fitted()

    def shorter(self) -> Self:
        """With few epochs, where it has any."""
        return replace(self, params=few_epochs(self.params))


class GuidanceContract:
    """What holds for every guidance model. Subclass it and name yours: `model`, and what else differs."""

    model: ClassVar[Any]
    params: ClassVar[Mapping[str, Any]] = {}
    random: ClassVar[bool] = False
    least_r2: ClassVar[float] = 0.8
    bounded: ClassVar[bool] = False

    @pytest.fixture
    def case(self) -> GuidanceCase:
        return GuidanceCase(self.model, self.params, self.random, self.least_r2, self.bounded)

    def test_round_trip_predicts_bit_for_bit(self, case):
        model = case.once
        config = json.loads(json.dumps(model.config))
        loaded = load_guidance(config, {k: v.copy() for k, v in model.tensors().items()})
        held_out_nd = pairs(17, seed=5)[0]
        predicted_nd = model.predict(held_out_nd)
        assert predicted_nd.dtype == np.float32
        assert predicted_nd.shape == (17, 4)
        assert np.array_equal(loaded.predict(held_out_nd), predicted_nd)
        assert loaded.config == model.config
        assert same(loaded.tensors(), model.tensors())
        assert all(tensor.flags.c_contiguous for tensor in model.tensors().values())

    def test_explains_held_out_pairs(self, case):
        model = case.once
        x_nd, y_nd = pairs(200, seed=5)
        r2 = 1 - ((model.predict(x_nd) - y_nd) ** 2).sum() / ((y_nd - y_nd.mean(axis=0)) ** 2).sum()
        assert r2 > case.least_r2

    def test_the_seed_alone_decides(self, case):
        first, again, other = case.once, case.fitted(), case.fitted(seed=4)
        assert same(first.tensors(), again.tensors())
        x_nd = pairs(17, seed=5)[0]
        assert np.array_equal(first.predict(x_nd), other.predict(x_nd)) is not case.random

    def test_neither_reads_nor_moves_the_global_generator(self, case):
        import torch

        torch.manual_seed(2)
        first = case.once
        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        assert same(case.fitted().tensors(), first.tensors())
        assert torch.equal(torch.rand(1), expected)

    def test_several_at_once_are_each_as_alone(self, case):
        case = case.shorter()
        models = [case.build() for _ in range(3)]
        problems = [GuidanceProblem(m, *pairs(), 3 + i, **through(m)) for i, m in enumerate(models)]
        x_nd = pairs(17, seed=5)[0]
        for problem, fitted in zip(problems, fit_guidance(problems), strict=True):
            assert fitted is problem.model
            alone = case.fitted(seed=problem.seed)
            np.testing.assert_allclose(problem.model.predict(x_nd), alone.predict(x_nd), rtol=1e-4, atol=1e-4)
            assert problem.model.facts.keys() == alone.facts.keys()

    def test_a_row_does_not_depend_on_its_neighbours(self, case):
        model = case.once
        x_nd = pairs(9, seed=5)[0]
        np.testing.assert_allclose(model.predict(x_nd[4:5])[0], model.predict(x_nd)[4], rtol=1e-6)

    def test_refuses_bad_input_in_one_sentence(self, case):
        x_nd, y_nd = pairs()
        model = case.build()
        with pytest.raises(InvalidInputError, match="not fitted"):
            model.predict(x_nd)
        with pytest.raises(InvalidInputError, match="not fitted"):
            model.tensors()
        with pytest.raises(InvalidInputError, match="120 rows of z_I but 119 of z_S"):
            model.fit(x_nd, y_nd[1:], seed=0, **through(model))
        with pytest.raises(InvalidInputError, match=r"not finite float32 in 1 of 120 rows \(first: 7\)"):
            model.fit(np.where(np.arange(120)[:, None] == 7, np.nan, x_nd), y_nd, seed=0, **through(model))
        with pytest.raises(InvalidInputError, match="seed -1"):
            model.fit(x_nd, y_nd, seed=-1, **through(model))
        model.fit(x_nd, y_nd, seed=0, **through(model))
        with pytest.raises(InvalidInputError, match="have 5 dimensions, but 6 were fitted"):
            model.predict(x_nd[:, 1:])
        with pytest.raises(InvalidInputError, match="is missing"):
            load_guidance(model.config, {})
        with pytest.raises(InvalidInputError, match="lacks"):
            load_guidance({"name": model.name}, model.tensors())

    def test_a_constant_column_does_no_harm(self, case):
        x_nd, y_nd = pairs()
        x_nd[:, 0], y_nd[:, 0] = 2.0, 5.0
        model = case.build()
        predicted_nd = model.fit(x_nd, y_nd, seed=0, **through(model)).predict(x_nd)
        assert abs(predicted_nd[:, 0].mean() - 5.0) < 0.3

    def test_refuses_predictions_beyond_float32(self, case):
        model = case.once
        far_nd = np.random.default_rng(0).uniform(-3e38, 3e38, size=(500, 6))
        if case.bounded:
            assert np.isfinite(model.predict(far_nd)).all()
            return
        with pytest.raises(DivergedError, match="not finite"):
            model.predict(far_nd)

    def test_a_parameter_that_is_not_there_is_refused_with_the_nearest(self, case):
        with pytest.raises(InvalidInputError, match="parameter 'hiden' is unknown"):
            case.build(hiden=3)

    def test_a_few_cases_with_more_dimensions_are_enough(self, case):
        x_nd, y_nd = pairs(40)
        wide_nd = np.hstack([x_nd, np.random.default_rng(1).normal(size=(40, 60))])
        for n in (2, 3, 5, 40):
            model = case.shorter().build()
            predicted_nd = model.fit(wide_nd[:n], y_nd[:n], seed=0, **through(model)).predict(wide_nd)
            assert predicted_nd.shape == (40, 4)

    def test_codes_that_are_all_equal_teach_their_mean(self, case):
        model = case.shorter().build()
        x_nd, y_nd = np.full((20, 6), 2.0), np.full((20, 4), 5.0)
        predicted_nd = model.fit(x_nd, y_nd, seed=0, **through(model)).predict(x_nd)
        assert np.isfinite(predicted_nd).all()
        if not case.random:
            np.testing.assert_allclose(predicted_nd, 5.0)
