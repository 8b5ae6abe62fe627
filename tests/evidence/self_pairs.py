"""Is `guidance helps` ever said where z_S is made of z_I, or of the label? Real codes, all rows of closed-form heads.

    python -m tests.evidence.self_pairs [--numbers 0 1] [--kinds rotated squares]

Digits of UCI Multiple Features through `fou` (even or odd, with and without 30 % of the labels wrong) and breast cancer
of scikit-learn with 25 % wrong; 150 train and up to 400 test cases, drawn by the number. Judged with one seed and with
three. Every `guidance helps` is printed, and how often each verdict was given.
"""

from __future__ import annotations

import argparse
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.flows.guiding.recipes import (
    HeadRecipe,
    MarginsRecipe,
    PlugRecipe,
    RowsRecipe,
    TransferRecipe,
    references,
)
from guidestore.flows.results.effects import row_effects
from guidestore.flows.work.threads import one_thread
from guidestore.heads.choice import Choice
from guidestore.heads.significance.guidance_effect import HELPS
from tests.evidence.__main__ import SEEDS
from tests.evidence.verdicts import PERMUTATIONS, trained
from tests.heads.test_mfeat import view

N_TRAIN, N_VAL, N_TEST = 150, 30, 400
COHORTS = {"digits": 0.0, "digits, 30 % wrong": 0.3, "cancer, 25 % wrong": 0.25}
"""Share of labels that are wrong, in all parts."""

type Made = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def _directions(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores on the first half of the principal directions, and their deviations."""
    u, values, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    k = max(2, z.shape[1] // 2)
    return u[:, :k] * values[:k], values[:k] / len(z) ** 0.5


def _rotated(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    return z @ np.linalg.qr(rng.standard_normal((z.shape[1], z.shape[1])))[0]


def _noisy_directions(rng: np.random.Generator, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    scores, deviations = _directions(z)
    return _rotated(rng, scores + 0.3 * deviations * rng.standard_normal(scores.shape))


def _relu(rng: np.random.Generator, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(z @ rng.standard_normal((z.shape[1], 300)) / z.shape[1] ** 0.5 + rng.standard_normal(300), 0)


def _cosines(rng: np.random.Generator, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.cos(1.5 * z @ rng.standard_normal((z.shape[1], 200)) / z.shape[1] ** 0.5 + 2 * np.pi * rng.random(200))


def _distances(rng: np.random.Generator, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    centres = z[rng.choice(len(z), 20, replace=False)]
    return -np.linalg.norm(z[:, None] - centres, axis=2)


SUPERIORS: dict[str, Made] = {
    "z_I": lambda rng, z, y: z.copy(),
    "z_I in noise": lambda rng, z, y: z + 0.5 * rng.standard_normal(z.shape),
    "rotated": lambda rng, z, y: _rotated(rng, z),
    "principal directions in noise": _noisy_directions,
    "principal directions, whitened": lambda rng, z, y: _directions(z)[0] / _directions(z)[1],
    "a third of the columns": lambda rng, z, y: z[:, : max(2, z.shape[1] // 3)],
    "absolute values": lambda rng, z, y: np.abs(z),
    "absolute values and z_I": lambda rng, z, y: np.hstack([np.abs(z), z]),
    "squares": lambda rng, z, y: z**2,
    "ranks": lambda rng, z, y: z.argsort(axis=0).argsort(axis=0) / len(z),
    "ReLU features": _relu,
    "cosines": _cosines,
    "distances to cases": _distances,
    "one-hot label": lambda rng, z, y: np.eye(2)[y],
    "one-hot label in noise": lambda rng, z, y: np.eye(2)[y] + 0.5 * rng.standard_normal((len(y), 2)),
}


def pair_of(name: str, kind: str, number: int) -> PairedCodes:
    """Real z_I, standardised, and a z_S of a kind."""
    from sklearn.datasets import load_breast_cancer

    rng = np.random.default_rng([number, zlib.crc32(f"{name} {kind}".encode())])
    if name.startswith("digits"):
        z, y = view("fou"), view("labels")[:, 0].astype(np.int64) % 2
    else:
        data = load_breast_cancer()
        z, y = data["data"][:, :10], data["target"].astype(np.int64)
    y = np.where(rng.random(len(y)) < COHORTS[name], 1 - y, y)
    order = rng.permutation(len(y))[: N_TRAIN + N_VAL + N_TEST]
    z = ((z - z.mean(axis=0)) / z.std(axis=0))[order]
    y, every = y[order], np.ones(len(order), dtype=bool)
    z_s = SUPERIORS[kind](rng, z, y)
    cases = tuple(f"C{case:05d}" for case in range(len(y)))
    return PairedCodes(
        *("real", "drawn", 0, "y", ("no", "yes"), cases),
        *(z.astype(np.float32), z_s.astype(np.float32), every, every, y),
        parts=np.repeat(["train", "val", "test"], [N_TRAIN, N_VAL, len(y) - N_TRAIN - N_VAL]),
    )


def recipes(seed: int) -> list[HeadRecipe]:
    """Three G, T(I), M(I), and P(I) with either decoder."""
    models = (("ridge", "logistic"), ("kernel_ridge", "logistic"), ("pls", "knn"))
    return [
        *(RowsRecipe("matched", seed, Choice.of(g), Choice.of(d), PERMUTATIONS) for g, d in models),
        TransferRecipe(seed, Choice.of("ridge"), True, PERMUTATIONS),
        MarginsRecipe(seed, PERMUTATIONS),
        PlugRecipe(seed, PERMUTATIONS),
        PlugRecipe(seed, PERMUTATIONS, "logistic"),
        *references(seed),
    ]


def verdicts_of(paired: PairedCodes, said: str, seeds: tuple[int, ...] = SEEDS) -> list[str]:
    """Of every guided row with each number of seeds; `guidance helps` is printed as `said`."""
    runs, predictions = trained(paired, [recipe for seed in range(max(seeds)) for recipe in recipes(seed)])
    found = [of for n in seeds for of in row_effects([run for run in runs if run.seed < n], predictions)]
    for of in found:
        if of.verdict == HELPS:
            print(f"{HELPS}: {said}, {of.head.row} by {of.head.guidance}, {of.n_units} seeds", flush=True)
    return [of.verdict for of in found]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--numbers", type=int, nargs="+", default=(0,))
    asked.add_argument("--kinds", nargs="+", choices=tuple(SUPERIORS), default=tuple(SUPERIORS))
    options = asked.parse_args()
    given: Counter[str] = Counter()
    with one_thread():
        for number in options.numbers:
            for name in COHORTS:
                for kind in options.kinds:
                    given.update(verdicts_of(pair_of(name, kind, number), f"{name}, z_S {kind}, number {number}"))
                print(f"{name}, number {number}: {given.total()} verdicts so far, {dict(given)}", flush=True)


if __name__ == "__main__":
    main()
