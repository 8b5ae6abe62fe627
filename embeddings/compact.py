"""Joins the many small files of a code set into one; earlier snapshots keep the files they name."""

from __future__ import annotations

from guidestore.embeddings.retrying import until_undisturbed
from guidestore.embeddings.store import EmbeddingStore
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
        )
    return len(files)
