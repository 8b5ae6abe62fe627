"""How outcomes of one kind are learnt, held out and calibrated here: of classes as probabilities, else as scores.

Scores are of what closed forms regress (heads.links): standardised values, martingale residuals, being above each grade
but the last, each label. A student regresses them by squared error, and the link makes its outcome of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.links.table import LINKS
from guidestore.heads.outcomes import reference_of
from guidestore.heads.transfer.decoder import StudentDecoder
from guidestore.heads.transfer.foreteller import StudentForeteller, finished
from guidestore.heads.transfer.inner_cv import balanced_accuracy
from guidestore.heads.transfer.preparation import Preparation
from guidestore.heads.transfer.students.common.protocol import Student, Tensors
from guidestore.heads.transfer.targets import one_hot

SHARPNESS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Powers of the probabilities among which that of the least log loss on held-out cases is chosen. A ridge on 50 labels
gives the true class hardly more than the others: taught by it as it is, students stay at .69, calibrated at .73
(digits)."""


class Learning(Protocol):
    """Of one training set; rows are row numbers of its paired codes, with an outcome. c columns."""

    @property
    def n_columns(self) -> int: ...

    def targets(self, rows_n: np.ndarray) -> np.ndarray:
        """(n, c) of these train cases, told from these alone."""
        ...

    def fit_path(
        self, student: Student, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[Tensors]:
        """The student's path."""
        ...

    def says(self, student: Student, model: Tensors, x_nr: np.ndarray) -> np.ndarray:
        """(n, c) of a model of the path."""
        ...

    def score(self, rows_n: np.ndarray, said: Sequence[np.ndarray]) -> float:
        """How well what was `said` of held-out cases, in parts, tells their outcomes: what choices and the gate go
        by."""
        ...

    def calibration(self, rows_n: np.ndarray, held_nc: np.ndarray) -> float:
        """What makes `calibrated` of what was said of held-out cases closest to their outcomes."""
        ...

    def calibrated(self, said_nc: np.ndarray, by: float) -> np.ndarray: ...

    def decoder(
        self,
        student: Student,
        preparation: Preparation,
        tensors: Tensors,
        rows_n: np.ndarray,
        held_nc: np.ndarray,
        facts: dict[str, float],
    ) -> StudentDecoder | StudentForeteller:
        """Of a fitted student, and what was said of held-out cases by its like."""
        ...


def learning_of(paired: PairedCodes) -> Learning:
    """Of the kind of its target."""
    return OfClasses(paired) if paired.kind == "classes" else OfScores(paired)


@dataclass(frozen=True, slots=True, eq=False)
class OfClasses:
    """Probabilities, balanced accuracy, and a power of the probabilities."""

    paired: PairedCodes

    @property
    def n_columns(self) -> int:
        return len(self.paired.classes)

    def targets(self, rows_n: np.ndarray) -> np.ndarray:
        return one_hot(self.paired.labels[rows_n], self.n_columns)

    def fit_path(
        self, student: Student, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[Tensors]:
        return student.fit_path(x_nr, targets_nc, weights_n, seed=seed)

    def says(self, student: Student, model: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return student.probabilities(model, x_nr)

    def score(self, rows_n: np.ndarray, said: Sequence[np.ndarray]) -> float:
        return balanced_accuracy(self.paired.labels[rows_n], said)

    def calibration(self, rows_n: np.ndarray, held_nc: np.ndarray) -> float:
        """The sharpness of the least log loss."""
        labels_n = self.paired.labels[rows_n]

        def loss(sharpness: float) -> float:
            of_truth_n = self.calibrated(held_nc, sharpness)[np.arange(len(labels_n)), labels_n]
            return float(-np.log(np.maximum(of_truth_n, 1e-12)).mean())

        return min(SHARPNESS, key=loss)

    def calibrated(self, said_nc: np.ndarray, by: float) -> np.ndarray:
        powers_nc = (said_nc / said_nc.max(axis=1, keepdims=True)) ** by
        return powers_nc / powers_nc.sum(axis=1, keepdims=True)

    def decoder(
        self,
        student: Student,
        preparation: Preparation,
        tensors: Tensors,
        rows_n: np.ndarray,
        held_nc: np.ndarray,
        facts: dict[str, float],
    ) -> StudentDecoder:
        return StudentDecoder(student, preparation, tensors, facts)


@dataclass(frozen=True, slots=True, eq=False)
class OfScores:
    """Scores, the kind's main metric, and one factor."""

    paired: PairedCodes

    @property
    def n_columns(self) -> int:
        k = len(self.paired.classes)
        return {"ordinal": k - 1, "multilabel": k}.get(self.paired.kind, 1)

    def targets(self, rows_n: np.ndarray) -> np.ndarray:
        return LINKS[self.paired.kind].targets(self.paired.y[rows_n], len(self.paired.classes))

    def fit_path(
        self, student: Student, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[Tensors]:
        return student.fit_scores(x_nr, targets_nc, weights_n, seed=seed)

    def says(self, student: Student, model: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return student.scores(model, x_nr)

    def score(self, rows_n: np.ndarray, said: Sequence[np.ndarray]) -> float:
        if not len(rows_n):
            return 0.0
        link = LINKS[self.paired.kind]
        return link.score(self.paired.y[rows_n], np.concatenate(said), reference_of(self.paired))

    def calibration(self, rows_n: np.ndarray, held_nc: np.ndarray) -> float:
        """The factor of the least squared error, 0 where scores do not rise with the outcomes: penalties shrink."""
        size = float((held_nc**2).sum())
        return max(0.0, float((held_nc * self.targets(rows_n)).sum()) / size) if size else 0.0

    def calibrated(self, said_nc: np.ndarray, by: float) -> np.ndarray:
        return said_nc * by

    def decoder(
        self,
        student: Student,
        preparation: Preparation,
        tensors: Tensors,
        rows_n: np.ndarray,
        held_nc: np.ndarray,
        facts: dict[str, float],
    ) -> StudentForeteller:
        kind = self.paired.kind
        link = LINKS[kind].fit(held_nc, self.paired.y[rows_n], len(self.paired.classes))
        return finished(kind, student, preparation, tensors, link, facts)
