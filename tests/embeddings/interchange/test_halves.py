"""float16 as float32, against numpy."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.interchange.halves import as_float32


def test_every_float16_is_as_numpy_has_it() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    for values in (every, every.T, every[::3], every[:0]):
        np.testing.assert_array_equal(as_float32(values), values.astype(np.float32))
        assert as_float32(values).dtype == np.float32
    assert as_float32(np.float32([[1]])).dtype == np.float32
