"""What kinds of targets mean for heads: what decoders say, what metrics hold it against, which cases are alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind, known_of, strata_of
from guidestore.embeddings.runs import REFERENCE_FACTS
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.metrics.survival import times_up_to

HORIZON_QUANTILE = 0.8
"""Of the times of the labelled train cases, up to which Uno's C looks: beyond, few are left, and what they say has the
largest weights."""


def n_outputs(kind: TargetKind, n_names: int) -> int:
    """`n_classes` of a decoder's fit."""
    return n_names if kind in (*ONE_CLASS_KINDS, "multilabel") else 1


def strata(paired: PairedCodes) -> np.ndarray:
    """(n,) int64: cases of one stratum have alike outcomes, as the train cases tell them apart; -1 where missing.

    The class or grade; ten bins of a value; event by three bins of time; the combination of labels. It is what "within
    class" and inner folds go by.
    """
    return strata_of(paired.kind, paired.y, paired.rows("train", paired.has_label))


def reference_of(paired: PairedCodes) -> float:
    """What metrics are held against, of the labelled train cases: a value's mean, the horizon of survival; else NaN."""
    y = paired.y[paired.rows("train", paired.has_label)]
    if paired.kind not in REFERENCE_FACTS or not len(y):
        return math.nan
    return float(y.mean()) if paired.kind == "value" else float(np.quantile(y[:, 0], HORIZON_QUANTILE))


def said(decoder: Any, x_nd: np.ndarray, reference: float = math.nan) -> np.ndarray:
    """(n, k) float64, as heads.metrics.metric says for the kind, of a FrozenDecoder or a FrozenForeteller.

    reference: the horizon, up to which survival is said; without one, the risk alone.
    """
    if hasattr(decoder, "predict_proba"):
        return decoder.predict_proba(x_nd)
    told = decoder.predict(x_nd)
    if told.ndim == 2:
        return told
    if hasattr(decoder, "survival") and math.isfinite(reference):
        return np.column_stack([told, decoder.survival(x_nd, times_up_to(reference))])
    return told[:, None]


def can_be_said(told_nk: np.ndarray, kind: TargetKind) -> bool:
    """Whether all of (n, k) is finite, and of classes, grades and labels probabilities, as `said` gives them."""
    if not np.isfinite(told_nk).all():
        return False
    if kind in (*ONE_CLASS_KINDS, "multilabel") and ((told_nk < 0).any() or (told_nk > 1 + 1e-4).any()):
        return False
    return kind not in ONE_CLASS_KINDS or bool(np.allclose(told_nk.sum(axis=1), 1, atol=1e-4))


def check_target(paired: PairedCodes, rows_n: np.ndarray, row: str, needs: str) -> None:
    """That the outcomes of the train cases `rows_n`, those with `needs`, can be learnt by row `row`.

    A grade that none has keeps its place. Raises InvalidInputError: a class or label that none has, one grade or value
    alone, no event.
    """
    where = f"{paired.cohort}/{paired.split}/{paired.fold}"
    if paired.kind in (*ONE_CLASS_KINDS, "multilabel") and len(paired.classes) < (2 - (paired.kind == "multilabel")):
        raise InvalidInputError(f"target {paired.target} has fewer than 2 classes; there is nothing to predict")
    y = paired.y[rows_n]
    if paired.kind == "ordinal":
        if len(np.unique(y)) < 2:
            of = f"is {paired.classes[y[0]]}" if len(y) else "is labelled"
            raise InvalidInputError(
                f"{where}: {'every' if len(y) else 'no'} train case with {needs} {of} for {paired.target}, which row "
                f"{row} cannot learn from; leave the target out or draw another split"
            )
        return
    if paired.kind == "classes":
        have = set(y.tolist())
        missing = [name for c, name in enumerate(paired.classes) if c not in have]
        if missing:
            anywhere = {paired.classes[c] for c in paired.labels[paired.has_label].tolist()}
            nowhere = [name for name in missing if name not in anywhere]
            what_to_do = "draw another split, or merge classes"
            if nowhere:
                what_to_do = (
                    f"no case is {' or '.join(nowhere)} at all, so take the target out (`guidestore cohort remove "
                    f"{paired.cohort} --target {paired.target}`) and add its labels again without that class"
                )
            raise InvalidInputError(
                f"{where}: no train case with {needs} is labelled {' or '.join(missing)} for {paired.target}, "
                f"which row {row} needs; {what_to_do}"
            )
        return
    if not len(y):
        raise InvalidInputError(
            f"{where}: no train case with {needs} has an outcome of {paired.target}, which row {row} needs; draw "
            "another split"
        )
    if paired.kind == "value" and np.ptp(y) == 0:
        raise InvalidInputError(
            f"{where}: {paired.target} is {y[0]:g} in every train case with {needs}, so there is nothing to learn; "
            "leave the target out"
        )
    if paired.kind == "survival" and not y[:, 1].any():
        raise InvalidInputError(
            f"{where}: no train case with {needs} has an event of {paired.target}, all are censored, so row {row} has "
            "nothing to learn; draw a split that is stratified by event, of fewer folds"
        )
    for label, name in enumerate(paired.classes if paired.kind == "multilabel" else ()):
        seen = np.unique(y[known_of(y[:, label]), label])
        if len(seen) < 2:
            told = "looked at" if not len(seen) else f"{'with' if seen[0] else 'without'} it and none the other way"
            raise InvalidInputError(
                f"{where}: label {name} of {paired.target} has no train case with {needs} {told}, so row {row} has "
                "nothing to learn; leave the label out or draw another split"
            )


def check_stop(paired: PairedCodes, rows_n: np.ndarray, row: str, needs: str) -> None:
    """That the val cases `rows_n` can stop a fit early. Raises InvalidInputError."""
    where = f"{paired.cohort}/{paired.split}/{paired.fold}"
    if not len(rows_n):
        raise InvalidInputError(
            f"{where}: no val case with {needs} is labelled for {paired.target}, so row {row} cannot stop early; "
            "draw a split with a val part"
        )
    if paired.kind == "survival" and not paired.y[rows_n, 1].any():
        raise InvalidInputError(
            f"{where}: no val case with {needs} has an event of {paired.target}, so row {row} cannot stop early; draw "
            "a split that is stratified by event, of fewer folds or a larger val part (--val)"
        )


def refuse_other_than_classes(paired: PairedCodes, what: str, instead: str) -> None:
    """For what reads class probabilities. Raises InvalidInputError."""
    if paired.kind != "classes":
        raise InvalidInputError(
            f"{what}, so it has no meaning for {paired.target}, a target of kind {paired.kind}; {instead}"
        )
