"""Distillation across modalities: a student on z_I imitates the teacher on z_S, no z_S at test time, no G.

A row's loss is (1 - imitation) * CE(label) + imitation * CE(teacher softened by T) on pairs with a label, the second
term alone on pairs without, and CE(label) alone on cases without z_S; of outcomes that are no class what lessons.py
says. KD(I) softens the student by the same T and
multiplies the second term by T^2 (Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network", where
teacher and student read the same input). GD(I) leaves the student as it is (Lopez-Paz, Bottou, Schölkopf & Vapnik
2016, "Unifying distillation and privileged information", eq. 7; z_S is the privileged information).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from guidestore.heads.baselines.lessons import AnyLesson, Heat, build_student, lesson_of, teach_all
from guidestore.heads.baselines.teacher import Teacher, train_teachers
from guidestore.heads.checks import check_number
from guidestore.heads.controls import OWN, in_control_order
from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import KD, Arm, arms_of
from guidestore.heads.outcomes import reference_of, said, strata
from guidestore.heads.protocol import Decoder, Foreteller
from guidestore.heads.replaced_codes import replaced
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.trained import TrainedHead


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationSettings:
    """Hyper-parameters of KD(I) and GD(I)."""

    temperature: float = 4.0
    """T: what the teacher's log probabilities are divided by. Hinton et al. found 2.5 to 4 best for small students."""
    imitation: float = 0.5
    """Weight of the teacher against the label; 0 is row I on more rows, 1 the teacher alone."""

    def __post_init__(self) -> None:
        check_number(self.temperature, "distillation: temperature", 0, open_low=True)
        check_number(self.imitation, "distillation: imitation", 0, 1)


def distil(
    jobs: Sequence[RowsJob], rows: Sequence[str], *, permutations: int, settings: DistillationSettings, device: str
) -> list[list[TrainedHead]]:
    """Per job: each of the `rows` (KD, GD), then their controls.

    The teacher is the decoder of row S (matched; cross-fitted, heads.baselines.teacher) or the stored D_S
    (as-published), that of the control `own` the same on z_I; the student an mlp as the job's decoder says. Of the
    job's arms nothing is read.
    """
    for job in jobs:
        build_student(job)
    of_inferior = [
        replace(job, paired=replaced(job.paired, OWN, 0, seed=job.seed), d_s=job.d_i) if permutations else job
        for job in jobs
    ]
    teachers = train_teachers([*jobs, *(of_inferior if permutations else ())], device=device)
    plan = arms_of(rows, permutations)
    asked: list[tuple[RowsJob, Arm, Teacher]] = []
    for number, job in enumerate(jobs):
        for arm in plan:
            own = arm.control == OWN
            asked.append((of_inferior[number] if own else job, arm, teachers[number + own * len(jobs)]))
    lessons = [_lesson(job, arm, teacher, settings) for job, arm, teacher in asked if not teacher.diverged]
    taught = iter(teach_all(lessons, device=device))
    heads: list[TrainedHead] = []
    for job, arm, teacher in asked:
        head = TrainedHead(
            *(arm.row, job.mode, "", str(job.decoder), arm.control, arm.permutation, job.seed),
            n_pairs=len(job.paired.rows("train", job.paired.is_pair)),
        )
        if teacher.diverged:
            heads.append(head.diverged(teacher.diverged))
            continue
        student, paired = next(taught), job.paired
        # Of how many folds the teachers were: 0, the stored D_S, has seen the labels of the cases that it teaches.
        learnt_from = paired.rows("train", paired.has_inferior, paired.has_label | paired.has_superior)
        crossed = {"guidance_cross_fit": float(len(teacher.without_fold))}
        head = replace(head, n_train=len(learnt_from), facts=crossed)
        heads.append(head.diverged(student) if isinstance(student, DivergedError) else _taught(head, job, *student))
    return [heads[first : first + len(plan)] for first in range(0, len(heads), len(plan))]


def _taught(head: TrainedHead, job: RowsJob, decoder: Decoder | Foreteller, facts: dict[str, float]) -> TrainedHead:
    z_inferior_nd, reference = job.paired.inferior_nd, reference_of(job.paired)
    return replace(
        head,
        components={"decoder": (decoder.config, decoder.tensors())},
        facts={**head.facts, **{f"decoder_{name}": value for name, value in facts.items()}},
    ).predicting(job.paired, job.paired.has_inferior, lambda rows_n: said(decoder, z_inferior_nd[rows_n], reference))


def _lesson(job: RowsJob, arm: Arm, teacher: Teacher, settings: DistillationSettings) -> AnyLesson:
    pairs = job.pairs
    says_pk = teacher.says(job.paired, pairs)
    if arm.control:
        order = {"labels_n": strata(job.paired)[pairs], "seed": job.seed, "permutation": arm.permutation}
        says_pk = in_control_order(arm.control, says_pk, **order)
    of_student = settings.temperature if arm.row == KD else 1.0
    return lesson_of(job, says_pk, Heat(settings.temperature, of_student, settings.imitation))
