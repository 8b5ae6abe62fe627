"""What is foretold from: the train cases of all folds, their codes made small, inner folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.controls import SELF, SHUFFLED, WITHIN_CLASS, in_control_order
from guidestore.heads.input_rows import S_PLUS_I, I, S
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.label_budget import hide_labels
from guidestore.heads.outcomes import strata
from guidestore.heads.replaced_codes import replaced
from guidestore.heads.transfer.inner_cv import Split, draw_folds, shows_all_classes

MOST_COLUMNS = 192
"""Codes of more are read in so many principal directions of the train cases, which no label chooses: rows and controls
lose the same, and a decomposition of 2,000 cases costs 20 ms and not a second."""
ENOUGH_HELD = 300
"""Inner cross-validation is repeated, four times at most, until so many cases were held out."""
MOST_REPEATS = 4
FEWEST = 2
SELVES = (f"{SELF}, principal directions", f"{SELF}, random features")
STAND_INS = (SHUFFLED, WITHIN_CLASS, *SELVES)
"""What controls put in place of z_S."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """The train cases of one or several folds of a split; N rows."""

    paired: PairedCodes
    """All are train; with a label budget the labels are all there, and `repeats` shows fewer."""
    codes: Mapping[str, np.ndarray]
    """(N, r) of S+I, S, I and STAND_INS; NaN where a case lacks it."""
    repeats: Sequence[Sequence[Split]]
    """Of the labelled cases."""


def together(folds: Sequence[PairedCodes]) -> list[PairedCodes]:
    """The train cases of all folds in one training set, where the codes are the same in every fold; else fold by fold.

    Inner cross-validation of five folds' train cases fits on as many as one fold of the split does.
    """
    first = folds[0]
    same = all(
        fold.case_ids == first.case_ids
        and all(
            np.array_equal(getattr(fold, name), getattr(first, name), equal_nan=True)
            for name in ("inferior_nd", "superior_nd")
        )
        for fold in folds[1:]
    )
    if not same:
        return [_rows_of(fold, fold.parts == "train") for fold in folds]
    return [_rows_of(first, np.any([fold.parts == "train" for fold in folds], axis=0))]


def _rows_of(paired: PairedCodes, keep: np.ndarray) -> PairedCodes:
    names = ("inferior_nd", "superior_nd", "has_inferior", "has_superior", "labels", "outcomes")
    cases = tuple(case for case, kept in zip(paired.case_ids, keep, strict=True) if kept)
    kept = {name: of[keep] for name in names if (of := getattr(paired, name)) is not None}
    return replace(paired, **kept, case_ids=cases, parts=np.repeat("train", len(cases)))


def training_set(paired: PairedCodes, labelled: int | None, *, seed: int) -> TrainingSet:
    """Of train cases, with `labelled` labels shown in each fold (None: all that are not held out).

    Raises InvalidInputError where there are fewer labels than that beside those that are held out, fewer than two
    labelled pairs in a fold, or constant codes.
    """
    shown = paired.rows("train", paired.has_label)
    n_held = int(paired.is_pair[shown].sum())
    n_repeats = min(MOST_REPEATS, -(-ENOUGH_HELD // max(n_held, 1)))
    repeats = [draw_folds(paired, shown, seed=[seed, r]) for r in range(n_repeats)]
    if labelled is not None:
        repeats = [[_within_budget(paired, split, labelled, seed) for split in splits] for splits in repeats]
    if any(paired.is_pair[split.fit_n].sum() < FEWEST for splits in repeats for split in splits):
        raise InvalidInputError(
            f"{paired.cohort}: a fold of inner cross-validation has fewer than {FEWEST} labelled pairs to learn from; "
            "label more pairs, or ask for a larger budget"
        )
    told = all(shows_all_classes(paired, split.fit_n, paired.is_pair) for splits in repeats for split in splits)
    if paired.kind != "classes" and not told:
        raise InvalidInputError(
            f"{paired.cohort}: a fold of inner cross-validation has nothing to learn of {paired.target} from "
            f"{labelled or 'its'} labelled pairs: no event, one value alone, or a grade or label that none shows; ask "
            "for a larger budget"
        )
    of_i, of_s = (
        _small(codes_nd, has, f"{name} of {paired.cohort}")
        for name, codes_nd, has in (
            ("z_I", paired.inferior_nd, paired.has_inferior),
            ("z_S", paired.superior_nd, paired.has_superior),
        )
    )
    codes = {I: of_i, S: of_s, S_PLUS_I: np.hstack([of_s, of_i]) * 0.5**0.5}
    pairs = paired.rows("train", paired.is_pair)
    alike = strata(paired)[pairs]
    for control in (SHUFFLED, WITHIN_CLASS):
        codes[control] = of_s.copy()
        codes[control][pairs] = in_control_order(control, of_s[pairs], alike, seed=seed, permutation=0)
    own = replace(paired, inferior_nd=of_i, superior_nd=of_s)
    for kind, name in enumerate(SELVES):
        other = replaced(own, SELF, kind, seed=seed)
        codes[name] = _small(other.superior_nd, other.has_superior, f"{name} of {paired.cohort}")
    return TrainingSet(paired, codes, repeats)


def _within_budget(paired: PairedCodes, split: Split, labelled: int, seed: int) -> Split:
    """The split with so many of its labels shown; what is held out keeps its own."""
    if labelled > len(split.fit_n):
        raise InvalidInputError(
            f"{paired.cohort}: {labelled} labels are asked for, but inner cross-validation leaves {len(split.fit_n)} "
            "to learn from; ask for fewer, or for all"
        )
    y = np.full_like(paired.y, -1 if paired.kind in ONE_CLASS_KINDS else np.nan)
    y[split.fit_n] = paired.y[split.fit_n]
    budget = hide_labels(paired.with_y(y), labelled, seed=seed)
    return Split(np.flatnonzero(budget.has_label), split.held_n)


def _small(codes_nd: np.ndarray, has: np.ndarray, what: str) -> np.ndarray:
    """(N, r) prepared, in their first principal directions where they have more columns than those."""
    z_nd = Preparation.fit(codes_nd[has], what).apply(codes_nd)
    n, d = int(has.sum()), z_nd.shape[1]
    if min(n, d) <= MOST_COLUMNS:
        return z_nd
    from scipy.linalg import eigh

    z_hd = z_nd[has]
    if d <= n:
        top = [d - MOST_COLUMNS, d - 1]
        axes_dr = eigh(z_hd.T @ z_hd, subset_by_index=top, check_finite=False)[1]
    else:
        values_r, vectors_nr = eigh(z_hd @ z_hd.T, subset_by_index=[n - MOST_COLUMNS, n - 1], check_finite=False)
        axes_dr = z_hd.T @ (vectors_nr / np.sqrt(np.maximum(values_r, 1e-12 * values_r[-1])))
    return z_nd @ axes_dr
