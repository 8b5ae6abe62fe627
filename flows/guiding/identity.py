"""The identity of what heads are trained on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.types import CodeSetKey, PairedCodes

IMPLEMENTATION = "3"
"""Part of every run's recipe; bump it when a change of `heads` changes results, so that stored runs are not reused."""


def _once_each(digest: Callable[[PairedCodes], str]) -> Callable[[PairedCodes], str]:
    """`digest`, which reads all codes, once per object: a sweep asks for it with every head."""
    known: WeakKeyDictionary[PairedCodes, str] = WeakKeyDictionary()

    @functools.wraps(digest)
    def remembered(paired: PairedCodes) -> str:
        if paired not in known:
            known[paired] = digest(paired)
        return known[paired]

    return remembered


@_once_each
def paired_digest(paired: PairedCodes) -> str:
    """Identity of a training set: codes, cases, outcomes, parts, classes, and what kind of target they are of."""
    arrays = hashlib.sha256()
    for array in (paired.inferior_nd, paired.superior_nd, paired.y):
        arrays.update(np.ascontiguousarray(array))
    kind = [paired.kind, paired.unit] if paired.kind != "classes" else []
    return sha256_of(
        {
            "scope": [paired.cohort, paired.split, paired.fold, paired.target, paired.classes, *kind],
            "cases": paired.case_ids,
            "parts": paired.parts.tolist(),
            "keys": [encoder_digest(paired.inferior_key), encoder_digest(paired.superior_key)],
            "arrays": arrays.hexdigest(),
        }
    )


@_once_each
def pairs_digest(paired: PairedCodes) -> str:
    """Identity of what G is fitted on: the codes of the train pairs, whatever their labels."""
    rows = paired.rows("train", paired.is_pair)
    arrays = hashlib.sha256()
    for array in (paired.inferior_nd, paired.superior_nd):
        arrays.update(np.ascontiguousarray(array[rows]))
    return sha256_of(
        {
            "cases": [paired.case_ids[row] for row in rows],
            "keys": [encoder_digest(paired.inferior_key), encoder_digest(paired.superior_key)],
            "arrays": arrays.hexdigest(),
        }
    )


def encoder_digest(key: CodeSetKey | None) -> str:
    return key.encoder_digest if key else ""
