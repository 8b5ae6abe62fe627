"""A network on z_I that learns from labels and from a teacher's probabilities: the paper's D_c with other targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.checks import check_fit, check_seed
from guidestore.heads.decoders.common.class_weights import weights_as_given_k
from guidestore.heads.decoders.mlp import Mlp
from guidestore.heads.errors import DivergedError
from guidestore.heads.networks import diverged, layers_to_tensors
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One fit of a student. n rows are labelled, or seen by the teacher, or both."""

    student: Mlp
    """Unfitted."""
    x_nd: np.ndarray
    """(n, d_I)."""
    labels: np.ndarray
    """(n,) the label, or the teacher's guess where there is none: class weights and samplers go by it."""
    hard_n: np.ndarray
    """(n,) weight of the cross-entropy to the label; 0 where there is none."""
    soft_n: np.ndarray
    """(n,) weight of that to the teacher; 0 for rows that it did not see."""
    soft_nk: np.ndarray
    """(n, k) the teacher's probabilities, softened."""
    temperature: float
    """Of the student in the soft term."""
    x_val_nd: np.ndarray
    """(n_val, d_I), for early stopping on the labels alone."""
    labels_val: np.ndarray
    """(n_val,)."""
    seed: int


def teach(lessons: Sequence[Lesson], *, device: str) -> list[tuple[Mlp, dict[str, float]] | DivergedError]:
    """Each student, fitted, as the mlp that it is, with facts; or its divergence. Raises InvalidInputError."""
    from guidestore.heads.training.head import Diverged, Head, SoftClasses
    from guidestore.heads.training.train import train

    heads: list[Head] = []
    scales: list[Standardiser] = []
    for lesson in lessons:
        student, k = lesson.student, lesson.soft_nk.shape[1]
        use = student.settings
        x_nd, labels, x_val_nd, labels_val = check_fit(
            lesson.x_nd, lesson.labels, lesson.x_val_nd, lesson.labels_val, k, "student"
        )
        scale = Standardiser.fit(x_nd) if use.standardise else Standardiser.identity(x_nd.shape[1])
        task = SoftClasses(
            labels=labels,
            x_val_nd=scale.apply(x_val_nd).astype(np.float32),
            labels_val=labels_val,
            class_weights=weights_as_given_k(use.class_weights, labels, k, "student"),
            weighted_sampler=use.weighted_sampler,
            patience=use.patience,
            relu_dropout_on_logits=use.relu_dropout_on_logits,
            hard_n=lesson.hard_n,
            soft_n=lesson.soft_n,
            soft_nk=lesson.soft_nk,
            temperature=lesson.temperature,
        )
        heads.append(
            Head(
                x_nd=scale.apply(x_nd).astype(np.float32),
                task=task,
                hidden=use.hidden,
                dropout=use.dropout,
                learning_rate=use.learning_rate,
                weight_decay=use.weight_decay,
                epochs=use.epochs,
                batch_size=use.batch_size,
                seed=check_seed(lesson.seed),
            )
        )
        scales.append(scale)
    taught: list[tuple[Mlp, dict[str, float]] | DivergedError] = []
    for lesson, head, scale, trained in zip(lessons, heads, scales, train(heads, device=device), strict=True):
        if isinstance(trained, Diverged):
            taught.append(diverged("student", trained.epoch, trained.loss, head.learning_rate))
            continue
        fitted = Mlp.from_tensors(lesson.student.config, scale.tensors("input") | layers_to_tensors(trained.layers))
        taught.append((fitted, {"best_epoch": float(trained.epoch), "val_loss": trained.loss}))
    return taught
