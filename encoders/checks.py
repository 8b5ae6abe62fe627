"""What encoders refuse and how they say it, so that each does so in the same words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag


def check_tiles(tiles_bhwc: object, encoder: str) -> None:
    """Raises InvalidInputError unless the batch is (b, h, w, 3) uint8."""
    if not isinstance(tiles_bhwc, np.ndarray) or tiles_bhwc.dtype != np.uint8 or tiles_bhwc.shape[3:] != (3,):
        raise InvalidInputError(
            f"encoder {encoder} takes tiles of shape (b, h, w, 3) uint8 RGB, not {_shown(tiles_bhwc)}; cut them with "
            "guidestore.encoders.slides"
        )


def check_photographs(photographs_bhwc: object, encoder: str) -> None:
    """Raises InvalidInputError unless the batch is (b, h, w, 3) uint8, each photograph with pixels."""
    if (
        not isinstance(photographs_bhwc, np.ndarray)
        or photographs_bhwc.dtype != np.uint8
        or photographs_bhwc.shape[3:] != (3,)
        or not min(photographs_bhwc.shape[1:])
    ):
        raise InvalidInputError(
            f"encoder {encoder} takes photographs of shape (b, h, w, 3) uint8 RGB, not {_shown(photographs_bhwc)}; "
            "load them with guidestore.encoders.photographs.load_photograph"
        )


def check_volumes(volumes_bcdhw: object, channels: int, encoder: str) -> None:
    """Raises InvalidInputError unless the batch is (b, `channels`, d, h, w) float32."""
    if (
        not isinstance(volumes_bcdhw, np.ndarray)
        or volumes_bcdhw.dtype != np.float32
        or volumes_bcdhw.ndim != 5
        or volumes_bcdhw.shape[1] != channels
    ):
        raise InvalidInputError(
            f"encoder {encoder} takes volumes of shape (b, {channels}, d, h, w) float32, not {_shown(volumes_bcdhw)}; "
            "load them with guidestore.encoders.volumes.load_volume and one channel per sequence"
        )


def check_bags(bags: Iterable[object], code_dim: int, encoder: str) -> None:
    """Raises InvalidInputError unless each bag has at least one tile and codes of `code_dim`."""
    for number, bag in enumerate(bags):
        if not isinstance(bag, Bag) or bag.features_nd.shape[1] != code_dim:
            shown = _shown(bag.features_nd) if isinstance(bag, Bag) else type(bag).__name__
            raise InvalidInputError(
                f"encoder {encoder} takes bags of {code_dim}-d patch codes, but item {number} of the batch is {shown}; "
                "use the patch encoder that it was trained with"
            )
        if len(bag) == 0:
            raise InvalidInputError(
                f"encoder {encoder} cannot pool item {number} of the batch: its bag has no tiles (a slide without "
                "tissue); leave that case out"
            )


def reason(error: Exception) -> str:
    """What a library's error says, on one line, for use within a sentence."""
    return " ".join(str(error).split()) or type(error).__name__


def _shown(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
