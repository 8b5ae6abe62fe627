"""Inner cross-validation: how teacher, gate, weights and regularisation are chosen, on labelled train cases alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.outcomes import strata

FOLDS = 5
"""Of one inner cross-validation; a class of fewer cases is held out in as many folds as it has cases."""
ENOUGH_HELD, MOST_REPEATS = 400, 5
"""Folds are drawn anew, so often at most, until so many cases were held out: with 40 labels one draw of the folds is a
draw of the penalty, and what a head is worth hangs on that luck."""
ENOUGH_TAUGHT, MOST_TAUGHT = 250, 5
"""The same for label transfer, where every fold is many descents: with 50 labels a choice between weights hangs on two
or three cases, and the luck of one draw costs .02 (digits, fou taught by kar)."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Row numbers of labelled cases: those that are fitted on, and those held out. They share none."""

    fit_n: np.ndarray
    held_n: np.ndarray


def draw_folds(paired: PairedCodes, rows_n: np.ndarray, *, seed: int | Sequence[int]) -> list[Split]:
    """`rows_n` in FOLDS parts, classes as even as can be, and within them pairs, I alone and S alone.

    Cases are dealt to the folds like cards, so that a class of two pairs never has both in one fold.
    """
    rng = np.random.default_rng(seed)
    kind = paired.has_inferior[rows_n] + 2 * paired.has_superior[rows_n]
    order = np.lexsort((rng.random(len(rows_n)), -kind, strata(paired)[rows_n]))
    fold = np.empty(len(rows_n), dtype=int)
    fold[order] = np.arange(len(rows_n)) % FOLDS
    return [Split(rows_n[fold != f], rows_n[fold == f]) for f in range(FOLDS) if (fold == f).any()]


def repeats_of(n_held: int, *, enough: int = ENOUGH_HELD, most: int = MOST_REPEATS) -> int:
    """How often folds are drawn that hold out `n_held` cases by which one chooses."""
    return min(most, -(-enough // max(n_held, 1)))


def repeated_folds(paired: PairedCodes, rows_n: np.ndarray, repeats: int) -> list[Split]:
    """`draw_folds` so often, one draw after the other: the same for every seed, so that a head in closed form hangs on
    its training set alone, and no luck of the folds stands between it and what it is held against."""
    return [split for r in range(repeats) for split in draw_folds(paired, rows_n, seed=[0, r])]


def inner_splits(paired: PairedCodes) -> list[Split]:
    """The folds of the labelled train cases; where some fold would leave a class of z_I without a case, the labelled
    val cases are held out instead, all at once. [] where there are none either: then nothing can be chosen."""
    train = paired.rows("train", paired.has_label)
    repeats = repeats_of(int(paired.has_inferior[train].sum()), enough=ENOUGH_TAUGHT, most=MOST_TAUGHT)
    splits = repeated_folds(paired, train, repeats)
    if all(shows_all_classes(paired, split.fit_n, paired.has_inferior) for split in splits):
        return splits
    val = paired.rows("val", paired.has_label, paired.has_inferior)
    return [Split(train, val)] if len(val) else []


def shows_all_classes(paired: PairedCodes, rows_n: np.ndarray, has: np.ndarray) -> bool:
    """Whether every class occurs among those of the labelled rows that have a modality (mask over all cases); of other
    kinds whether there is something to learn: two grades or values, an event, each label with and without it."""
    y = paired.y[rows_n[has[rows_n]]]
    if paired.kind == "classes":
        return len(np.unique(y)) == len(paired.classes)
    if paired.kind in ("ordinal", "value"):
        return len(np.unique(y)) > 1
    if paired.kind == "survival":
        return bool((y[:, 1] == 1).any())
    return all(bool((y == has_it).any(axis=0).all()) for has_it in (0.0, 1.0))


def balanced_accuracy(labels_n: np.ndarray, probabilities: Sequence[np.ndarray]) -> float:
    """Mean recall over the classes that occur, 0 where none does; `probabilities` (n, k) in parts."""
    if not len(labels_n):
        return 0.0
    predicted_n = np.concatenate(probabilities).argmax(axis=1)
    return float(np.mean([np.mean(predicted_n[labels_n == c] == c) for c in np.unique(labels_n)]))
