"""Cohorts in which S sees what the label is drawn from, so that guidance can help: how much, the regime says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.label_budget import hide_labels

VAL = 60


@dataclass(frozen=True, slots=True)
class Regime:
    """Where guidance may or may not help."""

    train: int = 150
    labelled: int | None = None
    """Train cases whose label is known; None: all. Every case is a pair."""
    label_noise: float = 1.0
    """Of the label given h: 0 where S decides it."""
    flipped: float = 0.0
    """Share of the train and val labels that are wrong."""
    direct: float = 0.0
    """Effect on the label of something that z_I sees and z_S does not."""
    superior_noise: float = 0.1
    """Standard deviation of the noise of z_S, whose signal has some 2 a column."""


def cohort(regime: Regime, number: int, *, n_test: int) -> PairedCodes:
    """h ~ N(0, I_4); y = [h . 1/2 + direct u + label_noise N(0, 1) > 0]. z_I (60-d) sees h, and u, under 20 stronger
    directions, z_S (12-d) sees h well. How well z_I sees h differs from cohort to cohort, so that true gains do.
    """
    rng, more = (np.random.default_rng([*key, number, regime.train]) for key in ((), (1,)))
    signal = rng.uniform(0.3, 2.0)
    n = regime.train + VAL + n_test
    h, u = rng.standard_normal((n, 4)), more.standard_normal(n)
    y = h.sum(axis=1) / 2 + regime.label_noise * rng.standard_normal(n) + regime.direct * u > 0
    z_i = signal * h @ rng.standard_normal((4, 60)) / 2
    z_i += rng.standard_normal((n, 20)) @ rng.standard_normal((20, 60)) + 0.5 * rng.standard_normal((n, 60))
    z_i += 2 * bool(regime.direct) * u[:, None] * more.standard_normal(60)
    z_s = h @ rng.standard_normal((4, 12)) + regime.superior_noise * rng.standard_normal((n, 12))
    parts, everyone = np.repeat(["train", "val", "test"], [regime.train, VAL, n_test]), np.ones(n, dtype=bool)
    wrong = (more.random(n) < regime.flipped) & (parts != "test")
    paired = PairedCodes(
        *("simulated", "drawn", 0, "y", ("no", "yes"), tuple(f"C{case:05d}" for case in range(n))),
        *(z_i.astype(np.float32), z_s.astype(np.float32), everyone, everyone, (y ^ wrong).astype(np.int64), parts),
    )
    return hide_labels(paired, regime.labelled, seed=number)
