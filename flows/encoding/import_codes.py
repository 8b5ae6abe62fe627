"""Codes that others made -> the store: a code set, and a cohort around it where there is none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.alike import alike_ids, date_ids
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.codes import CodeColumns, CodesRead, NaNPolicy, read_codes
from guidestore.embeddings.leaks import labels_by_target, target_among
from guidestore.embeddings.log_table import empty_table, entry_of
from guidestore.embeddings.records import Entry
from guidestore.embeddings.remote import shown
from guidestore.embeddings.scratch import blocks, empty
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import (
    IMPORTED_CODES,
    UNKNOWN_TRAINING,
    CaseCodes,
    CodeSetKey,
    CodeSetName,
    EncoderSpec,
    FoldScope,
    check_name,
)
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.committing import register_encoder

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import brought."""

    code_set: CodeSetKey
    codes: int
    new: int
    replaced: int
    """Codes that were superseded."""
    columns: tuple[str, ...]
    """(d,) what the codes were read of."""
    notes: tuple[str, ...]
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
    how: CodeColumns | None = None,
    supersede: bool = False,
) -> ImportReport:
    """Imports the case codes in `file` (CSV, Excel, Parquet, npz, npy with ids) in one commit.

    `encoder` and `version` name what made them; other names make other code sets. Importing the same rows again is a
    no-op; other values for a case that has codes are refused, or take their place with `supersede` (the old ones stay
    in the history). Raises InvalidInputError, InvalidNameError; nothing is imported then.
    """
    how = how or CodeColumns()
    read = read_codes(file, ids=ids, how=how)
    named = {"cohort": cohort, "modality": modality, "encoder": encoder, "version": version}
    return add_codes(store, read, Path(shown(file)), **named, trained_on=trained_on, nan=how.nan, supersede=supersede)


def add_codes(
    store: EmbeddingStore,
    read: CodesRead,
    file: Path,
    *,
    cohort: str,
    modality: str,
    encoder: str,
    version: str = "1",
    trained_on: FoldScope = UNKNOWN_TRAINING,
    nan: NaNPolicy = "refuse",
    supersede: bool = False,
) -> ImportReport:
    """`import_codes` of what was read already. file: what errors call it. nan: how it was read."""
    for case_id in read.codes.case_ids:
        check_name(case_id, f"case id of {file}")
    _check_once(file, read.codes)
    snapshot = store.snapshot()
    cohort = snapshot.first_name(cohort)
    if trained_on.kind == "fold":
        trained_on = replace(trained_on, cohort=snapshot.first_name(trained_on.cohort))
    before = _standing(snapshot, CodeSetName(cohort, modality, encoder), version, trained_on)
    read = _in_order(read, before, file, supersede=supersede)
    _check_targets(snapshot, cohort, read, file)
    # What was read is a part of what the codes are: those of other columns never mix with these.
    preprocessing: dict[str, Any] = {"columns": list(read.columns)} if read.is_named else {}
    preprocessing |= {"nan": nan} if nan == "median" else {}
    spec = EncoderSpec(encoder, version, "codes", len(read.columns), "", preprocessing, trained_on)
    key = CodeSetKey.of(cohort, modality, spec)
    keyed = CaseCodes(read.codes.case_ids, read.codes.codes_nd, key=key)
    digests = [
        [hashlib.sha256(np.ascontiguousarray(row)).hexdigest()] for _, block in blocks(keyed.codes_nd) for row in block
    ]
    old = _superseded(before, keyed, [digest for (digest,) in digests], supersede=supersede)
    with store.begin(f"import of {key}", read_at=snapshot.read_at) as transaction:
        if not snapshot.rows("cohorts", cohort=cohort).num_rows:
            row = {"cohort": cohort, "layout": "import", "source": "", "pseudonymized": False, "note": ""}
            transaction.write_rows("cohorts", [row], cohort=cohort)
        known = set(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())
        new_cases = sorted(set(keyed.case_ids) - known)
        alike = "; ".join(filter(None, (alike_ids(new_cases, known), date_ids(new_cases))))
        if new_cases:
            transaction.write_rows(
                "cases", [{"cohort": cohort, "case_id": case_id} for case_id in new_cases], cohort=cohort
            )
        register_encoder(transaction, spec, {})
        artifacts = transaction.write_codes(keyed, input_digests=digests)
        by_case = dict(zip(keyed.case_ids, artifacts, strict=True))
        for entry in old:
            transaction.replace(entry, by=by_case[entry.case_id])
    new = sum(artifact not in snapshot.artifacts for artifact in artifacts)
    notes = (*read.notes, *[alike][: bool(alike)])
    return ImportReport(key, len(keyed), new, len(old), read.columns, notes, store.snapshot().version)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the store has under the name that codes are imported by."""

    key: CodeSetKey | None = None
    rows: pa.Table = field(default_factory=empty_table)
    """Of the log (schema `LOG_SCHEMA`): a million of them are no million objects."""
    columns: tuple[str, ...] = ()


def _standing(snapshot: Snapshot, name: CodeSetName, version: str, trained_on: FoldScope) -> _Standing:
    rows = {row["encoder_digest"]: row for row in snapshot.rows("encoders").to_pylist()}
    for key in snapshot.code_sets:
        row = rows.get(key.encoder_digest)
        if row is None or not name.means(key.name) or key.trained_on != trained_on:
            continue
        if row["input_kind"] == IMPORTED_CODES and row["version"] == version:
            rows = snapshot.select(
                kind="codes", cohort=key.cohort, modality=key.modality, encoder_digest=key.encoder_digest
            )
            return _Standing(key, rows, imported_columns(row))
    return _Standing()


def imported_columns(encoder: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a row of kind encoders was imported with; () where they had no names."""
    return tuple(json.loads(encoder["preprocessing"] or "{}").get("columns", ()))


def _check_once(file: Path, codes: CaseCodes) -> None:
    first: dict[str, int] = {}
    for row, case_id in enumerate(codes.case_ids):
        other = first.setdefault(case_id, row)
        if other != row:
            same = np.array_equal(codes.codes_nd[other], codes.codes_nd[row], equal_nan=True)
            said = "twice with the same values" if same else "twice with different values"
            raise InvalidInputError(f"{file}: case {case_id} comes {said}; keep one row of each case")


def _in_order(read: CodesRead, before: _Standing, file: Path, *, supersede: bool) -> CodesRead:
    """The columns in the order of those that the store has, where they have the same names.

    Raises InvalidInputError where they have others and do not take their place.
    """
    if not (before.columns and read.is_named) or before.columns == read.columns:
        return read
    if set(before.columns) != set(read.columns):
        if supersede:
            return read
        others = [name for name in read.columns if name not in before.columns]
        lacking = [name for name in before.columns if name not in read.columns]
        differ = [f"{file.name} has {_first(others)}"] * bool(others) + [f"lacks {_first(lacking)}"] * bool(lacking)
        raise InvalidInputError(
            f"{file}: the codes of {before.key} were read of other columns: {' and '.join(differ)}; choose the same "
            "with --columns or --drop, name another --encoder-version, or supersede them with --replace"
        )
    place = {name: d for d, name in enumerate(read.columns)}
    order = [place[name] for name in before.columns]
    codes_nd = empty(read.codes.codes_nd.shape, np.float32)
    for place, block in blocks(read.codes.codes_nd):
        codes_nd[place] = block[:, order]
    codes = replace(read.codes, codes_nd=codes_nd)
    note = f"the columns of {file.name} were put in the order of the codes in the store"
    return replace(read, codes=codes, columns=before.columns, notes=(*read.notes, note))


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _check_targets(snapshot: Snapshot, cohort: str, read: CodesRead, file: Path) -> None:
    """Raises InvalidInputError where a column is a target of the cohort, by its name or by its values."""
    for target in sorted(set(snapshot.rows("targets", cohort=cohort)["target"].to_pylist())):
        if read.is_named and target in read.columns:
            raise InvalidInputError(
                f"{file}, column {target} is named as target {target} of cohort {cohort}, and codes must not hold what "
                f"they foretell; leave it out with --drop '{target}'"
            )
    for target, labels in labels_by_target(snapshot.rows("labels", cohort=cohort).to_pylist()).items():
        found = target_among(read.codes.codes_nd, read.codes.case_ids, labels)
        if found is not None:
            raise InvalidInputError(
                f"{file}, column {read.columns[found]} is target {target} of cohort {cohort} in other words, and codes "
                f"must not hold what they foretell; leave it out with --drop '{read.columns[found]}'"
            )


def _superseded(before: _Standing, codes: CaseCodes, digests: Sequence[str], *, supersede: bool) -> list[Entry]:
    """What the codes take the place of. Raises InvalidInputError where they contradict what is there."""
    if before.key is None:
        return []
    new = dict(zip(codes.case_ids, digests, strict=True))
    same_set = before.key == codes.key
    rows = before.rows.filter(pc.field("case_id").isin(list(new)))
    cases, inputs = rows["case_id"].to_pylist(), rows["inputs"].to_pylist()
    others = [i for i, case_id in enumerate(cases) if not same_set or inputs[i] != [new[case_id]]]
    if not others and same_set:
        return []
    if not supersede:
        named = sorted({cases[i] for i in others} or set(before.rows["case_id"].to_pylist()))
        differ = "with other values" if same_set else "read of other columns, or with another --nan,"
        raise InvalidInputError(
            f"{before.key} has codes {differ} for {count_of(len(named), 'case')} (such as {named[0]}): --replace "
            "supersedes them (the old ones stay in the history), --encoder-version V keeps these beside them as "
            "another code set, or leave it as it is"
        )
    if not same_set and len(others) < len(before.rows):
        left = next(case_id for case_id in before.rows["case_id"].to_pylist() if case_id not in new)
        raise InvalidInputError(
            f"{before.key} has codes of other columns for {count_of(len(before.rows) - len(others), 'case')} that "
            f"the file lacks (such as {left}); replace all cases at once, or name another --encoder-version"
        )
    return [entry_of(row) for row in rows.take(others).to_pylist()]
