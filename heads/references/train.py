"""Trains the references R(I)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_choice, check_seed
from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import REFERENCE
from guidestore.heads.kernels.outcomes import Scoring
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.selection import Fold, HeldOut, by_error, by_score, held_out
from guidestore.heads.kernels.smoother import CONSTANT, Decompositions, Kernel, Weights
from guidestore.heads.metrics import balanced_log_loss
from guidestore.heads.networks import softmax
from guidestore.heads.outcomes import check_target, said
from guidestore.heads.registry import build_student
from guidestore.heads.trained import TrainedHead
from guidestore.heads.transfer.inner_cv import repeated_folds, repeats_of
from guidestore.heads.transfer.students.common.protocol import Tensors
from guidestore.heads.transfer.targets import one_hot

LOGISTIC_ALPHAS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
"""Penalties of the logistic regressions, the strongest first (heads.transfer.students.logistic says of what)."""


Family = Kernel | Literal["logistic"]
Choice = Literal["loss", "score"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One of the decoders."""

    family: Family
    by: Choice
    """What its penalty is chosen by."""


_TITLES: Mapping[Family, str] = {"linear": "linear ridge", "rbf": "RBF ridge", "logistic": "logistic"}
_CHOICES: tuple[Choice, ...] = ("loss", "score")
REFERENCES: Mapping[str, Reference] = {
    f"reference, {title}, by {by}": Reference(family, by) for family, title in _TITLES.items() for by in _CHOICES
}
"""By the name of the decoder, as runs have it."""


def references_of(kind: TargetKind) -> tuple[str, ...]:
    """Names of those that a kind of target has: of outcomes that are no class the two ridges, on what links regress
    (heads.links); of a value by loss alone, which is R²."""
    return tuple(
        name
        for name, of in REFERENCES.items()
        if kind == "classes" or (of.family != "logistic" and (kind != "value" or of.by == "loss"))
    )


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceJob:
    """One reference on one training set under one seed."""

    paired: PairedCodes
    seed: int
    name: str
    """Of REFERENCES."""


def train_references(jobs: Sequence[ReferenceJob]) -> list[list[TrainedHead]]:
    """Per job its one head, of row R(I). Jobs of one training set and seed share all decompositions.

    Train alone decides but for the temperature, which is fitted on val where there is one; val and test are predicted
    once. Raises InvalidInputError where a class has no labelled train case with z_I, or z_I does not vary.
    """
    for job in jobs:
        check_seed(job.seed)
        check_choice(job.name, "reference", tuple(REFERENCES))
    sets = {(id(job.paired), job.seed): _TrainingSet(job.paired, job.seed) for job in jobs}
    return [[sets[id(job.paired), job.seed].head(job.name)] for job in jobs]


class _TrainingSet:
    """What the references of one training set and seed share."""

    def __init__(self, paired: PairedCodes, seed: int) -> None:
        self.paired, self.seed, self.k, self.scoring = paired, int(seed), len(paired.classes), Scoring.of(paired)
        self.rows = paired.rows("train", paired.has_label, paired.has_inferior)
        check_target(paired, self.rows, REFERENCE, "z_I")
        train = paired.rows("train", paired.has_inferior)
        self.preparation = Preparation.fit(paired.inferior_nd[train], f"z_I of {paired.cohort}")
        self.codes = Decompositions(self.preparation.apply(paired.inferior_nd), self.seed)
        self.splits = repeated_folds(paired, self.rows, repeats_of(len(self.rows)))
        self.targets_nk = self.scoring.targets(self.rows)
        self.held = np.concatenate([split.held_n for split in self.splits])
        self.places_m = np.searchsorted(self.rows, self.held)

    @cached_property
    def ridge(self) -> HeldOut:
        """What both kernels say of held-out cases."""
        folds = [Fold(s.fit_n, s.held_n, self.targets_nk[np.searchsorted(self.rows, s.fit_n)]) for s in self.splits]
        return held_out(self.codes, folds)

    def head(self, name: str) -> TrainedHead:
        """The reference predicted, or marked as diverged."""
        of, paired = REFERENCES[name], self.paired
        head = TrainedHead(REFERENCE, "matched", "", name, "", -1, self.seed, n_train=len(self.rows))
        try:
            alpha, held_mk, weights = self.logistic(of.by) if of.family == "logistic" else self.kernel(of.family, of.by)
        except DivergedError as error:
            return head.diverged(error)
        decoder = self.scoring.decoder(
            self.preparation, weights, paired.inferior_nd, paired.has_inferior, held_mk, self.held
        )
        facts = {"decoder_alpha": alpha, "decoder_inner_score": self.scoring.score(self.held, held_mk)}
        return replace(head, components={"decoder": (decoder.config, decoder.tensors())}, facts=facts).predicting(
            paired,
            paired.has_inferior,
            lambda rows_n: said(decoder, paired.inferior_nd[rows_n], self.scoring.reference),
        )

    def kernel(self, kernel: Kernel, by: str) -> tuple[float, np.ndarray, Weights]:
        """Penalty, what was held out, and weights of a ridge."""
        held: HeldOut = {kernel: self.ridge[kernel]}
        by_loss = by == "loss"
        targets_mk = self.targets_nk[self.places_m]
        chosen = by_error(held, targets_mk) if by_loss else by_score(held, self.held, self.scoring.score)
        weights = self.codes.of(kernel, self.rows).weights(self.targets_nk, chosen.alpha)
        return chosen.alpha, chosen.held_mk, weights

    @property
    def features_nr(self) -> np.ndarray:
        """Of the labelled cases, in the linear kernel: a rotation of their codes."""
        return self.codes.of("linear", self.rows).features_nr

    @cached_property
    def logits(self) -> list[np.ndarray]:
        """Per penalty (m, k) what logistic regression says of held-out cases."""
        parts = []
        for split in self.splits:
            held_mr = self.features_nr[np.searchsorted(self.rows, split.held_n)]
            parts.append([held_mr @ fit["weight"].T + fit["bias"] for fit in self.logistic_path(split.fit_n)])
        return [np.concatenate(of_alpha) for of_alpha in zip(*parts, strict=True)]

    def logistic_path(self, rows_n: np.ndarray) -> list[Tensors]:
        """One fit per penalty to labelled cases, in `features_nr`; classes balanced."""
        student = build_student("logistic", alphas=LOGISTIC_ALPHAS)
        features_nr = self.features_nr[np.searchsorted(self.rows, rows_n)]
        targets_nk = one_hot(self.paired.labels[rows_n], self.k)
        return student.fit_path(features_nr, targets_nk, np.ones(len(rows_n)), seed=self.seed)

    @cached_property
    def logistic_fits(self) -> list[Tensors]:
        """On all labelled cases."""
        return self.logistic_path(self.rows)

    def logistic(self, by: str) -> tuple[float, np.ndarray, Weights]:
        """As `kernel`, of logistic regression."""
        if by == "loss":
            labels_m = self.paired.labels[self.held]
            losses = [balanced_log_loss(labels_m, softmax(logits_mk)) for logits_mk in self.logits]
        else:
            losses = [-self.scoring.score(self.held, logits_mk) for logits_mk in self.logits]
        place = int(np.argmin(losses))
        fit, of = self.logistic_fits[place], self.codes.of("linear", self.rows)
        weight_ak = of.map_ar @ fit["weight"].T
        none = np.zeros((0, self.k))
        weights = Weights(weight_ak[:-1], CONSTANT * weight_ak[-1] + fit["bias"], of.landmarks_ld, none)
        return LOGISTIC_ALPHAS[place], self.logits[place], weights
