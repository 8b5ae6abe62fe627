"""tests.outcome_store.mediated as paired codes: no store."""

from __future__ import annotations

from typing import Any

import numpy as np

from guidestore.embeddings.types import PairedCodes
from tests.outcome_store import TARGETS, mediated


def mediated_pairs(
    target: str, n: int = 300, *, train: int = 120, val: int = 60, labelled: int | None = None, seed: int = 0, **of: Any
) -> PairedCodes:
    """The first cases are train, then val, then test. labelled: of train, how many have an outcome; the rest are pairs
    without."""
    made, about = mediated(n, seed, **of), TARGETS[target]
    y = made[target].copy()
    hidden = slice(train if labelled is None else labelled, train)
    classes = about["kind"] == "ordinal"
    y[hidden] = -1 if classes else np.nan
    every = np.ones(n, dtype=bool)
    return PairedCodes(
        *("made", "drawn", 0, target, about.get("names", ())),
        tuple(f"case-{case:04d}" for case in range(n)),
        *(made["z_i"], made["z_s"], every, every, y if classes else np.full(n, -1)),
        parts=np.repeat(["train", "val", "test"], [train, val, n - train - val]),
        kind=about["kind"],
        outcomes=None if classes else y,
        unit=about.get("unit", ""),
    )
