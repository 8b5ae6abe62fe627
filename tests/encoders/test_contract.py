"""One test of the contract in encoders/protocol.py over every encoder of the registry."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.protocol import Encoder
from tests.encoders.making import OURS, batch_for, encoder_of

pytestmark = pytest.mark.parametrize("name", OURS)


def test_codes_have_the_promised_shape_and_are_finite(name):
    encoder = encoder_of(name)
    assert isinstance(encoder, Encoder)
    assert encoder.spec.name == name
    for count in (0, 1, 5):
        codes_bd = encoder.encode(batch_for(encoder, count))
        assert codes_bd.shape == (count, encoder.spec.code_dim)
        assert codes_bd.dtype == np.float32
        assert np.isfinite(codes_bd.astype(np.float16)).all()


def test_the_same_batch_gives_the_same_bits_and_stays_untouched(name):
    encoder = encoder_of(name)
    batch = batch_for(encoder, 4)
    before = copy.deepcopy(batch)
    first = encoder.encode(batch)
    encoder.encode(batch_for(encoder, 3, seed=9))  # Nothing is kept between calls.
    assert np.array_equal(first, encoder.encode(batch))
    assert np.array_equal(first, encoder_of(name).encode(batch))
    for item, as_it_was in zip(batch, before, strict=True):
        assert np.array_equal(getattr(item, "features_nd", item), getattr(as_it_was, "features_nd", as_it_was))


def test_a_code_does_not_depend_on_its_batch_mates(name):
    encoder = encoder_of(name)
    batch = batch_for(encoder, 11)
    together = encoder.encode(batch)
    alone = np.concatenate([encoder.encode(batch[row : row + 1]) for row in range(11)])
    assert np.abs(together - alone).max() <= 1e-5 * max(1.0, float(np.abs(alone).max()))
    assert np.ptp(together, axis=0).max() > 1e-3  # And it does depend on the image.


def test_a_batch_of_another_kind_is_refused(name):
    encoder = encoder_of(name)
    wrong = {"tiles": np.zeros((2, 8, 8, 3), np.float32), "volumes": np.zeros((2, 3, 8, 8, 8), np.float32)}
    batch = wrong.get(encoder.spec.input_kind, [np.zeros((3, 6), np.float32)])
    with pytest.raises(InvalidInputError, match=f"encoder {name} takes"):
        encoder.encode(batch)
