"""EmbeddingStore: begin / write / commit / snapshot / tag. The commit log of immutable objects is the truth."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from guidestore.embeddings.actor import actor
from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.current import INDEX_FOLDER, read_current
from guidestore.embeddings.errors import AmbiguousNameError, CorruptArtifactError, NotFoundInStoreError
from guidestore.embeddings.heads import lost_end
from guidestore.embeddings.opening import new_storage, opened_storage
from guidestore.embeddings.premises import AliasSeen
from guidestore.embeddings.records import AliasMove, Entry, Tag
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.storage import Storage
from guidestore.embeddings.transaction import Transaction, check_pointer


class EmbeddingStore:
    """A store under one root. Cheap to open; safe to use from many processes at once, each with its own instance."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.log = CommitLog(storage)
        self._refuse_lost_end()

    @classmethod
    def create(cls, root: Path | str) -> EmbeddingStore:
        """Opens the store at `root`, making an empty one where there is none. Raises StorageError."""
        return cls(new_storage(root))

    @classmethod
    def open(cls, root: Path | str) -> EmbeddingStore:
        """Opens the store at `root`.

        Raises NotFoundInStoreError if there is none, InvalidInputError if an older or a newer guidestore wrote it,
        CorruptArtifactError if it is damaged.
        """
        return cls(opened_storage(root))

    def _refuse_lost_end(self) -> None:
        """Raises CorruptArtifactError where the index of this machine knows commits that the log does not have."""
        try:
            current = read_current(self.storage.local_folder / INDEX_FOLDER)
        except CorruptArtifactError:
            return  # it is disposable
        if current and current.version > self.log.head and current.version > self.log.refresh():
            raise lost_end(str(self.storage.local_folder / INDEX_FOLDER), current.version)

    def begin(self, message: str = "", *, device: str = "", read_at: int | None = None) -> Transaction:
        """A new transaction, to be used as a context manager: leaving it commits, an exception aborts.

        device: where what it adds was computed, in words. read_at: `Snapshot.read_at` of what it is made of, so that no
        case comes back that was purged meanwhile.
        """
        return Transaction(self.storage, self.log, message, device, read_at)

    def snapshot(self, at: int | str | None = None) -> Snapshot:
        """The store at a commit number, tag or alias; None: the newest. Raises NotFoundInStoreError."""
        self.log.refresh()
        return Snapshot(self.storage, self.resolve(at), self.log.head, self.log.table)

    def resolve(self, at: int | str | None) -> int:
        """The commit number that `at` means. Raises NotFoundInStoreError."""
        if at is None:
            return self.log.head
        text = str(at)
        if text.isascii() and text.isdigit():
            if not 0 <= int(text) <= self.log.head:
                raise NotFoundInStoreError(f"there is no snapshot {text}: the newest is {self.log.head}")
            return int(text)
        tags = self.log.tags()
        if text in tags:
            return tags[text]
        aliases = self.log.aliases()
        if text in aliases:
            return aliases[text][0]
        known = ", ".join(sorted({*tags, *aliases})) or "none yet"
        raise NotFoundInStoreError(f"there is no tag or alias {text!r}; known: {known}")

    def tag(self, name: str, at: int | str | None = None) -> int:
        """Gives a snapshot a fixed name and returns its number; a no-op if the tag already means that snapshot.

        The commit of a tag changes no snapshot, so giving it to the newest twice is one and the same. Raises
        InvalidInputError if the name is taken by another snapshot, InvalidNameError if it is no name.
        """
        check_pointer(name, "tag")
        self.log.refresh()
        version = self.resolve(at)
        if at is None and name in self.tags() and self._only_tags_since(self.tags()[name]):
            return self.tags()[name]
        self.log.append(tags=[Tag(name, version)], actor=actor(), message=f"tag {name}")
        return version

    def _only_tags_since(self, version: int) -> bool:
        since = self.log.since(version)
        return not since.removed.num_rows and set(since.added["kind"].to_pylist()) <= {"commit", "tag"}

    def tags(self) -> Mapping[str, int]:
        """Tag name -> snapshot number, as far as the log is known."""
        return self.log.tags()

    def move_alias(
        self, name: str, at: int | str | None = None, *, artifact: str = "", seen_at: int | None = None
    ) -> Snapshot:
        """Points a movable name at a snapshot, or at a run in it. Raises NotFoundInStoreError.

        seen_at: the commit at which the caller saw what the alias names; CommitConflictError if others moved it since.
        """
        check_pointer(name, "alias")
        snapshot = self.snapshot(at)
        if artifact and not snapshot.select(artifact=artifact).num_rows:
            raise NotFoundInStoreError(f"snapshot {snapshot.version} has no artifact {artifact}")
        move = AliasMove(name, snapshot.version, artifact)
        premise = None if seen_at is None else AliasSeen(seen_at, name)
        self.log.append(aliases=[move], premise=premise, actor=actor(), message=f"alias {name}")
        return self.snapshot()

    def find_run(self, name: str, at: int | str | None = None) -> Entry:
        """The run that an alias or an id (8 digits or more of it) names. Raises NotFoundInStoreError."""
        snapshot = self.snapshot(at)
        wanted = snapshot.aliases.get(name, (0, name))[1]
        ids = snapshot.select(kind="run")["artifact"].to_pylist()
        runs = [id_ for id_ in ids if len(wanted) >= 8 and id_.startswith(wanted)]
        if not runs:
            aliases = ", ".join(name for name, (_, artifact) in snapshot.aliases.items() if artifact) or "none yet"
            near = difflib.get_close_matches(name, [known for known, (_, of) in snapshot.aliases.items() if of], n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise NotFoundInStoreError(
                f"there is no run {name!r} at snapshot {snapshot.version}; {hint}give an alias ({aliases}) or at least "
                '8 digits of a run id from `guidestore sql "FROM runs"`'
            )
        if len(runs) > 1:
            raise AmbiguousNameError(f"run {name!r} matches {len(runs)} runs; give more digits")
        return snapshot.entry(runs[0])
