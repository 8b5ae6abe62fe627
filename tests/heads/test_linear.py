from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.registry import build_decoder, load_decoder


def test_is_the_softmax_of_its_weights():
    linear = Linear(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.0, np.log(3.0)]))
    probabilities = linear.predict_proba(np.array([[0.0, 0.0], [np.log(3.0), 0.0]]))
    np.testing.assert_allclose(probabilities, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)


def test_equals_torch_and_survives_its_round_trip():
    import torch

    layer = torch.nn.Linear(7, 3)
    x_nd = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    expected = layer(torch.from_numpy(x_nd)).softmax(dim=1).detach().numpy()
    linear = Linear(layer.weight.detach().numpy(), layer.bias.detach().numpy())
    np.testing.assert_allclose(linear.predict_proba(x_nd), expected, atol=1e-6)
    loaded = load_decoder(linear.config, linear.tensors())
    assert np.array_equal(loaded.predict_proba(x_nd), linear.predict_proba(x_nd))


def test_refuses_a_fit_and_misshapen_weights():
    with pytest.raises(InvalidInputError, match="no fit; load it"):
        build_decoder("linear")
    with pytest.raises(InvalidInputError, match="one row per class"):
        Linear(np.ones((1, 4)), np.ones(1))
    with pytest.raises(InvalidInputError, match="'bias' is float64 of shape"):
        Linear(np.ones((2, 4)), np.ones(3))
    with pytest.raises(InvalidInputError, match="have 3 dimensions, but 4"):
        Linear(np.ones((2, 4)), np.ones(2)).predict_proba(np.ones((1, 3)))
