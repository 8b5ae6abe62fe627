"""The contract of encoders (encoders.protocol), on made-up images."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag
from guidestore.encoders.protocol import Encoder


def tiles(count: int, seed: int = 0, size_px: int = 64) -> np.ndarray:
    """tiles_bhwc with blobs of different size, so that texture statistics differ; photographs too."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, size_px // 8, size_px // 8, 3))
    fine = rng.integers(-40, 40, (count, size_px, size_px, 3))
    return np.clip(coarse.repeat(8, axis=1).repeat(8, axis=2) + fine, 0, 255).astype(np.uint8)


def volumes(count: int, seed: int = 0, channels: int = 4, shape: tuple[int, int, int] = (16, 20, 18)) -> np.ndarray:
    """volumes_bcdhw with a background of 0."""
    volumes_bcdhw = np.random.default_rng(seed).normal(size=(count, channels, *shape)).astype(np.float32)
    volumes_bcdhw[..., :4] = 0
    return volumes_bcdhw


def bags(count: int, seed: int = 0, code_dim: int = 6) -> list[Bag]:
    """`count` bags of 1 to 9 tiles, float16."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, count)
    return [Bag(rng.normal(2, 3, (n, code_dim)).astype(np.float16), np.zeros((n, 2), np.int32)) for n in sizes]


class EncoderContract:
    """What holds for every encoder. Subclass it and give `encoder_class`, or `build` where it needs arguments; `batch`
    too where it takes images of another size."""

    encoder_class: ClassVar[Any]

    def build(self) -> Encoder:
        """The same encoder each time."""
        return self.encoder_class()

    def batch(self, encoder: Encoder, count: int, seed: int = 0) -> Any:
        """`count` items of the input kind of `encoder`, drawn from the seed."""
        made = {"tiles": tiles, "volumes": volumes, "photographs": tiles, "bags": bags}
        return made[encoder.spec.input_kind](count, seed)

    def test_codes_have_the_promised_shape_and_are_finite(self):
        encoder = self.build()
        assert isinstance(encoder, Encoder)
        for count in (0, 1, 5):
            codes_bd = encoder.encode(self.batch(encoder, count))
            assert codes_bd.shape == (count, encoder.spec.code_dim)
            assert codes_bd.dtype == np.float32
            assert np.isfinite(codes_bd.astype(np.float16)).all()

    def test_the_same_batch_gives_the_same_bits_and_stays_untouched(self):
        encoder = self.build()
        batch = self.batch(encoder, 4)
        before = copy.deepcopy(batch)
        first = encoder.encode(batch)
        encoder.encode(self.batch(encoder, 3, seed=9))  # Nothing is kept between calls.
        assert np.array_equal(first, encoder.encode(batch))
        again = self.build()
        assert again.spec == encoder.spec
        assert np.array_equal(first, again.encode(batch))
        for item, as_it_was in zip(batch, before, strict=True):
            assert np.array_equal(getattr(item, "features_nd", item), getattr(as_it_was, "features_nd", as_it_was))

    def test_a_code_does_not_depend_on_its_batch_mates(self):
        encoder = self.build()
        batch = self.batch(encoder, 11)
        together = encoder.encode(batch)
        alone = np.concatenate([encoder.encode(batch[row : row + 1]) for row in range(11)])
        assert np.abs(together - alone).max() <= 1e-5 * max(1.0, float(np.abs(alone).max()))
        assert np.ptp(together, axis=0).max() > 1e-3  # And it does depend on the image.

    def test_a_batch_of_another_kind_is_refused(self):
        encoder = self.build()
        wrong = {"tiles": np.zeros((2, 8, 8, 3), np.float32), "volumes": np.zeros((2, 3, 8, 8, 8), np.float32)}
        batch = wrong.get(encoder.spec.input_kind, [np.zeros((3, 6), np.float32)])
        with pytest.raises(InvalidInputError):
            encoder.encode(batch)
