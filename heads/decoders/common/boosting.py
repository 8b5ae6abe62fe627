"""Boosted trees of the package xgboost, and how the store keeps them."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import take_bytes, take_tensor
from guidestore.heads.model import Tensors

if TYPE_CHECKING:
    from xgboost import Booster

type Boosted = tuple[Booster, bytes]
"""The trees, and what they were read from."""


def kept(booster: Booster) -> Boosted:
    """The booster as it is read back."""
    data = bytes(booster.save_raw("ubj"))
    return _read(data), data


def boosted_to_tensors(boosted: Boosted) -> dict[str, np.ndarray]:
    """The package's own binary JSON (UBJSON), which holds no code, with its CRC-32: the package ends the process on
    some damaged bytes, so they are not shown to it."""
    _, data = boosted
    return {"trees": np.frombuffer(data, dtype=np.uint8), "trees_crc32": np.array([float(zlib.crc32(data))])}


def boosted_from_tensors(tensors: Tensors, what: str) -> Boosted:
    """The inverse. Raises InvalidInputError."""
    data = take_bytes(tensors, "trees", what)
    if zlib.crc32(data) != take_tensor(tensors, "trees_crc32", (1,), what)[0]:
        raise InvalidInputError(f"{what}: the bytes of its trees are damaged; train it again, or restore the store")
    return _read(data), data


def _read(data: bytes) -> Booster:
    """Raises InvalidInputError where this version of the package cannot read them."""
    from xgboost import Booster
    from xgboost.core import XGBoostError

    booster = Booster({"nthread": 1, "verbosity": 0})
    try:
        booster.load_model(bytearray(data))
    except XGBoostError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"xgboost: its trees cannot be read ({reason}); install the xgboost that wrote them"
        ) from error
    return booster
