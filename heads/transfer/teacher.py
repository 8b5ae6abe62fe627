"""The teacher: a decoder on z_S or [z_S, z_I] whose calibrated scores label the pairs without labels; and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.registry import build_student
from guidestore.heads.transfer.cases import Cases
from guidestore.heads.transfer.inner_cv import balanced_accuracy, draw_folds, shows_all_classes
from guidestore.heads.transfer.students.common.protocol import Student
from guidestore.heads.transfer.targets import one_hot

TEACHERS = ("ridge", "logistic", "kernel")
"""Families among which the teacher is chosen: what a few tens of labels can fit."""
SHARPNESS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Powers of the scores among which that of the least log loss on held-out cases is chosen. A ridge on 50 labels gives
the true class hardly more than the others: taught by it as it is, students stay at .69, calibrated at .73 (digits)."""
MARGIN = 0.02
"""By which the teacher's inner cross-validation must beat that of z_I, in balanced accuracy, before it may teach."""


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """What was chosen; `scores` fits it, on whichever labelled cases it may see."""

    reads: str
    """Input row: S or S+I; I for the control `own`."""
    family: Student
    place: int
    """Of its regularisation on the family's path."""
    sharpness: float
    score: float
    """Balanced accuracy in the inner cross-validation."""

    def scores(self, cases: Cases, fit_n: np.ndarray, rows_n: np.ndarray) -> np.ndarray:
        """(m, k) targets for `rows_n` from the labels of `fit_n` alone; rows sum to 1."""
        x_nr, has = cases.read(self.reads)
        (model,) = _fit(self.family, cases, x_nr, fit_n[has[fit_n]])[self.place : self.place + 1]
        return _sharpen(self.family.probabilities(model, x_nr[rows_n]), self.sharpness)

    def cross_fitted(self, cases: Cases, fit_n: np.ndarray) -> np.ndarray:
        """(m, k) targets for the labelled cases `fit_n` themselves, each from teachers that did not see its label; NaN
        for those that the teacher cannot read. No label outside `fit_n` is looked at: inside an inner fold this is
        nested, so that what is held out there never reaches a target."""
        _, has = cases.read(self.reads)
        targets_nk = np.full((len(fit_n), cases.n_classes), np.nan)
        for split in draw_folds(cases.paired, fit_n, seed=cases.seed):
            held_n = split.held_n[has[split.held_n]]
            if len(held_n):
                targets_nk[np.isin(fit_n, held_n)] = self.scores(cases, split.fit_n, np.sort(held_n))
        return targets_nk


def choose_teacher(cases: Cases, reads: Sequence[str]) -> Teacher | None:
    """The best by inner cross-validation of all teachers on these input rows; of equals the first and most regular.

    None where no input row shows every class in every fold.
    """
    best: Teacher | None = None
    kept: tuple[list[np.ndarray], np.ndarray] | None = None
    for row in reads:
        x_nr, has = cases.read(row)
        if not cases.splits or not all(shows_all_classes(cases.paired, s.fit_n, has) for s in cases.splits):
            continue
        held = [split.held_n[has[split.held_n]] for split in cases.splits]
        labels_n = cases.paired.labels[np.concatenate(held)]
        if not len(labels_n):
            continue
        for family in (build_student(name) for name in TEACHERS):
            paths = [_fit(family, cases, x_nr, s.fit_n[has[s.fit_n]]) for s in cases.splits]
            for place in range(len(family.regularisations)):
                held_out = [
                    family.probabilities(path[place], x_nr[rows]) for path, rows in zip(paths, held, strict=True)
                ]
                score = balanced_accuracy(labels_n, held_out)
                if best is None or score > best.score:
                    best, kept = Teacher(row, family, place, 1.0, score), (held_out, labels_n)
    if best is None or kept is None:
        return None
    return Teacher(best.reads, best.family, best.place, _calibrate(np.concatenate(kept[0]), kept[1]), best.score)


def _fit(family: Student, cases: Cases, x_nr: np.ndarray, fit_n: np.ndarray) -> list[dict[str, np.ndarray]]:
    targets_nk = one_hot(cases.paired.labels[fit_n], cases.n_classes)
    return family.fit_path(x_nr[fit_n], targets_nk, np.ones(len(fit_n)), seed=cases.seed)


def _sharpen(probabilities_nk: np.ndarray, sharpness: float) -> np.ndarray:
    powers_nk = (probabilities_nk / probabilities_nk.max(axis=1, keepdims=True)) ** sharpness
    return powers_nk / powers_nk.sum(axis=1, keepdims=True)


def _calibrate(held_out_nk: np.ndarray, labels_n: np.ndarray) -> float:
    """The sharpness of the least log loss."""

    def loss(sharpness: float) -> float:
        of_truth_n = _sharpen(held_out_nk, sharpness)[np.arange(len(labels_n)), labels_n]
        return float(-np.log(np.maximum(of_truth_n, 1e-12)).mean())

    return min(SHARPNESS, key=loss)
