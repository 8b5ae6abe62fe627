"""The contract of decoders (heads.protocol), on made-up codes and outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self, cast

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.protocol import Decoder, DecoderProblem
from guidestore.heads.registry import build_decoder, decoder_choice, load_decoder
from guidestore.testing.guidance import few_epochs, same


def labelled(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5) codes on an offset and labels of three classes that lie apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(98).normal(scale=2.0, size=(3, 5))
    return (centres[labels] + rng.normal(size=(n, 5))).astype(np.float32), labels


@dataclass(frozen=True)
class DecoderCase:
    """A decoder, and what may be expected of it."""

    model: Any
    """A name or preset, ``module:Class``, a class or an object."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """That keep it small; `target` and `calibration` of `build_decoder` among them."""
    random: bool = False
    """Whether the seed matters."""
    least_accuracy: float = 0.85
    """On held-out cases of three classes that lie apart."""
    of_two_classes: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that it needs for two classes."""

    def build(self, **more: Any) -> Any:
        """An unfitted one; more: parameters beside its own."""
        given = {**self.params, **more}
        built = {name: given.pop(name) for name in ("target", "calibration") if name in given}
        choice = decoder_choice(self.model, given or None)
        return build_decoder(choice.name, **built, **choice.params)

    def fitted(self, *, seed: int = 3, val_seed: int = 1, **more: Any) -> Any:
        """One that saw `labelled`. seed: of the fit; val_seed: of the val rows; more: as of `build`."""
        return self.build(**more).fit(*labelled(), *labelled(30, val_seed), n_classes=3, seed=seed)

    @cached_property
    def once(self) -> Any:
        """As `fitted` is; the same for all tests that change nothing about it."""
        return self.fitted()

    def shorter(self) -> Self:
        """With few epochs, where it has any."""
        return replace(self, params=few_epochs(self.params))


class DecoderContract:
    """What holds for every decoder of classes. Subclass it and name yours: `model`, and what else differs."""

    model: ClassVar[Any]
    params: ClassVar[Mapping[str, Any]] = {}
    random: ClassVar[bool] = False
    least_accuracy: ClassVar[float] = 0.85

    @pytest.fixture
    def case(self) -> DecoderCase:
        return DecoderCase(self.model, self.params, self.random, self.least_accuracy)

    def test_round_trip_predicts_bit_for_bit(self, case):
        decoder = case.once
        loaded = load_decoder(
            json.loads(json.dumps(decoder.config)), {k: v.copy() for k, v in decoder.tensors().items()}
        )
        x_nd, _ = labelled(19, seed=5)
        probabilities = decoder.predict_proba(x_nd)
        assert probabilities.dtype == np.float64
        assert probabilities.shape == (19, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12)
        assert np.array_equal(loaded.predict_proba(x_nd), probabilities)
        assert loaded.config == decoder.config
        assert same(loaded.tensors(), decoder.tensors())

    def test_learns_an_easy_problem(self, case):
        x_nd, labels = labelled(300, seed=5)
        accuracy = (case.once.predict_proba(x_nd).argmax(axis=1) == labels).mean()
        assert accuracy > case.least_accuracy

    def test_two_classes(self, case):
        x_nd, labels = labelled(90)
        x_val_nd, labels_val = labelled(30, seed=1)
        decoder = case.build(**case.of_two_classes)
        decoder.fit(x_nd, labels // 2, x_val_nd, labels_val // 2, n_classes=2, seed=0)
        x_nd, labels = labelled(300, seed=5)
        probabilities = decoder.predict_proba(x_nd)
        assert probabilities.shape == (300, 2)
        assert (probabilities.argmax(axis=1) == labels // 2).mean() > 0.8

    def test_the_seed_alone_decides(self, case):
        first, again, other = case.once, case.fitted(), case.fitted(seed=4)
        assert same(first.tensors(), again.tensors())
        x_nd, _ = labelled(19, seed=5)
        assert np.array_equal(first.predict_proba(x_nd), other.predict_proba(x_nd)) is not case.random

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
        case, train, val = case.shorter(), labelled(), labelled(30, seed=1)
        problems = [DecoderProblem(case.build(), *train, *val, 3, seed) for seed in (3, 4, 5)]
        x_nd, _ = labelled(19, seed=5)
        for problem, fitted in zip(problems, fit_decoders(problems), strict=True):
            assert fitted is problem.decoder
            alone = case.fitted(seed=problem.seed)
            together = cast(Decoder, problem.decoder).predict_proba(x_nd)
            np.testing.assert_allclose(together, alone.predict_proba(x_nd), atol=1e-4)
            assert problem.decoder.facts.keys() == alone.facts.keys()

    def test_refuses_bad_input_in_one_sentence(self, case):
        x_nd, labels = labelled()
        val = labelled(30, seed=1)
        decoder = case.build()
        with pytest.raises(InvalidInputError, match="not fitted"):
            decoder.predict_proba(x_nd)
        with pytest.raises(InvalidInputError, match="run from -1 to 1"):
            decoder.fit(x_nd, labels - 1, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="no train row has class 2"):
            decoder.fit(x_nd, labels % 2, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="val codes have 0 rows"):
            decoder.fit(x_nd, labels, x_nd[:0], labels[:0], n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="val codes have 4 dimensions, but 5"):
            decoder.fit(x_nd, labels, val[0][:, 1:], val[1], n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="at least 2 classes"):
            decoder.fit(x_nd, labels * 0, val[0], val[1] * 0, n_classes=1, seed=0)
        decoder.fit(x_nd, labels, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="not finite float32 in 90 of 90 rows"):
            decoder.predict_proba(x_nd * np.nan)
        with pytest.raises(InvalidInputError, match="is missing"):
            load_decoder(decoder.config, {})
