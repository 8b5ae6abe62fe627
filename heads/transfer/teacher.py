"""The teacher: a decoder on z_S or [z_S, z_I] whose calibrated scores label the pairs without labels; and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.registry import STUDENTS, build_student
from guidestore.heads.transfer.cases import Cases
from guidestore.heads.transfer.inner_cv import draw_folds, shows_all_classes
from guidestore.heads.transfer.students.common.protocol import Student, Tensors

TEACHERS = ("ridge", "logistic", "kernel")
"""Families among which, of those that learn the kind, the teacher is chosen: what a few tens of labels can fit."""
MARGIN = 0.02
"""By which the teacher's inner cross-validation must beat that of z_I, in balanced accuracy or the
kind's main metric, before it may teach."""


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """What was chosen; `scores` fits it, on whichever labelled cases it may see."""

    reads: str
    """Input row: S or S+I; I for the control `own`."""
    family: Student
    place: int
    """Of its regularisation on the family's path."""
    sharpness: float
    """Its calibration, as heads.transfer.learning has it."""
    score: float
    """In the inner cross-validation, as heads.transfer.learning has it."""
    chosen_on: Cases
    models: Sequence[Tensors]
    """Fitted to the folds of `chosen_on`, one each: a lesson asks for the same ones again."""

    def scores(self, cases: Cases, fit_n: np.ndarray, rows_n: np.ndarray) -> np.ndarray:
        """(m, k) targets for `rows_n` from the labels of `fit_n` alone."""
        x_nr, has = cases.read(self.reads)
        model = self._of_fold(cases, fit_n) or _fit(self.family, cases, x_nr, fit_n[has[fit_n]])[self.place]
        return cases.learning.calibrated(cases.learning.says(self.family, model, x_nr[rows_n]), self.sharpness)

    def _of_fold(self, cases: Cases, fit_n: np.ndarray) -> Tensors | None:
        """What `fit_n` was fitted by when the teacher was chosen; None of other cases, and of rows that are no fold."""
        folds = cases.splits if cases is self.chosen_on else []
        return next((model for split, model in zip(folds, self.models, strict=False) if split.fit_n is fit_n), None)

    def cross_fitted(self, cases: Cases, fit_n: np.ndarray) -> np.ndarray:
        """(m, k) targets for the labelled cases `fit_n` themselves, each from teachers that did not see its label; NaN
        for those that the teacher cannot read. No label outside `fit_n` is looked at: inside an inner fold this is
        nested, so that what is held out there never reaches a target."""
        _, has = cases.read(self.reads)
        targets_nk = np.full((len(fit_n), cases.learning.n_columns), np.nan)
        for split in draw_folds(cases.paired, fit_n, seed=0):
            held_n = split.held_n[has[split.held_n]]
            if len(held_n):
                targets_nk[np.isin(fit_n, held_n)] = self.scores(cases, split.fit_n, np.sort(held_n))
        return targets_nk


def teaches(family: str, kind: TargetKind) -> bool:
    """Whether a family of students learns targets of that kind."""
    return kind == "classes" or hasattr(STUDENTS.load(family), "fit_scores")


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
        held_n, learning = np.concatenate(held), cases.learning
        if not len(held_n):
            continue
        for family in (build_student(name) for name in TEACHERS if teaches(name, cases.paired.kind)):
            paths = [_fit(family, cases, x_nr, s.fit_n[has[s.fit_n]]) for s in cases.splits]
            for place in range(len(family.regularisations)):
                held_out = [
                    learning.says(family, path[place], x_nr[rows]) for path, rows in zip(paths, held, strict=True)
                ]
                score = learning.score(held_n, held_out)
                if best is None or score > best.score:
                    models = [path[place] for path in paths]
                    best, kept = Teacher(row, family, place, 1.0, score, cases, models), (held_out, held_n)
    if best is None or kept is None:
        return None
    return replace(best, sharpness=cases.learning.calibration(kept[1], np.concatenate(kept[0])))


def _fit(family: Student, cases: Cases, x_nr: np.ndarray, fit_n: np.ndarray) -> list[Tensors]:
    learning = cases.learning
    return learning.fit_path(family, x_nr[fit_n], learning.targets(fit_n), np.ones(len(fit_n)), seed=cases.seed)
