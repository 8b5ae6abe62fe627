"""All that one inner cross-validation holds out, fold by fold: of plain smoothers, the teacher, and every student.

The true scores and those of every control are columns beside each other: one decomposition serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.input_rows import I, S
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.selection import Fold, HeldOut, held_out
from guidestore.heads.kernels.smoother import KERNELS, Decompositions
from guidestore.heads.margins.lessons import Lesson
from guidestore.heads.margins.teacher import Teacher


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """m labelled pairs are held out over all folds."""

    plain: Mapping[str, HeldOut]
    """Input row -> what smoothers on the labels say of the held-out cases that have it; kernel -> (a, m', k)."""
    plain_rows: Mapping[str, np.ndarray]
    """(m',) which rows those are."""
    pairs: np.ndarray
    """(m,) rows of the held-out pairs."""
    inferior_m: np.ndarray
    """(m,) where in plain_rows[I] they are."""
    teacher_mk: np.ndarray
    """What the teacher on z_S says of them."""
    students: Sequence[HeldOut]
    """Per lesson, what students say of them: kernel -> (a, m, k)."""
    taught_lmk: np.ndarray
    """(lessons, m, k) the scores that they are held against: those of the lesson's teacher, refitted in the fold."""


def cross_validate(
    cases: Cases,
    rows: Sequence[str],
    teachers: Mapping[str, Teacher],
    lessons: Sequence[Lesson],
    codes: Mapping[str, Decompositions],
) -> CrossValidation:
    """rows: input rows whose plain smoothers are wanted. teachers: by the input row that they read. codes: of every
    input row, which all folds share."""
    k, parts, place = cases.targets_nk.shape[1], [], 0
    for split in cases.splits:
        held_pairs, held_inferior = np.intersect1d(split.held_n, cases.pairs), cases.held_in(split, I)
        fit_pairs = np.setdiff1d(cases.pairs, held_pairs)
        scores = {
            reads: teacher.scores(
                cases,
                cases.sources[reads].decompositions(cases.seed),  # of this fold alone
                cases.fitted_in(split, reads),
                cases.pairs,
            )
            for reads, teacher in teachers.items()
        }
        taught = np.zeros((len(cases.pairs), 0, k))
        if lessons:
            taught = np.stack([lesson.given(scores) for lesson in lessons], axis=1)
        at = {name: np.searchsorted(cases.pairs, of) for name, of in (("fit", fit_pairs), ("held", held_pairs))}
        plain = {
            row: held_out(codes[row], [_labels(cases, cases.fitted_in(split, row), cases.held_in(split, row))])
            for row in rows
        }
        fold = Fold(fit_pairs, held_pairs, taught[at["fit"]].reshape(len(fit_pairs), -1))
        said = {
            kernel: said_amc.reshape(len(said_amc), len(held_pairs), len(lessons), k)
            for kernel, said_amc in held_out(codes[I], [fold]).items()
        }
        teacher_mk = scores[S][at["held"]] if lessons else np.zeros((len(held_pairs), k))
        parts.append(
            (
                plain,
                held_pairs,
                place + np.searchsorted(held_inferior, held_pairs),
                teacher_mk,
                said,
                taught[at["held"]],
            )
        )
        place += len(held_inferior)
    every_plain, held, inferior, teacher, said, taught = zip(*parts, strict=True)
    return CrossValidation(
        plain={
            row: {kernel: np.concatenate([p[row][kernel] for p in every_plain], axis=1) for kernel in KERNELS}
            for row in rows
        },
        plain_rows={row: np.concatenate([cases.held_in(split, row) for split in cases.splits]) for row in rows},
        pairs=np.concatenate(held),
        inferior_m=np.concatenate(inferior),
        teacher_mk=np.concatenate(teacher),
        students=[
            {kernel: np.concatenate([s[kernel][:, :, i] for s in said], axis=1) for kernel in KERNELS}
            for i in range(len(lessons))
        ],
        taught_lmk=np.concatenate(taught).transpose(1, 0, 2),
    )


def _labels(cases: Cases, fit_n: np.ndarray, held_n: np.ndarray) -> Fold:
    return Fold(fit_n, held_n, cases.targets_nk[fit_n])
