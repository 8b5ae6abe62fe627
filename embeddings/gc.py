"""Sweeps what crashed writers left: files no commit names, old enough that nobody is about to commit them."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

from guidestore.embeddings.checkpoints import unnamed_segments
from guidestore.embeddings.commit_log import read_commit
from guidestore.embeddings.log_table import empty_table, fold
from guidestore.embeddings.storage import StoredFile, each
from guidestore.embeddings.store import EmbeddingStore

ORPHAN_AGE_H = 24.0
"""A writer publishes data before its commit; nothing takes a day between the two."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What gc found: orphans old enough to go, and younger ones that stay."""

    swept: tuple[StoredFile, ...]
    kept: tuple[StoredFile, ...]
    dry_run: bool

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.swept)


def collect(store: EmbeddingStore, *, dry_run: bool, older_than_h: float = ORPHAN_AGE_H) -> Sweep:
    """Finds orphans under objects/ and staging/, and segments of checkpoints that were never finished.

    Unless `dry_run`, deletes those older than `older_than_h` hours.

    The orphans are listed before the log is read, so a file committed in between is not taken for one.
    """
    segments = unnamed_segments(store.storage)
    candidates = [*store.storage.list("objects"), *store.storage.list("staging"), *segments]
    head = store.log.refresh()
    # Folded from the commits, not from a checkpoint: nothing is deleted on the word of a shortcut.
    read = functools.partial(read_commit, store.storage)
    commits = list(each(store.storage, read, range(1, head + 1)))
    table = fold(empty_table(), commits)
    named = {file["path"] for files in table["files"].to_pylist() for file in files}
    named -= {row["path"] for row in table.to_pylist() if row["kind"] == "tombstone"}
    named |= {commit.add_file.path for commit in commits if commit.add_file}
    now = time.time()
    orphans = [file for file in candidates if file.path not in named]
    old = [file for file in orphans if now - file.modified_at > older_than_h * 3600]
    if not dry_run:
        for file in old:
            store.storage.delete(file.path)
    return Sweep(tuple(old), tuple(file for file in orphans if file not in old), dry_run)
