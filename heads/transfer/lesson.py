"""What a student learns from, and how much of it: true labels, the teacher's scores, their weight and their mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from guidestore.heads.transfer.cases import Cases
from guidestore.heads.transfer.students.common.protocol import Student, Tensors
from guidestore.heads.transfer.teacher import Teacher

WEIGHTS = (0.0, 0.3, 1.0)
"""Of a taught case beside a labelled one. 0, no teacher, is what the choice falls back on. Few, since with 50 labels it
hangs on two or three cases: with .1 among them students come out .004 worse (digits, fou taught by kar)."""
LAMBDAS = (1.0, 0.5, 0.0)
"""Share of the own label in the target of a labelled case whose label may be wrong; the rest is the teacher's."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What inner cross-validation chose for a student."""

    weight: float
    lam: float
    place: int
    """Of the regularisation on the student's path."""
    score: float
    """In the inner cross-validation, as heads.transfer.learning has it."""
    held_out: Sequence[np.ndarray] = field(default=(), repr=False, compare=False)
    """What was said of `Lesson.held_rows` by its like, in parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A student on some codes with what a teacher adds: choice and fit."""

    student: Student
    cases: Cases
    x_nr: np.ndarray
    """(N, r) prepared codes that the student reads."""
    has: np.ndarray
    """(N,) bool: who has them."""
    teacher: Teacher | None = None
    """None: labels only."""
    noisy_labels: bool = False

    def choose(self) -> Chosen:
        """Weight, lambda and regularisation together; of equals the first of `candidates`."""
        return max(self.candidates(), key=lambda chosen: chosen.score)

    def candidates(self) -> list[Chosen]:
        """All that could be chosen: labels as they are, the least weight and the strongest regularisation first.

        A teacher is fitted in each fold anew, without the labels that are held out.
        """
        splits, learning = self.cases.splits, self.cases.learning
        held = [split.held_n[self.has[split.held_n]] for split in splits]
        lambdas = LAMBDAS if self.noisy_labels and self.teacher else LAMBDAS[:1]
        weights = WEIGHTS if self.teacher and len(self.cases.unlabelled_pairs) else WEIGHTS[:1]
        plan = list(product(lambdas, weights))
        held_out: dict[tuple[float, float, int], list[np.ndarray]] = {}
        for split, held_n in zip(splits, held, strict=True):
            for (lam, weight), path in zip(plan, self._paths(split.fit_n, plan), strict=True):
                for place, model in enumerate(path):
                    predicted_nk = learning.says(self.student, model, self.x_nr[held_n])
                    held_out.setdefault((lam, weight, place), []).append(predicted_nk)
        return [
            Chosen(weight, lam, place, learning.score(self.held_rows, predicted), predicted)
            for (lam, weight, place), predicted in held_out.items()
        ]

    @property
    def held_rows(self) -> np.ndarray:
        """Rows of the cases that are held out, fold by fold."""
        return np.concatenate([split.held_n[self.has[split.held_n]] for split in self.cases.splits])

    def fit(self, chosen: Chosen) -> Tensors:
        """The chosen student on all labelled train cases."""
        (path,) = self._paths(self.cases.labelled, [(chosen.lam, chosen.weight)])
        return path[chosen.place]

    def _paths(self, fit_n: np.ndarray, plan: Sequence[tuple[float, float]]) -> list[list[Tensors]]:
        """A student's path for each (lambda, weight), from the labels of `fit_n` alone."""
        cases, teacher = self.cases, self.teacher
        own_n, taught_n = fit_n[self.has[fit_n]], cases.unlabelled_pairs
        true_nk = cases.learning.targets(fit_n)[self.has[fit_n]]
        mixed_nk, taught_nk = true_nk, np.zeros((0, cases.learning.n_columns))
        if teacher and any(lam < 1 for lam, _ in plan):
            crossed_nk = teacher.cross_fitted(cases, fit_n)[self.has[fit_n]]
            mixed_nk = np.where(np.isnan(crossed_nk), true_nk, crossed_nk)
        if teacher and any(weight > 0 for _, weight in plan):
            taught_nk = teacher.scores(cases, fit_n, taught_n)
        paths = []
        for lam, weight in plan:
            x_nr, targets_nk, weights_n = self.x_nr[own_n], lam * true_nk + (1 - lam) * mixed_nk, np.ones(len(own_n))
            if weight > 0:
                x_nr = np.vstack([x_nr, self.x_nr[taught_n]])
                targets_nk = np.vstack([targets_nk, taught_nk])
                weights_n = np.append(weights_n, np.full(len(taught_n), weight))
            paths.append(cases.learning.fit_path(self.student, x_nr, targets_nk, weights_n, seed=cases.seed))
        return paths
