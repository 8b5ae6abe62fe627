"""What is missing in imported codes, filled in with the medians of the train cases of a fold."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CaseCodes, CodeSetKey


def fills_medians(snapshot: Snapshot, key: CodeSetKey) -> bool:
    """Whether the codes were imported with ``--nan median``: that is a part of their encoder's preprocessing."""
    rows = snapshot.rows("encoders").to_pylist()
    said = next((row["preprocessing"] for row in rows if row["encoder_digest"] == key.encoder_digest), "")
    return json.loads(said or "{}").get("nan") == "median"


def train_medians(codes: CaseCodes, parts: Mapping[str, str]) -> np.ndarray:
    """(d,) float32 medians over the train cases of `parts` (case_id -> part) that have one code, NaN left out.

    Raises InvalidInputError where a column has no value in any of them.
    """
    counts = Counter(codes.case_ids)
    rows = [i for i, case in enumerate(codes.case_ids) if parts.get(case) == "train" and counts[case] == 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a value, told below
        medians_d = np.nanmedian(codes.codes_nd[rows], axis=0).astype(np.float32)
    lacking = np.flatnonzero(~np.isfinite(medians_d))
    if lacking.size:
        raise InvalidInputError(
            f"column {lacking[0]} (from 0) of {codes.key} has no value in any of {len(rows)} train cases, so there "
            "is no median to fill in; import the codes with --nan drop-column, or leave the column out with --drop"
        )
    return medians_d


def filled(codes: CaseCodes, medians_d: np.ndarray) -> CaseCodes:
    """The codes with `medians_d` where they are NaN."""
    return replace(codes, codes_nd=np.where(np.isnan(codes.codes_nd), medians_d, codes.codes_nd))
