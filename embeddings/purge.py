"""A withdrawn case leaves every snapshot: its files are deleted, shared files rewritten without it.

Order: rewritten files are published under new names, one commit redirects every snapshot to them and leaves
tombstones, then the old files are deleted. Killed in between, `purge` run again deletes what is left. The case id
itself stays in the commits, which are create-only; `cohort add --pseudonymize` keeps real ids out from the start.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from embeddings.commit_log import NOT_ARTIFACTS
from embeddings.errors import NotFoundInStoreError
from embeddings.log_table import entry_of
from embeddings.records import Entry, FileRef, Purge, Redirect, dedupe_paths
from embeddings.storage import discard_staging
from embeddings.store import EmbeddingStore, actor
from embeddings.tables import read_table, write_table


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What went, and which trained weights saw the case in train or val and so should be trained again."""

    case_id: str
    artifacts: int
    rewritten: int
    deleted: int
    weights: tuple[Entry, ...]


def purge(store: EmbeddingStore, cohort: str, case_id: str) -> PurgeReport:
    """Removes a case from every snapshot. Raises NotFoundInStoreError if the cohort never had it.

    Predictions and rows of the case go too; weights that saw it stay and are named in the report.
    """
    snapshot = store.snapshot()
    rows = [row for row in snapshot.log.to_pylist() if row["cohort"] == cohort]
    entries = [entry_of(row) for row in rows if row["kind"] not in NOT_ARTIFACTS]
    own = [entry for entry in entries if entry.case_id == case_id]
    weights = _weights_that_saw(store, entries, cohort, case_id)
    staging = store.storage.staging()
    try:
        redirects = []
        for file in dedupe_paths([file for entry in entries for file in entry.files]):
            if any(file in entry.files for entry in own if entry.kind == "bag"):
                redirects.append(Redirect(file, None))
            elif file.path.endswith(".parquet"):
                redirect = _without_case(store, file, case_id, staging)
                redirects += [redirect] if redirect else []
    finally:
        discard_staging(staging)
    tombstones = [
        file for row in rows if row["kind"] == "tombstone" and row["case_id"] == case_id for file in row["files"]
    ]
    if not (own or redirects or tombstones):
        raise NotFoundInStoreError(
            f"cohort {cohort} has no case {case_id}; `guidestore cohort show {cohort}` lists them"
        )
    if own or redirects:
        item = Purge(cohort, case_id, tuple(entry.artifact for entry in own), tuple(redirects))
        store.log.append(purge=[item], actor=actor(), message=f"purge of a case of cohort {cohort}")
    old = {redirect.old.path for redirect in redirects} | {file["path"] for file in tombstones}
    for path in sorted(old):
        store.storage.delete(path)
    for stored in list(store.storage.list("checkpoints")):  # they list the case's files
        store.storage.delete(stored.path)
    store.log.checkpoint()
    rewritten = sum(redirect.new is not None for redirect in redirects)
    return PurgeReport(case_id, len(own), rewritten, len(old), tuple(weights))


def _without_case(store: EmbeddingStore, file: FileRef, case_id: str, staging: Path) -> Redirect | None:
    """A redirect to a rewritten file, None where the case is not in it."""
    table = read_table(store.storage, file)
    if "case_id" not in table.schema.names:
        return None
    kept = table.filter(pc.field("case_id") != case_id)
    if kept.num_rows == table.num_rows:
        return None
    staged = staging / f"{ULID()}.parquet"
    uncompressed = [field.name for field in kept.schema if pa.types.is_fixed_size_list(field.type)]
    write_table(staged, kept, uncompressed=uncompressed)
    place = f"{file.path.rsplit('/', 1)[0]}/{ULID()}.parquet"
    data = staged.read_bytes()
    store.storage.publish(staged, place)
    return Redirect(file, FileRef(place, len(data), hashlib.sha256(data).hexdigest()))


def _weights_that_saw(store: EmbeddingStore, entries: list[Entry], cohort: str, case_id: str) -> list[Entry]:
    splits = store.snapshot().rows("splits", cohort=cohort).to_pylist()
    saw = {
        (row["split"], row["fold"]) for row in splits if row["case_id"] == case_id and row["part"] in ("train", "val")
    }
    return [entry for entry in entries if entry.kind == "weights" and (entry.split, entry.fold) in saw]
