"""What a student of distillation learns from: labels, and what a teacher says of the pairs, by the kind of the target.

| student | of | the teacher's | softened |
|---|---|---|---|
| mlp of classes | classes, grades as classes | probabilities | both |
| one of those for each label | several labels | probability of each, where a label is missing too | both |
| mlp of grades | grades in their order | who goes on to the next grade | both |
| mlp of values | values | values | nothing: KD(I) is GD(I) |
| mlp of survival | times and events | risks, from their mean | nothing: KD(I) is GD(I) |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.baselines.student import Lesson, teach
from guidestore.heads.choice import Choice
from guidestore.heads.decoders.common.network import NetworkForeteller, Taught
from guidestore.heads.decoders.common.per_label import PerLabel
from guidestore.heads.decoders.mlp import Mlp
from guidestore.heads.errors import DivergedError
from guidestore.heads.networks import softmax
from guidestore.heads.outcomes import n_outputs
from guidestore.heads.protocol import Decoder, DecoderProblem, Foreteller
from guidestore.heads.registry import build_decoder, build_decoder_of
from guidestore.heads.rows.job import RowsJob


@dataclass(frozen=True, slots=True)
class Heat:
    """How a teacher is listened to."""

    teacher: float
    """What its log probabilities are divided by."""
    student: float
    """The same of the student's."""
    imitation: float
    """Weight of the teacher against the label."""


@dataclass(frozen=True, slots=True, eq=False)
class ForetellerLesson:
    """One fit of a student of an outcome that is no class."""

    problem: DecoderProblem
    taught: Taught


@dataclass(frozen=True, slots=True, eq=False)
class PerLabelLesson:
    """One fit of a student of each label."""

    student: PerLabel
    of_labels: Sequence[Lesson]


type AnyLesson = Lesson | ForetellerLesson | PerLabelLesson
type Student = tuple[Decoder | Foreteller, dict[str, float]]
"""Fitted, with facts."""


def build_student(job: RowsJob) -> Decoder | Foreteller:
    """The job's decoder for its target, unfitted. Raises InvalidInputError where it cannot be taught."""
    return student_of(job.decoder, job.paired.kind, job.paired.target)


def student_of(choice: Choice, kind: Any, target: str) -> Decoder | Foreteller:
    """As `build_student`."""
    student = build_decoder_of(kind, choice.name, target=target, **choice.params)
    within: Any = build_decoder(choice.name, target=target, **choice.params) if kind == "multilabel" else student
    if isinstance(within, Mlp) or (isinstance(within, NetworkForeteller) and within.can_be_taught):
        return student
    raise InvalidInputError(
        f"decoder {choice.name!r} cannot learn what a teacher says, which distillation teaches; use mlp or a preset of "
        "it"
    )


def lesson_of(job: RowsJob, says_pk: np.ndarray, heat: Heat) -> AnyLesson:
    """says_pk: (p, k) what the teacher says of the train pairs, as a control has put it."""
    paired, student = job.paired, build_student(job)
    says_nk = np.full((len(paired), says_pk.shape[1]), np.nan)
    says_nk[job.pairs] = says_pk
    if isinstance(student, PerLabel):
        lessons = []
        for label in range(len(paired.classes)):
            within = build_decoder(job.decoder.name, target=paired.target, **job.decoder.params)
            labels_n = np.nan_to_num(paired.y[:, label], nan=-1.0).astype(np.int64)
            of_label = says_nk[:, label]
            lessons.append(_of_classes(job, within, labels_n, np.column_stack([1.0 - of_label, of_label]), heat))
        return PerLabelLesson(student, lessons)
    if isinstance(student, Mlp):
        return _of_classes(job, student, paired.labels, says_nk, heat)
    own, val = (paired.rows(part, paired.has_inferior, paired.has_label) for part in ("train", "val"))
    more = paired.rows("train", paired.is_pair, ~paired.has_label)
    z_nd, k = paired.inferior_nd, n_outputs(paired.kind, len(paired.classes))
    taught = Taught(z_nd[more], says_nk[np.append(own, more)], heat.imitation, heat.teacher, heat.student)
    problem = DecoderProblem(student, z_nd[own], paired.y[own], z_nd[val], paired.y[val], k, job.seed)
    return ForetellerLesson(problem, taught)


def _of_classes(job: RowsJob, student: Any, labels_n: np.ndarray, says_nk: np.ndarray, heat: Heat) -> Lesson:
    """labels_n: (N,) -1 where unlabelled. says_nk: (N, k), NaN where the teacher said nothing."""
    paired, k = job.paired, says_nk.shape[1]
    labelled, seen = labels_n >= 0, ~np.isnan(says_nk).any(axis=1)
    train = paired.rows("train", paired.has_inferior, labelled | paired.has_superior)
    val = paired.rows("val", paired.has_inferior, labelled)
    soft_nk = np.full(says_nk.shape, 1.0 / k)
    soft_nk[seen] = softmax(np.log(np.maximum(says_nk[seen], 1e-12)) / heat.teacher)
    known, seen = labelled[train], seen[train]
    return Lesson(
        student=student,
        x_nd=paired.inferior_nd[train],
        labels=np.where(known, labels_n[train], soft_nk[train].argmax(axis=1)),
        hard_n=known * np.where(seen, 1.0 - heat.imitation, 1.0),
        soft_n=seen * heat.imitation,
        soft_nk=soft_nk[train],
        temperature=heat.student,
        x_val_nd=paired.inferior_nd[val],
        labels_val=labels_n[val],
        seed=job.seed,
    )


def teach_all(lessons: Sequence[AnyLesson], *, device: str) -> list[Student | DivergedError]:
    """Each student, fitted, or its divergence; those of one kind together. Raises InvalidInputError."""
    of_classes: list[Lesson] = []
    for lesson in lessons:
        if not isinstance(lesson, ForetellerLesson):
            of_classes += lesson.of_labels if isinstance(lesson, PerLabelLesson) else [lesson]
    taught = dict(zip(map(id, of_classes), teach(of_classes, device=device) if of_classes else [], strict=True))
    groups: dict[type, list[ForetellerLesson]] = {}
    for lesson in lessons:
        if isinstance(lesson, ForetellerLesson):
            groups.setdefault(type(lesson.problem.decoder), []).append(lesson)
    for kind, group in groups.items():
        problems, given = [lesson.problem for lesson in group], [lesson.taught for lesson in group]
        fitted = cast(type[NetworkForeteller], kind).fit_many(problems, device=device, taught=given)
        for lesson, done in zip(group, fitted, strict=True):
            taught[id(lesson)] = done if isinstance(done, DivergedError) else cast(Any, (done, dict(done.facts)))
    return [_together(lesson, taught) for lesson in lessons]


def _together(lesson: AnyLesson, taught: dict[int, Any]) -> Student | DivergedError:
    if not isinstance(lesson, PerLabelLesson):
        return taught[id(lesson)]
    parts = [taught[id(of_label)] for of_label in lesson.of_labels]
    lost = next((part for part in parts if isinstance(part, DivergedError)), None)
    if lost is not None:
        return lost
    lesson.student.decoders = tuple(decoder for decoder, _ in parts)
    names = parts[0][1]
    return lesson.student, {name: float(np.mean([facts[name] for _, facts in parts])) for name in names}
