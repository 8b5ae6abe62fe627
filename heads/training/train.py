"""Trains any list of heads: those of one shape in batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.training.batch import train_batch
from guidestore.heads.training.head import Diverged, Head, Trained
from guidestore.heads.training.memory import heads_at_once, in_batches
from guidestore.heads.training.row_space import RowSpaces
from guidestore.heads.training.sharing import find_readings, together


def train(
    heads: Sequence[Head],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    memory_bytes: int | None = None,
) -> list[Trained | Diverged]:
    """What each head learnt, in order. A head's result is that of training it alone, but for rounding.

    device: "cpu" or "cuda". dtype: float64 shows that batches change nothing; results are float32 either way.
    memory_bytes: what a batch may take there; None: as heads.training.memory plans. Raises InvalidInputError where
    there is no such device, or one head alone does not fit.
    """
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise InvalidInputError(
            f"device {device!r} is not there; train on 'cpu'{' or cuda' * torch.cuda.is_available()}"
        )
    spaces = RowSpaces()
    entered = [spaces.enter(head) for head in heads]
    by_shape: dict[object, list[int]] = {}
    for i, head in enumerate(entered):
        by_shape.setdefault(head.shape, []).append(i)
    results: dict[int, Trained | Diverged] = {}
    for places in by_shape.values():
        group = [entered[i] for i in places]
        order = together(find_readings(group)[1])
        at_once = heads_at_once(group[0], device=device, dtype=dtype, memory_bytes=memory_bytes)
        trained = in_batches(
            [group[i] for i in order], at_once, lambda part: train_batch(part, device=device, dtype=dtype)
        )
        results |= zip((places[i] for i in order), trained, strict=True)
    return [spaces.leave(head, entered[i], results[i]) for i, head in enumerate(heads)]
