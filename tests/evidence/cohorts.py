"""Cohorts of known truth, as paired codes: two classes, a latent h behind z_I, and a z_S of each kind."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from guidestore.embeddings.types import PairedCodes

INFERIOR_DIM, SUPERIOR_DIM, LATENT_DIM = 24, 12, 4


def _noise(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    return rng.standard_normal((len(y), SUPERIOR_DIM))


def _permuted(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    return rng.permutation(_superior(rng, h, z_i, y))


def _linear(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    mixed = z_i @ rng.standard_normal((INFERIOR_DIM, SUPERIOR_DIM)) / np.sqrt(INFERIOR_DIM)
    return mixed + 0.3 * rng.standard_normal(mixed.shape)


def _relu(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    mixed = z_i @ rng.standard_normal((INFERIOR_DIM, SUPERIOR_DIM)) / np.sqrt(INFERIOR_DIM)
    return np.maximum(mixed + rng.standard_normal(SUPERIOR_DIM), 0) + 0.3 * rng.standard_normal(mixed.shape)


def _class(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (2 * y - 1)[:, None] * np.full(SUPERIOR_DIM, 0.5) + rng.standard_normal((len(y), SUPERIOR_DIM))


def _twice(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    return z_i.copy()


def _superior(rng: np.random.Generator, h: np.ndarray, z_i: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What no null has: it sees the latent that z_I sees badly, without the label's own noise."""
    return h @ rng.standard_normal((LATENT_DIM, SUPERIOR_DIM)) + 0.1 * rng.standard_normal((len(y), SUPERIOR_DIM))


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "independent noise": _noise,
    "permuted z_S": _permuted,
    "linear function of z_I": _linear,
    "ReLU function of z_I": _relu,
    "class alone": _class,
    "one code set twice": _twice,
    "a superior modality": _superior,
}
"""All but the last are nulls: no guidance can help there."""
NULLS = tuple(KINDS)[:-1]


def cohort(kind: str, n_train: int, number: int, *, n_test: int = 300, label_noise: float = 1.0) -> PairedCodes:
    """Cohort `number` of a kind: n_train train cases, a fifth as many val, and n_test test cases, all labelled pairs.

    h ~ N(0, I_4); y = [h . 1/2 + label_noise N(0, 1) > 0]; z_I = .6 h A + N(0, I_6) B + .5 N(0, I).
    """
    rng = np.random.default_rng([number, n_train, n_test, zlib.crc32(kind.encode())])
    n_val = max(12, n_train // 5)
    n = n_train + n_val + n_test
    h = rng.standard_normal((n, LATENT_DIM))
    y = (h.sum(axis=1) / 2 + label_noise * rng.standard_normal(n) > 0).astype(np.int64)
    z_i = 0.6 * h @ rng.standard_normal((LATENT_DIM, INFERIOR_DIM))
    z_i += rng.standard_normal((n, 6)) @ rng.standard_normal((6, INFERIOR_DIM))
    z_i += 0.5 * rng.standard_normal((n, INFERIOR_DIM))
    z_s = KINDS[kind](rng, h, z_i, y)
    parts = np.repeat(["train", "val", "test"], [n_train, n_val, n_test])
    everyone = np.ones(n, dtype=bool)
    return PairedCodes(
        *("simulated", "drawn", 0, "y", ("no", "yes"), tuple(f"C{case:05d}" for case in range(n))),
        *(z_i.astype(np.float32), z_s.astype(np.float32), everyone, everyone, y, parts),
    )
