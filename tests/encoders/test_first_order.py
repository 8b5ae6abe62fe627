from __future__ import annotations

import numpy as np

from guidestore.encoders.registry import build_encoder
from tests.encoders.making import volumes


def test_statistics_equal_their_definition():
    volume_cdhw = volumes(1)[0]
    code_d = build_encoder("first_order").encode(volume_cdhw[None])[0]
    values = volume_cdhw[0][volume_cdhw[0] != 0]
    assert np.allclose(code_d[:7], np.quantile(values, (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)), atol=1e-5)
    assert np.allclose(code_d[7:9], [values.mean(), values.std()], atol=1e-5)


def test_channels_that_are_copies_correlate_fully():
    volumes_bcdhw = volumes(1)
    volumes_bcdhw[0, 1] = volumes_bcdhw[0, 0]
    volumes_bcdhw[0, 3] = -volumes_bcdhw[0, 2]
    correlations = build_encoder("first_order").encode(volumes_bcdhw)[0, -6:]
    assert np.allclose(correlations[[0, 5]], [1, -1], atol=1e-5)
    assert np.abs(correlations[1:5]).max() < 0.1


def test_empty_and_constant_volumes_are_finite():
    volumes_bcdhw = np.zeros((2, 1, 4, 4, 4), np.float32)
    volumes_bcdhw[1] = 3
    encoder = build_encoder("first_order", channels=1)
    assert encoder.spec.code_dim == 15
    assert np.isfinite(encoder.encode(volumes_bcdhw)).all()
