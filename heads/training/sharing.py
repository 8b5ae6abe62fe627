"""Which heads of a batch read the same rows, so that these are kept, gathered and multiplied once for all of them."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.training.head import Classes, Head, Watched


class Arrays:
    """Numbers arrays so that equal ones, the same object or the same data, get the same number."""

    def __init__(self) -> None:
        self._by_object: dict[int, int] = {}
        self._by_content: dict[bytes, int] = {}
        self.distinct: list[np.ndarray] = []

    def number(self, array: np.ndarray) -> int:
        """The number of `array`, whose object must outlive this one."""
        if id(array) not in self._by_object:
            data = np.ascontiguousarray(array)
            content = hashlib.sha256(f"{data.dtype}{data.shape}".encode() + data.tobytes()).digest()
            if content not in self._by_content:
                self._by_content[content] = len(self.distinct)
                self.distinct.append(array)
            self._by_object[id(array)] = self._by_content[content]
        return self._by_object[id(array)]


@dataclass(frozen=True, slots=True)
class Block:
    """A run of groups of equally many heads: one batched product serves them."""

    groups: slice
    heads: slice
    per_group: int


def blocks_of(group_h: np.ndarray) -> list[Block]:
    """Blocks of heads whose groups are 0, 0, …, 1, 1, …"""
    blocks, group, head = [], 0, 0
    for size, run in itertools.groupby(np.bincount(group_h).tolist()):
        count = len(list(run))
        blocks.append(Block(slice(group, group + count), slice(head, head + count * size), size))
        group, head = group + count, head + count * size
    return blocks


Reading = tuple[int, Hashable]
"""Which codes a head reads, and in which order and how. Heads with equal pairs see the same rows in every step."""


def find_readings(heads: Sequence[Head]) -> tuple[list[tuple[np.ndarray, np.ndarray | None]], list[Reading]]:
    """The distinct pairs of train and val codes (None without val), and what each head reads: a place among them."""
    arrays = Arrays()
    codes: dict[tuple[int, int], int] = {}
    readings: list[Reading] = []
    for head in heads:
        task = head.task
        pair = (arrays.number(head.x_nd), arrays.number(task.x_val_nd) if isinstance(task, Watched) else -1)
        place = codes.setdefault(pair, len(codes))
        sampled = arrays.number(task.labels) if isinstance(task, Classes) and task.weighted_sampler else -1
        # Dropout on the codes themselves, where there is no hidden layer.
        readings.append((place, (head.seed, sampled, 0.0 if head.hidden else head.dropout)))
    distinct = arrays.distinct
    return [(distinct[x], None if x_val < 0 else distinct[x_val]) for x, x_val in codes], readings


def together(readings: Sequence[Reading]) -> list[int]:
    """The heads in an order in which sharers stand together, and groups of one size side by side."""
    of_codes, of_readings = Counter(codes for codes, _ in readings), Counter(readings)
    first = {reading: i for i, reading in reversed(list(enumerate(readings)))}
    keys = [(of_codes[r[0]], r[0], of_readings[r], first[r], i) for i, r in enumerate(readings)]
    return [key[-1] for key in sorted(keys)]


def group_numbers(keys: Sequence[Hashable]) -> np.ndarray:
    """(len(keys),) int64: 0 for the first key, one more wherever the key is new. Equal keys must stand together."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
