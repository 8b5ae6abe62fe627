"""Split-conformal intervals of values: wide enough to have held the share of the val cases that is asked for.

Where val and new cases are exchangeable, an interval said ± q holds a new value in `level` of all cases at least,
whatever the head and the distribution; q is the ceil((n + 1) level)-th smallest |y - said| of n val cases.
(Papadopoulos et al., ECML 2002; Lei et al., JASA 113, 2018.) Val stopped the head early too, so where it is small
intervals come out somewhat narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL = 0.9
"""The share of new values that an interval is to hold."""
HALF_WIDTH = "interval_half_width"
"""The fact of a run that keeps it."""


@dataclass(frozen=True, slots=True)
class Conformal:
    """Of one head."""

    half_width: float
    """In the value's unit."""
    level: float = LEVEL


def half_width(y_n: np.ndarray, said_n: np.ndarray, level: float = LEVEL) -> float:
    """q of (n,) val values; infinite where n is too small for the level (9 cases hold 90 %)."""
    place = math.ceil((len(y_n) + 1) * level - 1e-9)
    if place > len(y_n):
        return math.inf
    return float(np.sort(np.abs(y_n - said_n))[place - 1])


def conformal_of(facts: Mapping[str, float]) -> Conformal | None:
    """Of a run or a head; None where it has none."""
    found = facts.get(HALF_WIDTH, math.inf)
    return Conformal(found) if math.isfinite(found) else None
