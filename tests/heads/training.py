"""One job at a time, for tests of single rows."""

from __future__ import annotations

from typing import Any

from embeddings.types import PairedCodes
from heads.input_rows import RowsJob, TrainedHead, train_rows


def train_one(
    paired: PairedCodes, *, mode: Any, seed: int, d_i: Any = None, d_s: Any = None, **options: Any
) -> list[TrainedHead]:
    """The heads of `train_rows` for one training set."""
    (heads,) = train_rows([RowsJob(paired, mode, seed, d_i, d_s)], **options)
    return heads
