"""Folds over rows: which part of them a row is left out with."""

from __future__ import annotations

import numpy as np


def fold_numbers(n: int, k: int, *, seed: int) -> np.ndarray:
    """(n,) int64: the fold of each of n rows, 0 <= fold < k, drawn by (seed, k); sizes differ by 1 at most."""
    numbers = np.empty(n, dtype=np.int64)
    numbers[np.random.default_rng([seed, k]).permutation(n)] = np.arange(n) % k
    return numbers
