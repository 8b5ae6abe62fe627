"""Sweeps what crashed writers left: files no commit names, old enough that nobody is about to commit them.

They go to the trash, where the next sweeps leave them for a day. The storage's own clock tells ages; what a writer has
a lease on stays, however old it looks.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow.compute as pc

from guidestore.embeddings import leases, trash
from guidestore.embeddings.checkpoints import unnamed_segments
from guidestore.embeddings.commit_log import edited, read_entries, read_record
from guidestore.embeddings.log_table import empty_table, files_named, fold
from guidestore.embeddings.records import Commit, FileRef
from guidestore.embeddings.storage import Storage, StoredFile, each
from guidestore.embeddings.store import EmbeddingStore

ORPHAN_AGE_H = 24.0
"""A writer publishes data before its commit; nothing takes a day between the two."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What gc found."""

    swept: tuple[StoredFile, ...]
    """Orphans old enough to go: those of objects/ into the trash, others for good."""
    kept: tuple[StoredFile, ...]
    """Orphans that stay: younger ones, and what a writer is about to commit."""
    emptied: tuple[StoredFile, ...]
    """Files that go from the trash for good."""
    restored: tuple[str, ...]
    """Files that a commit names and an earlier sweep had taken: they came back from the trash."""
    dry_run: bool

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.swept)


def collect(
    store: EmbeddingStore,
    *,
    dry_run: bool,
    older_than_h: float = ORPHAN_AGE_H,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Finds orphans under objects/ and staging/, and segments of checkpoints that were never finished.

    Unless `dry_run`, those older than `older_than_h` hours go: of objects/ into the trash, which is emptied of what has
    lain there for a day. `progress` is told how many are swept, of how many. Raises CorruptArtifactError where the log
    is not whole: what a lost commit named would look like an orphan.
    """
    storage = store.storage
    store = EmbeddingStore(storage)  # says so where the log has lost its end since
    store.log.refuse_holes()
    discarded = trash.contents(storage)
    segments = unnamed_segments(storage)
    # In this order: a writer has a lease before it publishes, and until its commit stands.
    candidates = [*storage.list("objects"), *storage.list("staging"), *segments]
    leased = leases.leased(storage)
    head = store.log.refresh()
    commits = _commits(storage, 1, head)
    for before, commit in itertools.pairwise(commits):
        if commit.parent_sha256 != before.sha256:
            raise edited(commit.version)
    named = _named(storage, commits)
    ages = {folder: storage.clock(folder) for folder in ("objects", "staging")}

    def age_h(file: StoredFile) -> float:
        return (ages["staging" if file.path.startswith("staging/") else "objects"] - file.modified_at) / 3600

    orphans = [file for file in candidates if file.path not in named]
    old = [file for file in orphans if age_h(file) > older_than_h and not leased.is_at_work(file.path)]
    emptied = [
        file
        for path, files in discarded.items()
        for file in files
        if path not in named and age_h(file) > trash.TRASH_AGE_H
    ]
    restored: list[FileRef] = []
    if not dry_run:
        folder = trash.new_folder()
        for done, file in enumerate(old):
            progress(done, len(old))
            if file.path.startswith("objects/"):
                storage.move(file.path, f"{folder}/{file.path}")
            else:
                storage.delete(file.path)
        # A name may have been published again, and committed meanwhile.
        late = _commits(storage, head + 1, store.log.refresh())
        named = _named(storage, [*commits, *late]) if late else named
        discarded = trash.contents(storage)
        restored = trash.bring_back(storage, [file for path, file in named.items() if path in discarded])
        for file in (*emptied, *leased.ended):
            storage.delete(file.path)
    kept = tuple(file for file in orphans if file not in old)
    return Sweep(tuple(old), kept, tuple(emptied), tuple(file.path for file in restored), dry_run)


def _commits(storage: Storage, first: int, last: int) -> list[Commit]:
    """Read one by one, not from a checkpoint: nothing is deleted on the word of a shortcut."""
    return list(each(storage, functools.partial(read_record, storage), range(first, last + 1)))


def _named(storage: Storage, commits: list[Commit]) -> dict[str, FileRef]:
    """All files that commits name, but for what a purge took."""
    log = fold(empty_table(), commits, functools.partial(read_entries, storage))
    withdrawn = set(log.filter(pc.field("kind") == "tombstone")["path"].to_pylist())
    files = files_named(log) | {commit.add_file.path: commit.add_file for commit in commits if commit.add_file}
    return {path: file for path, file in files.items() if path not in withdrawn}
