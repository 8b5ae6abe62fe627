"""How products are rounded: told in the recipe, done on every device."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.arithmetic import _SWITCHES, Arithmetic
from guidestore.encoders.clam import ClamSBEncoder
from guidestore.encoders.weights import tensors_of
from tests.encoders.making import bags, module_of

CPU = torch.device("cpu")


def test_plain_float32_needs_no_word_and_the_others_come_back():
    assert Arithmetic().as_dict() == {}
    for arithmetic in (Arithmetic("bfloat16"), Arithmetic("tf32", deterministic=True)):
        assert Arithmetic.of({"size_px": 3} | arithmetic.as_dict()) == arithmetic


def test_bfloat16_is_torchs_own_rounding_of_products():
    a, b = (torch.randn(30, 30, generator=torch.Generator().manual_seed(i)) for i in range(2))
    with Arithmetic("bfloat16").on(CPU):
        rounded = a @ b
    assert torch.equal(rounded, a.bfloat16() @ b.bfloat16())
    with Arithmetic("tf32").on(CPU):
        assert torch.equal(a @ b, torch.matmul(a, b))


def test_an_encoder_computes_as_its_preprocessing_says():
    """Products of 8 bits move codes by up to a hundredth, and make a spec of its own."""
    module = module_of("clam_sb")
    given = {"config": module.config, "tensors": tensors_of(module)}
    exact, rounded = (
        ClamSBEncoder(**given, preprocessing={"patch_encoder": "x"} | Arithmetic(precision).as_dict())
        for precision in ("float32", "bfloat16")
    )
    assert exact.spec.digest != rounded.spec.digest
    assert "precision" not in exact.spec.preprocessing
    batch = bags(3)
    one, other = exact.encode(batch), rounded.encode(batch)
    assert other.dtype == np.float32
    away = np.abs(one - other).max() / np.abs(one).max()
    assert 1e-4 < away < 2e-2


def test_the_switches_of_a_gpu_are_set_within_and_as_before_after_it():
    """They can be set without a GPU."""
    before = _SWITCHES._set((True, False, False))
    try:
        with _SWITCHES.at(False, True), _SWITCHES.at(False, True):
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        _SWITCHES._set(before)


def test_who_wants_other_switches_waits_for_those_inside():
    entered = threading.Event()

    def other() -> None:
        with _SWITCHES.at(True, False):
            entered.set()

    with _SWITCHES.at(False, False):
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(5)
    thread.join()


def test_what_cannot_be_repeated_is_one_sentence():
    said = r"^avg_pool3d_backward_cuda of this network .* leave --deterministic out"
    with pytest.raises(InvalidInputError, match=said), Arithmetic(deterministic=True).on(CPU):
        raise RuntimeError("avg_pool3d_backward_cuda does not have a deterministic implementation, but you set …")
