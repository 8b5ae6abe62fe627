"""Trains label transfer on paired codes: row T(I), its references S+I, S and I, and its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_flag, check_number, check_seed
from guidestore.heads.choice import Choice
from guidestore.heads.controls import CONTROLS, OWN, in_control_order
from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import INPUT_ROWS, S_PLUS_I, TAUGHT, Arm, I, S, arms_of, input_row
from guidestore.heads.outcomes import check_target, reference_of, said, strata
from guidestore.heads.protocol import GuidanceModel
from guidestore.heads.registry import STUDENTS, build_guidance, build_student, guidance_choice
from guidestore.heads.trained import Component, TrainedHead
from guidestore.heads.transfer.cases import Cases
from guidestore.heads.transfer.decoder import StudentDecoder
from guidestore.heads.transfer.foreteller import StudentForeteller
from guidestore.heads.transfer.inner_cv import inner_splits, shows_all_classes
from guidestore.heads.transfer.lesson import Chosen, Lesson
from guidestore.heads.transfer.preparation import Preparation
from guidestore.heads.transfer.students.common.protocol import Student
from guidestore.heads.transfer.teacher import MARGIN, Teacher, choose_teacher, teaches

LABEL_TRANSFER = "label_transfer"
"""The guidance of row T(I), as tables name it."""
TRANSFER_ROWS = (S_PLUS_I, S, I, TAUGHT)
"""In the order of tables."""


@dataclass(frozen=True, slots=True, eq=False)
class TransferJob:
    """One training set under one seed."""

    paired: PairedCodes
    seed: int


def train_transfer(
    jobs: Sequence[TransferJob],
    *,
    student: str,
    student_params: Mapping[str, Any] | None = None,
    guidance: str | Choice = "",
    guidance_params: Mapping[str, Any] | None = None,
    permutations: int = 5,
    noisy_labels: bool = False,
    rows: Sequence[str] = TRANSFER_ROWS,
) -> list[list[TrainedHead]]:
    """Per job: the `rows`, each with the same student family; then the controls of T(I).

    S+I, S and I are the student on that input, on all labelled train cases that have it. T(I) reads z_I alone, and
    learns the teacher's scores on the unlabelled train pairs too. Everything is chosen by inner cross-validation of the
    labelled train cases; val serves choices only where these cannot be cut into folds; val and test are predicted once.

    student: a name of heads.transfer.students, with parameters that override its defaults. guidance: a G as
    `guidance_choice` takes it; where given, the student of T(I) reads [G(z_I), z_I], which makes it the paper's D_c
    with the teacher's scores as an extra term. noisy_labels: labels may be wrong, so the targets of labelled pairs may
    be mixed with the teacher's. permutations: shuffled controls; permutation p shuffles z_S over all train pairs by
    (seed, p), and G and teacher are fitted anew.

    The gate is that of the true pairs: where it is closed, T(I) and its controls are row I itself (with G: the plain
    D_c). A control passes where T(I) passes: by a gate of its own it would nearly always be row I, and test nothing.

    All input is checked before anything is trained; a fit that diverges marks its head. Raises InvalidInputError.
    """
    asked = _Asked(
        Choice.of(student, student_params),
        guidance_choice(guidance, guidance_params) if guidance else None,
        noisy_labels,
    )
    check_flag(noisy_labels, "noisy_labels")
    check_number(permutations, "permutations", 0, integer=True)
    if not rows or len(set(rows)) != len(rows):
        raise InvalidInputError(f"rows are {', '.join(rows) or 'empty'}; name each wanted row once")
    for row in rows:
        input_row(row, TRANSFER_ROWS)
    if guidance_params and not guidance:
        raise InvalidInputError("guidance_params are given without a guidance; name the G that they are for")
    asked.build_student()
    if asked.guidance:
        build_guidance(asked.guidance.name, **asked.guidance.params)
    for job in jobs:
        if not teaches(asked.student.name, job.paired.kind):
            others = " or ".join(name for name in STUDENTS.names() if teaches(name, job.paired.kind))
            raise InvalidInputError(
                f"student {asked.student.name!r} learns probabilities of classes, and {job.paired.target} is of kind "
                f"{job.paired.kind}; choose {others}"
            )
        _check(job, rows)
    return [_Transfer(job, asked).heads(rows, permutations) for job in jobs]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to train, for all jobs."""

    student: Choice
    guidance: Choice | None
    """G of the D_c; None where the student reads z_I alone."""
    noisy_labels: bool

    def build_student(self) -> Student:
        return build_student(self.student.name, **self.student.params)

    @property
    def decoder_name(self) -> str:
        """FAMILY-student and its parameters, so that tables keep it apart from the decoder of that family."""
        return str(Choice.of(f"{self.student.name}-student", self.student.params))

    @property
    def guidance_name(self) -> str:
        """label_transfer and what differs from its defaults."""
        params: dict[str, Any] = {"guidance": str(self.guidance)} if self.guidance else {}
        return str(Choice.of(LABEL_TRANSFER, params | ({"noisy_labels": True} if self.noisy_labels else {})))


def _check(job: TransferJob, rows: Sequence[str]) -> None:
    """The training set can be cut, shows every class to every row, and has pairs."""
    paired = job.paired
    check_seed(job.seed)
    where = f"{paired.cohort}/{paired.split}/{paired.fold}"
    if paired.kind == "classes" and len(paired.classes) < 2:
        raise InvalidInputError(f"target {paired.target} has fewer than 2 classes; there is nothing to predict")
    for row in rows:
        has = INPUT_ROWS[row].has(paired)
        labelled = paired.rows("train", paired.has_label)
        if paired.kind != "classes":
            check_target(paired, labelled[has[labelled]], row, INPUT_ROWS[row].needs)
        elif not shows_all_classes(paired, labelled, has):
            missing = sorted(set(range(len(paired.classes))) - set(paired.labels[labelled[has[labelled]]].tolist()))
            raise InvalidInputError(
                f"{where}: no train case that row {row} can read is labelled "
                f"{' or '.join(paired.classes[c] for c in missing)} for {paired.target}; label one, or leave the row "
                "out"
            )
    if len(paired.rows("train", paired.is_pair)) < 2:
        raise InvalidInputError(
            f"{where} has fewer than 2 train pairs, so nothing can be taught; "
            + paired.why_unpaired("materialize both modalities")
        )
    if not inner_splits(paired) and paired.kind != "classes":
        raise InvalidInputError(
            f"{where}: no labelled train cases of {paired.target} can be held out with something left to learn, and "
            "val has none; label more cases, or draw a split with a val part"
        )
    if not inner_splits(paired):
        raise InvalidInputError(
            f"{where}: a class of {paired.target} has a single labelled train case and val has none, so nothing can be "
            "chosen; label two cases of each class, or draw a split with a val part"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """The student of one row or control."""

    decoder: StudentDecoder | StudentForeteller
    guidance: GuidanceModel | None = None
    facts: dict[str, float] = field(default_factory=dict)


class _Transfer:
    """One job."""

    def __init__(self, job: TransferJob, asked: _Asked) -> None:
        self.paired, self.seed, self.asked, self.student = job.paired, int(job.seed), asked, asked.build_student()
        self.cases = Cases.of(job.paired, seed=self.seed)

    def heads(self, rows: Sequence[str], permutations: int) -> list[TrainedHead]:
        return [self.head(arm) for arm in arms_of(rows, permutations)]

    @cached_property
    def teacher(self) -> Teacher | None:
        """On the true pairs."""
        return choose_teacher(self.cases, (S, S_PLUS_I))

    @cached_property
    def own(self) -> tuple[Chosen, StudentDecoder | StudentForeteller]:
        """Row I: labels only."""
        return self.reference(I)

    @cached_property
    def inferior_teacher(self) -> Teacher | None:
        """On z_I: that of the control `own`."""
        return choose_teacher(self.cases, (I,))

    @cached_property
    def known_without(self) -> float:
        """Inner cross-validation of z_I at its best, by the student or by a teacher's family: a teacher that is only
        the better model of the same codes shall not pass for one that knows more."""
        of_teacher = self.inferior_teacher.score if self.inferior_teacher else 0.0
        return max(self.own[0].score, of_teacher)

    @property
    def gate(self) -> bool:
        """Whether the teacher knows more than z_I."""
        return self.teacher is not None and self.teacher.score >= self.known_without + MARGIN

    @property
    def teaches(self) -> bool:
        """Whether the teacher has anything to say to the student that labels do not."""
        return self.gate and (self.asked.noisy_labels or len(self.cases.unlabelled_pairs) > 0)

    def reference(self, row: str) -> tuple[Chosen, StudentDecoder | StudentForeteller]:
        """S+I, S or I: the student on that input, labels only."""
        lesson = Lesson(self.student, self.cases, *self.cases.read(row))
        chosen = lesson.choose()
        return chosen, self.decoder(lesson, chosen, self.cases.preparation(row))

    def decoder(self, lesson: Lesson, chosen: Chosen, preparation: Preparation) -> StudentDecoder | StudentForeteller:
        facts = {"inner_cv": chosen.score, "regularisation": float(self.student.regularisations[chosen.place])}
        held = (lesson.held_rows, np.concatenate(chosen.held_out))
        return self.cases.learning.decoder(self.student, preparation, lesson.fit(chosen), *held, facts)

    def taught(self, control: str, permutation: int) -> _Fitted:
        """T(I): the student taught by the teacher where the gate is open, else by labels alone."""
        cases, teacher = self.cases, self.inferior_teacher if control == OWN else self.teacher
        if control and CONTROLS[control].orders and self.teaches:
            cases = cases.permuted(control, permutation)
            teacher = choose_teacher(cases, (S, S_PLUS_I))
        facts = {
            "gate": float(self.gate),
            "teacher_cv": teacher.score if teacher else float("nan"),
            "inferior_cv": self.known_without,
            "weight": 0.0,
            "lambda": 1.0,
            "unlabelled_pairs": 0.0,
        }
        if teacher:
            facts |= {"teacher_reads_both": float(teacher.reads == S_PLUS_I), "teacher_sharpness": teacher.sharpness}
        g = self.asked.guidance if control != OWN else None
        model = self.fit_guidance(g, control, permutation) if g else None
        if model is None and not self.teaches:
            return _Fitted(self.own[1], None, facts)
        preparation, x_nr = cases.of_inferior, cases.inferior_nr
        if model is not None:
            preparation, x_nr = self.read_guided(model)
        active = teacher if self.teaches else None
        lesson = Lesson(self.student, cases, x_nr, self.paired.has_inferior, active, self.asked.noisy_labels)
        chosen = lesson.choose()
        n_taught = len(cases.unlabelled_pairs) if chosen.weight > 0 else 0
        facts |= {"weight": chosen.weight, "lambda": chosen.lam, "unlabelled_pairs": float(n_taught)}
        return _Fitted(self.decoder(lesson, chosen, preparation), model, facts)

    def fit_guidance(self, asked: Choice, control: str, permutation: int) -> GuidanceModel:
        """G on the train pairs, in the order of the control."""
        pairs = self.cases.pairs
        z_superior_nd, labels_n = self.paired.superior_nd[pairs], strata(self.paired)[pairs]
        z_superior_nd = in_control_order(control, z_superior_nd, labels_n, seed=self.seed, permutation=permutation)
        model = build_guidance(asked.name, **asked.params)
        return model.fit(self.paired.inferior_nd[pairs], z_superior_nd, seed=self.seed)

    def read_guided(self, model: GuidanceModel) -> tuple[Preparation, np.ndarray]:
        """[G(z_I), z_I] of all cases, and its preparation."""
        has, cases = self.paired.has_inferior, self.cases
        guided_nd = np.full((len(has), self.paired.superior_nd.shape[1]), np.nan)
        guided_nd[has] = model.predict(self.paired.inferior_nd[has])
        of_guided = Preparation.fit(guided_nd[has & (self.paired.parts == "train")], f"G(z_I) of {self.paired.cohort}")
        preparation = Preparation.side_by_side(of_guided, cases.of_inferior)
        return preparation, np.hstack([of_guided.apply(guided_nd), cases.inferior_nr])

    def raw(self, row: str, rows_n: np.ndarray, model: GuidanceModel | None) -> np.ndarray:
        """(m, d) what the stored decoder of `row` reads."""
        z_inferior_nd, z_superior_nd = self.paired.inferior_nd[rows_n], self.paired.superior_nd[rows_n]
        if row == S:
            return z_superior_nd
        if row == S_PLUS_I:
            return np.hstack([z_superior_nd, z_inferior_nd])
        if model is None:
            return z_inferior_nd
        return np.hstack([model.predict(z_inferior_nd), z_inferior_nd])

    def head(self, arm: Arm) -> TrainedHead:
        """The row predicted, or marked as diverged."""
        paired, taught, has = self.paired, arm.row == TAUGHT, INPUT_ROWS[arm.row].has(self.paired)
        head = TrainedHead(
            *(arm.row, "matched", self.asked.guidance_name if taught else "", self.asked.decoder_name),
            *(arm.control, arm.permutation, self.seed),
            n_pairs=len(self.cases.pairs) if taught else 0,
            n_train=len(paired.rows("train", paired.has_label, has)),
        )
        try:
            if taught:
                fitted = self.taught(arm.control, arm.permutation)
            else:
                fitted = _Fitted((self.own if arm.row == I else self.reference(arm.row))[1])
        except DivergedError as error:
            return head.diverged(error)
        decoder, model = fitted.decoder, fitted.guidance
        components: dict[str, Component] = {"decoder": (decoder.config, decoder.tensors())}
        if model is not None:
            components["guidance"] = (model.config, model.tensors())
        facts = {f"guidance_{name}": value for name, value in fitted.facts.items()}
        facts |= {f"decoder_{name}": value for name, value in decoder.facts.items()}
        reference = reference_of(paired)
        return replace(head, components=components, facts=facts).predicting(
            paired, has, lambda rows_n: said(decoder, self.raw(arm.row, rows_n, model), reference)
        )
