"""Codes that others made -> the store: a code set, and a cohort around it where there is none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidestore.embeddings.interchange.arrays import read_case_codes
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import UNKNOWN_TRAINING, CaseCodes, CodeSetKey, EncoderSpec, FoldScope, check_name
from guidestore.flows.encoding.committing import register_encoder


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import brought."""

    code_set: CodeSetKey
    codes: int
    new: int
    not_finite: int
    snapshot: int


def import_codes(
    store: EmbeddingStore,
    file: Path,
    *,
    cohort: str,
    modality: str,
    encoder: str,
    version: str = "1",
    trained_on: FoldScope = UNKNOWN_TRAINING,
    ids: Path | None = None,
) -> ImportReport:
    """Imports the case codes in `file` (CSV, Parquet, npz, npy with ids) in one commit.

    `encoder` and `version` name what made them; other names make other code sets. Importing the same rows again is a
    no-op. Raises InvalidInputError, InvalidNameError; nothing is imported then.
    """
    codes = read_case_codes(file, ids=ids)
    for case_id in codes.case_ids:
        check_name(case_id, f"case id of {file}")
    spec = EncoderSpec(encoder, version, "codes", codes.codes_nd.shape[1], trained_on=trained_on)
    key = CodeSetKey.of(cohort, modality, spec)
    keyed = CaseCodes(codes.case_ids, codes.codes_nd, key=key)
    digests = [[hashlib.sha256(np.ascontiguousarray(row)).hexdigest()] for row in keyed.codes_nd]
    before = store.snapshot().artifacts
    with store.begin(f"import of {key}") as transaction:
        if not store.snapshot().rows("cohorts", cohort=cohort).num_rows:
            row = {"cohort": cohort, "layout": "import", "source": "", "pseudonymized": False, "note": ""}
            transaction.write_rows("cohorts", [row], cohort=cohort)
        known = set(store.snapshot().rows("cases", cohort=cohort)["case_id"].to_pylist())
        new_cases = sorted(set(keyed.case_ids) - known)
        if new_cases:
            transaction.write_rows(
                "cases", [{"cohort": cohort, "case_id": case_id} for case_id in new_cases], cohort=cohort
            )
        register_encoder(transaction, spec, {})
        artifacts = transaction.write_codes(keyed, input_digests=digests)
    new = sum(artifact not in before for artifact in artifacts)
    broken = int((~np.isfinite(keyed.codes_nd).all(axis=1)).sum())
    return ImportReport(key, len(keyed), new, broken, store.snapshot().version)
