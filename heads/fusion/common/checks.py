"""Checks of the two codes that come into a fusion. All raise InvalidInputError with one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind, check_y
from guidestore.heads.checks import check_codes, check_fit
from guidestore.heads.decoders.common.foretelling import checked_outcomes
from guidestore.heads.fusion.common.protocol import Blocks


def check_blocks(blocks: Blocks, what: str, *, widths: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`blocks` as two C-contiguous float32 matrices of as many rows, of `widths` where given."""
    if len(blocks) != 2:
        raise InvalidInputError(f"{what}: codes are {len(blocks)}, but a fusion combines two; pass left and right")
    left_nd, right_nd = (
        check_codes(block_nd, f"{what}: {side} codes", code_dim=width)
        for block_nd, side, width in zip(blocks, ("left", "right"), widths or (None, None), strict=True)
    )
    if len(left_nd) != len(right_nd):
        raise InvalidInputError(
            f"{what}: {len(left_nd)} rows of the left code but {len(right_nd)} of the right; pass both codes of the "
            "same cases"
        )
    return left_nd, right_nd


def check_fusion_fit(
    blocks: Blocks,
    labels: np.ndarray,
    blocks_val: Blocks,
    labels_val: np.ndarray,
    n_classes: int,
    what: str,
    kind: TargetKind = "classes",
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The four inputs of a fusion's fit, checked together; every class must occur in train, and of other kinds there
    must be something to learn."""
    left_nd, right_nd = check_blocks(blocks, what)
    left_val_nd, right_val_nd = check_blocks(blocks_val, f"{what}: val", widths=(left_nd.shape[1], right_nd.shape[1]))
    labels, labels_val = check_fit_of(kind, left_nd, labels, left_val_nd, labels_val, n_classes, what)
    return (left_nd, right_nd), labels, (left_val_nd, right_val_nd), labels_val


def check_fit_of(
    kind: TargetKind,
    x_nd: np.ndarray,
    labels: np.ndarray,
    x_val_nd: np.ndarray,
    labels_val: np.ndarray,
    n_classes: int,
    what: str,
) -> tuple[np.ndarray, np.ndarray]:
    """y of train and of val, which can be learnt from as many codes."""
    if kind == "classes":
        _, labels, _, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, what)
        return labels, labels_val
    if kind != "multilabel":
        found = checked_outcomes(x_nd, labels, x_val_nd, labels_val, n_classes, kind, what)
        return found[1], found[3]
    for name, codes_nd, y in (("train", x_nd, labels), ("val", x_val_nd, labels_val)):
        check_codes(codes_nd, f"{what}: {name} codes", code_dim=x_nd.shape[1])
        check_y(kind, y, n_names=n_classes, what=f"{what}: {name} outcomes")
        if len(y) != len(codes_nd):
            raise InvalidInputError(f"{what}: {name} has {len(codes_nd)} codes and {len(y)} outcomes; give one each")
    return labels, labels_val
