"""What an index of codes does. A row is the number of a code in its code set, in the order of `Snapshot.codes`."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Index(Protocol):
    """Finds codes of one set under one metric. Codes that are not finite are not in it, though they keep their row.

    Queries are float32, finite and `prepared` for the metric, as the codes were.
    """

    @property
    def size(self) -> int:
        """Codes that it holds."""
        ...

    @property
    def width(self) -> int:
        """d of the codes."""
        ...

    def search(self, queries_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (m, k) float32, nearest first, and rows (m, k) int64; 1 <= k <= size.

        A value is the cosine similarity, or the Euclidean distance.
        """
        ...

    def code(self, row: int) -> np.ndarray | None:
        """The prepared code (d,) of a row, None if it is not in the index."""
        ...
