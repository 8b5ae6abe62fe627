"""The teachers of distillation: decoders of row S, none of which has seen the label of a case that it teaches.

A teacher says of the cases it was fitted on what their labels say, and a student learns nothing new from that. In mode
matched, the labelled train cases are taught by a decoder that was fitted without their fold. In mode as-published the
stored D_S teaches, in-sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.input_rows import Arm, S
from guidestore.heads.outcomes import said
from guidestore.heads.protocol import FrozenDecoder, FrozenForeteller
from guidestore.heads.registry import load_any_decoder
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.train import train_rows
from guidestore.heads.trained import TrainedHead
from guidestore.heads.transfer.inner_cv import draw_folds


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Of one training set."""

    whole: FrozenDecoder | FrozenForeteller | None
    """Fitted on all labelled cases; None where it diverged."""
    without_fold: tuple[tuple[np.ndarray, FrozenDecoder | FrozenForeteller], ...] = ()
    """Rows of a fold, and the decoder that did not see their labels."""
    diverged: str = ""
    """Why there is none; '' where all is well."""

    def says(self, paired: PairedCodes, rows_n: np.ndarray) -> np.ndarray:
        """(n, k) probabilities of cases that have z_S, or values; risks from their mean over these cases."""
        assert self.whole is not None  # noqa: S101  (of its caller)
        said_nk = _said(self.whole, paired, rows_n)
        for fold_n, decoder in self.without_fold:
            own = np.isin(rows_n, fold_n)
            if own.any():
                said_nk[own] = _said(decoder, paired, rows_n)[own]
        return said_nk


def train_teachers(jobs: Sequence[RowsJob], *, device: str) -> list[Teacher]:
    """The teacher of each job; all decoders are fitted together. Raises InvalidInputError."""
    folds = [_folds(job) if job.mode == "matched" else [] for job in jobs]
    asked: list[RowsJob] = []
    for job, of_job in zip(jobs, folds, strict=True):
        asked.append(replace(job, arms=(Arm(S),)))
        asked += [replace(job, arms=(Arm(S),), paired=_without(job.paired, fold_n)) for fold_n in of_job]
    trained = iter([heads[0] for heads in train_rows(asked, device=device)])
    return [_teacher([next(trained) for _ in range(1 + len(of_job))], of_job) for of_job in folds]


def _teacher(heads: Sequence[TrainedHead], folds: Sequence[np.ndarray]) -> Teacher:
    message = next((head.message for head in heads if head.status == "diverged"), "")
    if message:
        return Teacher(None, diverged=message)
    whole, *others = (load_any_decoder(*head.components["decoder"]) for head in heads)
    return Teacher(whole, tuple(zip(folds, others, strict=True)))


def _said(decoder: FrozenDecoder | FrozenForeteller, paired: PairedCodes, rows_n: np.ndarray) -> np.ndarray:
    said_nk = said(decoder, paired.superior_nd[rows_n])
    # A risk has no zero, so each teacher's is another.
    return said_nk - said_nk.mean(axis=0) if paired.kind == "survival" else said_nk


def _folds(job: RowsJob) -> list[np.ndarray]:
    """Rows of the labelled train cases with z_S that each teacher does without; a case without which there were nothing
    to learn is kept."""
    paired = job.paired
    rows_n = job.labelled("train", S)
    held = [split.held_n for split in draw_folds(paired, rows_n, seed=[job.seed, 0])]
    return [fold_n[~_needed(paired, rows_n)[np.isin(rows_n, fold_n)]] for fold_n in held]


def _needed(paired: PairedCodes, rows_n: np.ndarray) -> np.ndarray:
    """(n,) bool: the only case of its class, with an event, or with a label or without it."""
    y = paired.y[rows_n]
    if paired.kind in ONE_CLASS_KINDS:
        return np.bincount(y, minlength=len(paired.classes))[y] == 1
    if paired.kind == "survival":
        return (y[:, 1] == 1) & (y[:, 1].sum() == 1)
    if paired.kind == "value":
        return np.zeros(len(y), dtype=bool)
    return np.any([(y == has) & ((y == has).sum(axis=0) == 1) for has in (0.0, 1.0)], axis=(0, 2))


def _without(paired: PairedCodes, rows_n: np.ndarray) -> PairedCodes:
    y = paired.y.copy()
    y[rows_n] = -1 if paired.kind in ONE_CLASS_KINDS else np.nan
    return paired.with_y(y)
