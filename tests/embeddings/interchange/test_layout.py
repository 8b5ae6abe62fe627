"""The layouts of other tools that are known, by their names."""

from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag, BagStream


def test_a_stream_is_checked_block_by_block() -> None:
    rows = np.arange(12, dtype=np.float16).reshape(6, 2)
    stream = BagStream((6, 2), rows.dtype, [rows[:4], rows[4:]], None)
    assert np.array_equal(np.concatenate(list(stream.checked())), rows)
    assert BagStream.of(Bag(rows, None)).shape == (6, 2)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([np.zeros((4, 2), np.float16)], "end after 4 of 6 rows"),
        ([np.zeros((4, 2), np.float16), np.zeros((2, 2), np.float32)], "float32"),
        ([np.zeros((4, 2), np.float16), np.zeros((2, 3), np.float16)], "3"),
        ([np.zeros((4, 2), np.float16), np.full((2, 2), np.inf, np.float16)], "not finite"),
    ],
)
def test_a_stream_that_is_not_what_it_says_is_refused(blocks: list[np.ndarray], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        list(BagStream((6, 2), np.dtype(np.float16), blocks, None).checked())
