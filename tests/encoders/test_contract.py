"""The contract of guidestore.testing over every encoder of the registry."""

from __future__ import annotations

from typing import Any

import pytest

from guidestore.encoders.protocol import Encoder
from guidestore.testing import EncoderContract
from tests.encoders.making import OURS, batch_for, encoder_of


class TestEncoders(EncoderContract):
    name = ""

    @pytest.fixture(autouse=True, params=OURS)
    def _named(self, request):
        self.name = request.param

    def build(self) -> Encoder:
        return encoder_of(self.name)

    def batch(self, encoder: Encoder, count: int, seed: int = 0) -> Any:
        return batch_for(encoder, count, seed)

    def test_it_has_the_name_that_it_is_asked_for_by(self):
        assert self.build().spec.name == self.name
