"""Joins the many small files of a code set into one; earlier snapshots keep the files they name."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.case_codes import COLUMNS
from guidestore.embeddings.records import Entry, FileRef, dedupe_paths
from guidestore.embeddings.retrying import until_undisturbed
from guidestore.embeddings.storage import each
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.tables import read_table
from guidestore.embeddings.types import CodeSetKey


def compact(store: EmbeddingStore, key: CodeSetKey) -> int:
    """Rewrites the case codes of `key` as one file in one commit; returns how many files it joined (0: nothing to do).

    Raises CommitConflictError if other processes keep changing the set, CorruptArtifactError on a damaged file.
    """
    return until_undisturbed(store, lambda: _attempt(store, key))


def _attempt(store: EmbeddingStore, key: CodeSetKey) -> int:
    snapshot = store.snapshot()
    entries = snapshot.code_set_entries(key)
    files = {entry.path for entry in entries}
    if key.kind != "codes" or len(files) < 2:
        return 0
    with store.begin(f"compaction of {key}", read_at=snapshot.read_at) as transaction:
        for entry in entries:
            transaction.replace(entry)
        transaction.write_codes(
            snapshot.codes(key),
            input_digests=[entry.inputs for entry in entries],
            pixels=[entry.meta.get("pixels", {}) for entry in entries],
            others=_other_columns(store, entries),
        )
    return len(files)


def _other_columns(store: EmbeddingStore, entries: Sequence[Entry]) -> pa.Table:
    """What a later guidestore keeps beside the codes, in the order of `entries`; null where a file lacks a column."""
    files = dedupe_paths([entry.files[0] for entry in entries])
    ours = set(COLUMNS) - {"artifact"}

    def others(file: FileRef) -> pa.Table:
        table = read_table(store.storage, file)
        return table.select([name for name in table.schema.names if name not in ours])

    rows = pa.concat_tables(each(store.storage, others, files), promote_options="permissive")
    order = pc.index_in(pa.array([entry.artifact for entry in entries]), rows["artifact"])
    return rows.drop_columns(["artifact"]).take(order)
