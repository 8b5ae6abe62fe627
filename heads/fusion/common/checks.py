"""Checks of the two codes that come into a fusion. All raise InvalidInputError with one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, check_fit
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
    blocks: Blocks, labels: np.ndarray, blocks_val: Blocks, labels_val: np.ndarray, n_classes: int, what: str
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The four inputs of a fusion's fit, checked together; every class must occur in train."""
    left_nd, right_nd = check_blocks(blocks, what)
    left_val_nd, right_val_nd = check_blocks(blocks_val, f"{what}: val", widths=(left_nd.shape[1], right_nd.shape[1]))
    _, labels, _, labels_val = check_fit(left_nd, labels, left_val_nd, labels_val, n_classes, what)
    return (left_nd, right_nd), labels, (left_val_nd, right_val_nd), labels_val
