"""Trains margins on paired codes: row M(I), its references S+I, S and I, and its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.input_rows import MARGINS, S_PLUS_I, Arm, I, S, arms_of
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.selection import Chosen, by_error
from guidestore.heads.kernels.smoother import KERNELS, Weights
from guidestore.heads.margins.folds import CrossValidation, cross_validate
from guidestore.heads.margins.lessons import Lesson
from guidestore.heads.margins.teacher import choose_teacher
from guidestore.heads.outcomes import said
from guidestore.heads.trained import TrainedHead

MARGIN = 0.02
"""By which the teacher's score out of fold must exceed that of I before it may teach: of classes (balanced accuracy +
AUROC) / 2, else in the kind's main metric."""
DECODER = "kernel ridge"
"""The decoder of every row here, as runs name it."""
MARGINS_GUIDANCE = "margins"
"""The guidance of row M(I), as runs and options name it."""
MARGIN_ROWS = (S_PLUS_I, S, I, MARGINS)
"""In the order of tables."""


@dataclass(frozen=True, slots=True, eq=False)
class MarginsJob:
    """One training set under one seed."""

    paired: PairedCodes
    seed: int
    permutations: int
    """Of the shuffled control."""


def train_margins(jobs: Sequence[MarginsJob]) -> list[list[TrainedHead]]:
    """Per job the MARGIN_ROWS, then the controls of M(I).

    S+I, S and I are the smoother on that input alone, kernel and penalty by squared error to the label scores. M(I) is
    the student's score plus that of I, each over its standard deviation out of fold, where the gate is open; else it is
    row I. The gate is that of the true pairing; controls are trained ungated, for behind a gate of its own a control
    would nearly always be row I, and test nothing. All is chosen in inner cross-validation on the labelled train cases;
    val serves the temperature alone, where there is one; val and test are predicted once.

    All input is checked before anything is trained. Raises InvalidInputError.
    """
    every = [Cases.of(job.paired, MARGINS, seed=job.seed) for job in jobs]
    return [
        _Margins(cases, arms_of(MARGIN_ROWS, job.permutations)).heads() for job, cases in zip(jobs, every, strict=True)
    ]


def plain_heads(cases: Cases) -> list[TrainedHead]:
    """Rows S+I, S and I alone."""
    return _Margins(cases, [Arm(S_PLUS_I), Arm(S), Arm(I)]).heads()


class _Margins:
    """One job."""

    def __init__(self, cases: Cases, arms: Sequence[Arm]) -> None:
        self.cases, self.arms, self.paired = cases, arms, cases.paired
        self.codes = {row: source.decompositions(cases.seed) for row, source in cases.sources.items()}
        """Over all train cases."""
        self.lessons = [Lesson.of(cases, arm) for arm in arms if arm.row == MARGINS]
        reads = {S, *(lesson.teacher for lesson in self.lessons)} if self.lessons else set()
        self.teachers = {row: choose_teacher(cases, self.codes[row], row) for row in (S, I) if row in reads}
        plain = [arm.row for arm in arms if arm.row != MARGINS]
        self.held: CrossValidation = cross_validate(cases, plain, self.teachers, self.lessons, self.codes)
        self.chosen = {
            row: by_error(said, cases.targets_nk[self.held.plain_rows[row]]) for row, said in self.held.plain.items()
        }
        self.students = [
            by_error(said, taught_mk) for said, taught_mk in zip(self.held.students, self.held.taught_lmk, strict=True)
        ]

    def heads(self) -> list[TrainedHead]:
        scores = {
            reads: teacher.scores(self.cases, self.codes[reads], self.cases.sources[reads].labelled, self.cases.pairs)
            for reads, teacher in self.teachers.items()
        }
        plain = [self.plain(arm.row) for arm in self.arms if arm.row != MARGINS]
        taught = [self.taught(number, lesson.given(scores)) for number, lesson in enumerate(self.lessons)]
        return plain + taught

    # Rows S+I, S and I -------------------------------------------------------------------------------------------

    def plain_weights(self, row: str) -> Weights:
        chosen, rows_n = self.chosen[row], self.cases.sources[row].labelled
        return self.codes[row].of(chosen.kernel, rows_n).weights(self.cases.targets_nk[rows_n], chosen.alpha)

    def plain(self, row: str) -> TrainedHead:
        chosen, held_n = self.chosen[row], self.held.plain_rows[row]
        head = self.head(Arm(row), n_train=len(self.cases.sources[row].labelled))
        head = replace(head, facts=_facts(chosen, self.cases.scoring.score(held_n, chosen.held_mk)))
        return self.predicted(head, row, self.plain_weights(row), chosen.held_mk, held_n)

    # Row M(I) ----------------------------------------------------------------------------------------------------

    @property
    def inferior_mk(self) -> np.ndarray:
        """What I alone says of the held-out pairs."""
        return self.chosen[I].held_mk[self.held.inferior_m]

    def averaged(self, student: Chosen) -> np.ndarray:
        """(m, k) of the held-out pairs: the student and I alone, each over its deviation."""
        return student.held_mk / _deviation(student) + self.inferior_mk / _deviation(self.chosen[I])

    def taught(self, number: int, scores_pk: np.ndarray) -> TrainedHead:
        """M(I), or one of its controls, taught these scores of the train pairs."""
        cases, lesson, student, inferior = self.cases, self.lessons[number], self.students[number], self.chosen[I]
        held_mk, held_n, score = self.averaged(student), self.held.pairs, cases.scoring.score
        facts = {
            "guidance_teacher_score": score(held_n, self.held.teacher_mk),
            "guidance_inferior_score": score(held_n, self.inferior_mk),
            "guidance_averaged_score": score(held_n, held_mk),
            "guidance_unlabelled_pairs": float((~cases.labelled_pairs).sum()),
        }
        is_open = (
            facts["guidance_teacher_score"] >= facts["guidance_inferior_score"] + MARGIN
            and facts["guidance_averaged_score"] >= facts["guidance_inferior_score"]
        )
        weights = self.plain_weights(I)
        if is_open or lesson.arm.control:
            of_student = self.codes[I].of(student.kernel, cases.pairs).weights(scores_pk, student.alpha)
            weights = of_student.scaled(1 / _deviation(student)).plus(weights.scaled(1 / _deviation(inferior)))
        else:  # row I
            held_mk, held_n = inferior.held_mk, self.held.plain_rows[I]
        if not lesson.arm.control:
            facts["guidance_gate"] = float(is_open)
        teacher = self.teachers[lesson.teacher]
        facts |= {"guidance_teacher_alpha": teacher.alpha, "guidance_teacher_rbf": float(teacher.kernel == KERNELS[1])}
        head = self.head(lesson.arm, n_train=len(cases.sources[I].labelled))
        head = replace(head, guidance=MARGINS_GUIDANCE, n_pairs=len(cases.pairs))
        head = replace(head, facts=facts | _facts(student, score(held_n, held_mk)))
        return self.predicted(head, I, weights, held_mk, held_n)

    # Both --------------------------------------------------------------------------------------------------------

    def head(self, arm: Arm, *, n_train: int) -> TrainedHead:
        return TrainedHead(
            *(arm.row, "matched", "", DECODER, arm.control, arm.permutation, self.cases.seed), n_train=n_train
        )

    def predicted(
        self, head: TrainedHead, reads: str, weights: Weights, held_mk: np.ndarray, held_n: np.ndarray
    ) -> TrainedHead:
        """The head with its decoder and what that says. held_mk: out-of-fold scores of the rows held_n."""
        of, paired = self.cases.sources[reads], self.paired
        decoder = self.cases.scoring.decoder(of.preparation, weights, of.raw_nd, of.has, held_mk, held_n)
        components = {"decoder": (decoder.config, decoder.tensors())}
        return replace(head, components=components).predicting(
            paired, of.has, lambda rows_n: said(decoder, of.raw_nd[rows_n], self.cases.scoring.reference)
        )


def _deviation(chosen: Chosen) -> float:
    """Of what was said out of fold; 1 where nothing was said."""
    return float(chosen.held_mk.std()) or 1.0


def _facts(chosen: Chosen, inner_score: float) -> dict[str, float]:
    return {
        "decoder_alpha": chosen.alpha,
        "decoder_rbf": float(chosen.kernel == KERNELS[1]),
        "decoder_inner_score": inner_score,
    }
