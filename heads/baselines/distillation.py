"""Distillation across modalities: a student on z_I imitates the teacher on z_S, no z_S at test time, no G.

A row's loss is (1 - imitation) * CE(label) + imitation * CE(teacher softened by T) on pairs with a label, the second
term alone on pairs without, and CE(label) alone on cases without z_S. KD(I) softens the student by the same T and
multiplies the second term by T^2 (Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network", where
teacher and student read the same input). GD(I) leaves the student as it is (Lopez-Paz, Bottou, Schölkopf & Vapnik
2016, "Unifying distillation and privileged information", eq. 7; z_S is the privileged information).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.heads.baselines.student import Lesson, check_student, teach
from guidestore.heads.baselines.teacher import Teacher, train_teachers
from guidestore.heads.checks import check_number
from guidestore.heads.controls import OWN, in_control_order
from guidestore.heads.decoders.mlp import Mlp
from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import KD, Arm, arms_of
from guidestore.heads.networks import softmax
from guidestore.heads.registry import build_decoder
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
        check_student(build_decoder(job.decoder.name, target=job.paired.target, **job.decoder.params))
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
    taught = iter(zip(lessons, teach(lessons, device=device), strict=True))
    heads: list[TrainedHead] = []
    for job, arm, teacher in asked:
        head = TrainedHead(
            *(arm.row, job.mode, "", str(job.decoder), arm.control, arm.permutation, job.seed),
            n_pairs=len(job.paired.rows("train", job.paired.is_pair)),
        )
        if teacher.diverged:
            heads.append(head.diverged(teacher.diverged))
            continue
        lesson, student = next(taught)
        # Of how many folds the teachers were: 0, the stored D_S, has seen the labels of the cases that it teaches.
        head = replace(head, n_train=len(lesson.labels), facts={"guidance_cross_fit": float(len(teacher.without_fold))})
        heads.append(head.diverged(student) if isinstance(student, DivergedError) else _taught(head, job, *student))
    return [heads[first : first + len(plan)] for first in range(0, len(heads), len(plan))]


def _taught(head: TrainedHead, job: RowsJob, decoder: Mlp, facts: dict[str, float]) -> TrainedHead:
    z_inferior_nd = job.paired.inferior_nd
    return replace(
        head,
        components={"decoder": (decoder.config, decoder.tensors())},
        facts={**head.facts, **{f"decoder_{name}": value for name, value in facts.items()}},
    ).predicting(job.paired, job.paired.has_inferior, lambda rows_n: decoder.predict_proba(z_inferior_nd[rows_n]))


def _lesson(job: RowsJob, arm: Arm, teacher: Teacher, settings: DistillationSettings) -> Lesson:
    paired, k = job.paired, len(job.paired.classes)
    pairs = paired.rows("train", paired.is_pair)
    train = paired.rows("train", paired.has_inferior, paired.has_label | paired.has_superior)
    val = paired.rows("val", paired.has_inferior, paired.has_label)
    soft_nk = np.full((len(paired), k), 1.0 / k)
    if len(pairs):
        log_p = np.log(np.maximum(teacher.says(paired, pairs), 1e-12))
        if arm.control:
            order = {"labels_n": paired.labels[pairs], "seed": job.seed, "permutation": arm.permutation}
            log_p = in_control_order(arm.control, log_p, **order)
        soft_nk[pairs] = softmax(log_p / settings.temperature)
    known, seen = paired.has_label[train], paired.is_pair[train]
    return Lesson(
        student=build_decoder(job.decoder.name, target=paired.target, **job.decoder.params),
        x_nd=paired.inferior_nd[train],
        labels=np.where(known, paired.labels[train], soft_nk[train].argmax(axis=1)),
        hard_n=known * np.where(seen, 1.0 - settings.imitation, 1.0),
        soft_n=seen * settings.imitation,
        soft_nk=soft_nk[train],
        temperature=settings.temperature if arm.row == KD else 1.0,
        x_val_nd=paired.inferior_nd[val],
        labels_val=paired.labels[val],
        seed=job.seed,
    )
