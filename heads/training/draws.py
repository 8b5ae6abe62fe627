"""Keyed randomness: what a head draws depends on (seed, purpose, epoch, layer) and on nothing that was drawn before.

So a head trained in a batch draws what it draws alone, and heads of one seed draw alike. Philox is a counter-based
generator: the key and the counter are given, no state is carried. All draws are made by numpy on the CPU, so that a
GPU trains on the same ones.
"""

from __future__ import annotations

import numpy as np

_WEIGHTS, _ROWS, _DROPOUT = 1, 2, 3


def _bits(seed: int, purpose: int, epoch: int, layer: int) -> np.random.Philox:
    # The lowest word of the counter counts the blocks that are drawn.
    return np.random.Philox(key=[seed, purpose], counter=[0, layer, epoch, 0])


def initial_layer(seed: int, layer: int, d_in: int, d_out: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 weight (d_out, d_in) and bias (d_out,), uniform in +- 1 / sqrt(d_in): torch.nn.Linear's own start."""
    rng = np.random.Generator(_bits(seed, _WEIGHTS, 0, layer))
    values = (2.0 * rng.random((d_in + 1, d_out), dtype=np.float32) - 1.0) * np.float32(d_in**-0.5)
    return np.ascontiguousarray(values[1:].T), values[0]


def row_uniforms(seed: int, epoch: int, n: int) -> np.ndarray:
    """(n,) float64 in [0, 1): their order is the epoch's permutation, their places in a distribution its sample."""
    return np.random.Generator(_bits(seed, _ROWS, epoch, 0)).random(n)


def dropout_uniforms(seed: int, epoch: int, layer: int, n: int, width: int) -> np.ndarray:
    """(n, width) float32 multiples of 2**-16 in [0, 1), for the epoch's i-th drawn row; 16 bits are 4 to a word."""
    words = _bits(seed, _DROPOUT, epoch, layer).random_raw(-(-n * width // 4))
    return words.view(np.uint16)[: n * width].reshape(n, width) * np.float32(2**-16)
