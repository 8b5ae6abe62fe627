"""What a control puts in place of z_S: a code made of z_I alone, z_I itself, or the label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_seed
from guidestore.heads.controls import LABEL_AGAIN, OWN
from guidestore.heads.scaling import Standardiser

_NEGLIGIBLE_SHARE = 1e-6
"""A direction whose singular value is below this share of the largest is rounding."""


def replaced(paired: PairedCodes, control: str, permutation: int, *, seed: int) -> PairedCodes:
    """`paired` with z_S replaced as a control of heads.controls says; cases, labels and parts stay as they are.

    self: of the width of z_S at most, drawn without the label, fitted on the z_I of the train cases: permutation 0 is
    the scores of standardised z_I on its principal directions, each further one a draw of random features
    max(0, z_I W + b) of it, W and b normal. own: z_I. label again: the label as one column per class, or the outcome,
    for labelled pairs of train and val alone.
    A case has the new z_S where it has z_S and z_I; of a class that then had none in train, all with z_I do.
    """
    has = _pairs_of_all_classes(paired)
    if control == OWN:
        codes_nd = paired.inferior_nd
    elif control == LABEL_AGAIN:
        codes_nd = _label_again(paired)
        has = has & paired.has_label & (paired.parts != "test")
    else:
        codes_nd = _of_inferior(paired, permutation, seed=seed)
    superior_nd = np.where(has[:, None], codes_nd, np.float32("nan"))
    return replace(paired, superior_nd=np.ascontiguousarray(superior_nd, dtype=np.float32), has_superior=has)


def _label_again(paired: PairedCodes) -> np.ndarray:
    """(n, c): a class or grade as one column each, labels as they are (.5 where not looked at), a value standardised,
    a time as its logarithm beside the event; NaN, or what counts as none, where the outcome is missing."""
    if paired.kind in ONE_CLASS_KINDS:
        return np.eye(len(paired.classes), dtype=np.float32)[paired.labels]
    y = paired.y
    if paired.kind == "multilabel":
        return np.where(np.isnan(y), 0.5, y)
    if paired.kind == "survival":
        return np.column_stack([np.log(y[:, 0]), y[:, 1]])
    train = y[paired.rows("train", paired.has_label)]
    return ((y - train.mean()) / (train.std() or 1.0))[:, None]


def _pairs_of_all_classes(paired: PairedCodes) -> np.ndarray:
    """(n,) bool."""
    has = paired.is_pair
    if paired.kind not in ONE_CLASS_KINDS:
        return has
    paired_classes = paired.labels[paired.rows("train", has)]
    return has | (paired.has_inferior & paired.has_label & ~np.isin(paired.labels, paired_classes))


def _of_inferior(paired: PairedCodes, kind: int, *, seed: int) -> np.ndarray:
    """(n, d) float32; rows without z_I hold NaN."""
    train, width = paired.rows("train", paired.has_inferior), paired.superior_nd.shape[1]
    scaled_nd = Standardiser.fit(paired.inferior_nd[train]).apply(paired.inferior_nd)
    if kind == 0:
        _, values_r, vt_rd = np.linalg.svd(scaled_nd[train], full_matrices=False)
        rank = max(1, int((values_r > _NEGLIGIBLE_SHARE * values_r[0]).sum()))
        return (scaled_nd @ vt_rd[: min(width, rank)].T).astype(np.float32)
    rng = np.random.default_rng([check_seed(seed), kind, 2])
    d = scaled_nd.shape[1]
    weights, bias = rng.standard_normal((d, width)) / np.sqrt(d), rng.standard_normal(width)
    return np.maximum(scaled_nd @ weights + bias, 0.0).astype(np.float32)
