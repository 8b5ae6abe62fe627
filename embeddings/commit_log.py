"""The create-only commit log: linear, optimistic, the single truth of the store."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidestore.embeddings import checkpoints, heads, trash
from guidestore.embeddings.checkpoints import Manifest, Segment
from guidestore.embeddings.errors import (
    CommitConflictError,
    CorruptArtifactError,
    InvalidInputError,
    StorageError,
)
from guidestore.embeddings.heads import Marker, lost_end
from guidestore.embeddings.log_table import (
    ENTRY_SCHEMA,
    KEYS,
    LOG_SCHEMA,
    NOT_ARTIFACTS,
    empty_table,
    entries_table,
    entry_of,
    fold,
    removals,
    with_rows,
)
from guidestore.embeddings.premises import Premise
from guidestore.embeddings.records import AliasMove, Commit, Entry, FileRef, Purge, Removal, Tag
from guidestore.embeddings.storage import Storage, each
from guidestore.embeddings.tables import conformed, read_table

INLINE_ENTRIES = 1000
"""A commit of more keeps them in a table of its own: JSON of 300,000 took 194 MB."""
_GAP_REACH = 16
"""How far opening looks beyond the head for a lost commit: 0.2 ms. fsck lists the whole folder."""
_LONGEST_REACH = 64
_LISTED_PER_COMMIT = 20
"""Names in commits/ that a writer reads, in the mean, for each commit of the log: .1 ms."""
_STALLED_AT_MOST, _STALLED_S = 600, 0.05
"""How long a name that is taken may hold nothing that can be read."""

_COMMIT = re.compile(r"commits/(\d{12})\.json")


def path_of(version: int) -> str:
    return f"commits/{version:012d}.json"


def version_of(path: str) -> int | None:
    """The number in the name of a commit, None where `path` is none."""
    named = _COMMIT.fullmatch(path)
    return int(named[1]) if named else None


@dataclass(frozen=True, slots=True)
class LogSince:
    """What the log says beyond a commit."""

    added: pa.Table
    """Rows that later commits added (schema `LOG_SCHEMA`)."""
    removed: pa.Table
    """Of what stood then: ``is_alias``, ``artifact`` (or name) and ``removed_at``. Others may be in it too."""

    @classmethod
    def of(cls, added: pa.Table, removed: Sequence[pa.Table]) -> LogSince:
        marks = pa.concat_tables([table.select(["kind", "artifact", "removed_at"]) for table in removed])
        marks = marks.set_column(0, "is_alias", pc.equal(marks["kind"], "alias"))
        first = marks.group_by(["is_alias", "artifact"]).aggregate([("removed_at", "min")])
        return cls(added, first.rename_columns({"removed_at_min": "removed_at"}))


class CommitLog:
    """Reads and appends commits. One instance per process and thread; the folded state is kept and grown.

    `head` is the newest commit known (0: none yet). All methods see new commits of others only after `refresh`.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.head = 0
        self._head_sha256 = ""
        self._table: pa.Table | None = None
        self._segments: tuple[Segment, ...] = ()
        self._unfolded: list[Commit] = []
        self._live: dict[str, str] | None = None
        self._list_at = 0
        known = heads.markers(storage)  # before the log, which only grows
        self._named: tuple[dict[str, int], dict[str, tuple[int, str]]] | None = None
        self._lock = threading.RLock()
        self._checkpoints = _checkpoints_of(storage)  # of no method: a log in a cycle would stay in memory
        self._checkpoint = next(self._checkpoints, None)
        if self._checkpoint:
            self.head, self._head_sha256 = self._checkpoint.version, self._checkpoint.commit_sha256
        self._opened_at = self.head
        self._withdrawn: list[tuple[int, tuple[str, str]]] = []
        self._catch_up(_GAP_REACH)
        self._refuse_lost_end(known)

    def _folded_log(self, schema: pa.Schema, kinds: Sequence[str] = ()) -> pa.Table:
        """The log up to the commit that opening began at, from the newest checkpoint whose segments are whole."""
        table, version = schema.empty_table(), 0
        while self._checkpoint:
            try:
                table = checkpoints.read(self._storage, self._checkpoint, schema, kinds)
                version = self._checkpoint.version
                break
            except CorruptArtifactError:
                self._checkpoint = next(self._checkpoints, None)
        read = functools.partial(read_record, self._storage)
        return self._fold(table, list(each(self._storage, read, range(version + 1, self._opened_at + 1))))

    def _fold(self, table: pa.Table, commits: Sequence[Commit]) -> pa.Table:
        names = [name for name in ENTRY_SCHEMA.names if name in table.schema.names]
        return fold(table, commits, lambda file: read_entries(self._storage, file, names))

    def _refuse_lost_end(self, known: Sequence[Marker]) -> None:
        for marker in known:
            if marker.version > self.head:
                raise lost_end(marker.path, marker.version)
            if marker.version == self.head and marker.sha256 != self._head_sha256:
                raise CorruptArtifactError(
                    f"{path_of(self.head)} is not the commit that {marker.path} tells of: the log was edited; restore "
                    "commits/ from a copy"
                )

    def refuse_holes(self) -> None:
        """Raises CorruptArtifactError where a commit is missing: nobody may build on a log that is not whole.

        That takes a listing, as long as the log. So it is made for the first commit of a process, and again when the
        log has grown by its share.
        """
        if self.head < self._list_at:
            return
        self._list_at = self.head + self.head // _LISTED_PER_COMMIT
        names = [file.path for file in self._storage.list("commits")]
        there = {version for version in map(version_of, names) if version}
        version, last = 0, max(there, default=0)
        while version < last:
            version += 1
            # Asked again: others commit while we list.
            if version not in there and self._storage.size(path_of(version)) is None:
                raise _hole(version)

    def refresh(self) -> int:
        """Reads commits made since; returns the head. Raises CorruptArtifactError on a damaged or missing commit."""
        return self._catch_up(2)

    def _catch_up(self, reach: int) -> int:
        """Reads what was committed since. Looks `reach` commits ahead, and twice as far whenever all of them are there.

        One that is missing with later ones there is refused: its number must not be given again.
        """
        while True:
            ahead = range(self.head + 1, self.head + reach + 1)
            known = [self.head] if self.head else []
            there = [size is not None for size in self._storage.sizes([path_of(v) for v in (*known, *ahead)])]
            if known and not there.pop(0):
                raise lost_end("this process", self.head)
            new = ahead[: there.index(False)] if False in there else ahead
            for commit in each(self._storage, functools.partial(read_record, self._storage), new):
                if commit.parent_sha256 != self._head_sha256:
                    raise edited(commit.version)
                self._accept(commit)
            if len(new) == reach:
                reach = min(2 * reach, max(reach, _LONGEST_REACH))
            elif not any(there[len(new) :]):
                return self.head
            elif self._storage.size(path_of(self.head + 1)) is None:  # asked again: it may have come meanwhile
                raise _hole(self.head + 1)

    def _accept(self, commit: Commit) -> None:
        with self._lock:
            self.head, self._head_sha256 = commit.version, commit.sha256
            self._unfolded.append(commit)
        if self._named is not None:
            self._named[0].update((tag.name, tag.snapshot) for tag in commit.tags)
            self._named[1].update((move.name, (move.snapshot, move.artifact)) for move in commit.aliases)
        if commit.purge:
            self._live = None
            self._withdrawn += [(commit.version, (purge.cohort, purge.case_id)) for purge in commit.purge]
        elif self._live is not None:
            for removal in commit.remove:
                if self._live.get(removal.artifact) == removal.path:
                    del self._live[removal.artifact]
            self._live.update((entry.artifact, entry.path) for entry in commit.add)
            if commit.add_file:
                rows = read_entries(self._storage, commit.add_file, ["artifact", "path"])
                self._live.update(_paths(rows))

    def table(self) -> pa.Table:
        """The folded log at `head` (schema `LOG_SCHEMA`). Snapshots of other threads may ask for it."""
        with self._lock:
            if self._table is None:
                self._table = self._folded_log(LOG_SCHEMA)
                self._segments = self._checkpoint.segments if self._checkpoint else ()
            if self._unfolded:
                self._table = self._fold(self._table, self._unfolded)
                if any(commit.purge for commit in self._unfolded):
                    self._segments = ()  # they hold rows of the case
                self._unfolded = []
            return self._table

    def _columns(self, names: Sequence[str], kinds: Sequence[str] = ()) -> pa.Table:
        """Columns of `table`, for less than it takes to read the whole; of `kinds` alone, which are no artifacts."""
        with self._lock:
            if self._table is not None:
                table = self.table().select(list(names))
            else:
                schema = pa.schema([LOG_SCHEMA.field(name) for name in names])
                commits = self._unfolded
                if kinds:
                    commits = [replace(commit, add=(), add_file=None, purge=()) for commit in commits]
                table = self._fold(self._folded_log(schema, kinds), commits)
        return table.filter(pc.field("kind").isin(list(kinds))) if kinds else table

    def since(self, version: int) -> LogSince:
        """What the log says beyond commit `version`, for less than it takes to read the whole."""
        with self._lock:
            checkpointed = self._checkpoint.version if self._checkpoint else 0
            if self._table is None and checkpointed == self._opened_at:
                with suppress(CorruptArtifactError):  # another checkpoint may be whole
                    return self._unread_since(version)
            table = self.table()
        if not version:
            return LogSince.of(table, [removals([])])
        removed = table.filter((pc.field("added_at") <= version) & (pc.field("removed_at") > version))
        return LogSince.of(table.filter(pc.field("added_at") > version), [removed])

    def _unread_since(self, version: int) -> LogSince:
        added, removed = empty_table(), []
        for segment in self._checkpoint.segments if self._checkpoint else ():
            if segment.last > version:
                rows = checkpoints.read_segment(self._storage, segment)
                removed.append(rows.filter((pc.field("added_at") <= version) & (pc.field("removed_at") > version)))
                added = with_rows(added, rows.filter(pc.field("added_at") > version), segment.first)
        commits = [commit for commit in self._unfolded if commit.version > version]
        return LogSince.of(self._fold(added, commits), [*removed, removals(commits)])

    @property
    def _pointers(self) -> tuple[dict[str, int], dict[str, tuple[int, str]]]:
        """Tags and aliases at `head`."""
        if self._named is None:
            rows = self._columns([*KEYS, "meta", "removed_at"], ("alias", "tag"))
            rows = rows.filter(pc.field("removed_at").is_null())
            self._named = ({}, {})
            for kind, name, meta in zip(
                *(rows[column].to_pylist() for column in ("kind", "artifact", "meta")), strict=True
            ):
                body = json.loads(meta)
                if kind == "tag":
                    self._named[0][name] = body["snapshot"]
                else:
                    self._named[1][name] = (body["snapshot"], body["artifact"])
        return self._named

    def tags(self) -> Mapping[str, int]:
        """Tag name -> snapshot number, at `head`."""
        return self._pointers[0]

    def aliases(self) -> Mapping[str, tuple[int, str]]:
        """Alias name -> (snapshot, run artifact or ''), at `head`."""
        return self._pointers[1]

    def live(self) -> Mapping[str, str]:
        """Artifact id -> path of what exists at `head`."""
        if self._live is None:
            rows = self._columns([*KEYS, "removed_at"])
            there = rows.filter(pc.field("removed_at").is_null() & ~pc.field("kind").isin(NOT_ARTIFACTS))
            self._live = dict(_paths(there))
        return self._live

    def append(
        self,
        *,
        add: Iterable[Entry] = (),
        add_many: pa.Table | None = None,
        remove: Sequence[Removal] = (),
        aliases: Sequence[AliasMove] = (),
        tags: Sequence[Tag] = (),
        purge: Sequence[Purge] = (),
        premise: Premise | None = None,
        cover: Callable[[Sequence[str]], None] = lambda paths: None,
        actor: Mapping[str, Any],
        message: str = "",
    ) -> int:
        """Appends one commit and returns its version. add_many: further entries, as a table (schema `ENTRY_SCHEMA`).
        cover: takes the path of a file of entries into the lease of the writer.

        Adds commute: where another writer took the number, the next is tried; an artifact that exists already is left
        out (the first wins), and if nothing remains no commit is made and the head is returned. Raises
        CommitConflictError if something to remove is not there (any more), or others' commits contradict the `premise`;
        InvalidInputError if a tag names another snapshot already; StorageError if the disk refuses.
        """
        wanted = {entry.artifact: entry for entry in add}
        many = add_many if add_many is not None else ENTRY_SCHEMA.empty_table()
        commit_uuid = uuid.uuid4().hex
        stalled = 0
        self.refresh()
        self.refuse_holes()
        while True:
            live = self.live() if wanted or len(many) or remove else {}  # a tag need not know what there is
            _refuse_missing(remove, live)
            if premise:
                premise.check(self)
            replaced = {removal.artifact for removal in remove}
            wanted = {key: entry for key, entry in wanted.items() if key not in live or key in replaced}
            new = [key not in live or key in replaced for key in many["artifact"].to_pylist()]
            many = many if all(new) else many.filter(pa.array(new))
            tags = self._new_tags(tags)
            if not (wanted or len(many) or remove or aliases or tags or purge):
                return self.head
            commit = self._with_entries(
                Commit(
                    version=self.head + 1,
                    commit_uuid=commit_uuid,
                    parent=self.head,
                    parent_sha256=self._head_sha256,
                    created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                    actor=actor,
                    message=message,
                    add=tuple(wanted.values()),
                    remove=tuple(remove),
                    aliases=tuple(aliases),
                    tags=tuple(tags),
                    purge=tuple(purge),
                ),
                many,
                cover,
            )
            if self._create(commit):
                return self._made(commit)
            if self.refresh() < commit.version:  # a disk of another machine may show it late
                stalled += 1
                if stalled > _STALLED_AT_MOST:
                    raise CorruptArtifactError(
                        f"{path_of(commit.version)} cannot be made, for something there is no file; delete it"
                    )
                time.sleep(_STALLED_S)

    def _with_entries(self, commit: Commit, many: pa.Table, cover: Callable[[Sequence[str]], None]) -> Commit:
        """`commit` with `many` more entries, in a file of their own where they are too many for JSON."""
        if len(commit.add) + len(many) > INLINE_ENTRIES:
            file = self._write_entries(pa.concat_tables([entries_table(commit.add), many]), cover)
            return replace(commit, add=(), add_file=file, _digest=[])
        return replace(commit, add=(*commit.add, *map(entry_of, many.to_pylist())), _digest=[]) if len(many) else commit

    def _made(self, commit: Commit) -> int:
        """What follows a commit of ours that stands; its version."""
        self._accept(commit)
        trash.confirm(self._storage, commit.version, [commit.add_file] if commit.add_file else [])
        heads.mark(self._storage, Marker(commit.version, commit.sha256))
        if commit.version % checkpoints.EVERY_COMMITS == 0:
            self.checkpoint()
        return commit.version

    def _new_tags(self, tags: Sequence[Tag]) -> list[Tag]:
        """Those of `tags` that are not given yet."""
        given = self.tags() if tags else {}
        for tag in tags:
            if given.get(tag.name, tag.snapshot) != tag.snapshot:
                raise InvalidInputError(
                    f"tag {tag.name!r} already names snapshot {given[tag.name]}; tags never move, use an alias"
                )
        return [tag for tag in tags if tag.name not in given]

    def _write_entries(self, entries: pa.Table, cover: Callable[[Sequence[str]], None]) -> FileRef:
        sink = pa.BufferOutputStream()
        pq.write_table(entries, sink, compression="zstd", store_schema=False)
        data = sink.getvalue().to_pybytes()
        digest = hashlib.sha256(data).hexdigest()
        file = FileRef(f"objects/entries/{digest}.parquet", len(data), digest)
        cover([file.path])
        self._storage.create(file.path, data)
        return file

    def added_since(self, version: int) -> pa.Table:
        """Rows that later commits added (schema `LOG_SCHEMA`)."""
        return self.since(version).added

    def withdrawn_since(self, version: int) -> set[tuple[str, str]]:
        """(cohort, case id) of what later commits purged."""
        if version >= self._opened_at:  # no fold of the log for that
            return {named for at, named in self._withdrawn if at > version}
        gone = self.added_since(version).filter(pc.field("kind") == "tombstone")
        return set(zip(gone["cohort"].to_pylist(), gone["case_id"].to_pylist(), strict=True))

    def _create(self, commit: Commit) -> bool:
        try:
            return self._storage.create(path_of(commit.version), commit.to_bytes())
        except StorageError:
            # The answer is lost, not necessarily the write: the log itself says whose commit stands there.
            if self._storage.size(path_of(commit.version)) is None:
                raise
            return read_record(self._storage, commit.version).commit_uuid == commit.commit_uuid

    def checkpoint(self) -> None:
        """Writes the folded log of `head`, so that the next open reads a few files."""
        table = self.table()
        try:
            written = checkpoints.write(self._storage, self.head, self._head_sha256, table, self._segments)
            self._segments = written.segments
            checkpoints.sweep(self._storage)
            heads.sweep(self._storage, self.head)
        except StorageError:
            return  # the commit stands; the next multiple of EVERY_COMMITS tries again


def _checkpoints_of(storage: Storage) -> Iterator[Manifest]:
    """Manifests of checkpoints, newest first. A checkpoint is a shortcut: one that is damaged, or of another log,
    is passed over, and fsck reports it. Raises CorruptArtifactError where the log has lost the commit of one."""
    for path in checkpoints.manifests(storage):
        try:
            manifest = checkpoints.read_manifest(storage, path)
            if manifest and read_record(storage, manifest.version).sha256 == manifest.commit_sha256:
                yield manifest
        except CorruptArtifactError:
            version = checkpoints.version_of(path) or 0
            gone = storage.size(path_of(version)) is None
            if gone and storage.size(path) is not None:  # the checkpoint may have been swept meanwhile
                later = storage.size(path_of(version + 1)) is not None
                raise (_hole(version) if later else lost_end(path, version)) from None


def _paths(rows: pa.Table) -> Iterator[tuple[str, str]]:
    """(artifact, path) of rows; of a path that many have there is one copy."""
    for piece in rows.select(["artifact", "path"]).to_batches():
        paths = pc.dictionary_encode(piece["path"])
        known = paths.dictionary.to_pylist()
        for artifact, place in zip(piece["artifact"].to_pylist(), paths.indices.to_pylist(), strict=True):
            yield artifact, known[place]


def _refuse_missing(remove: Sequence[Removal], live: Mapping[str, str]) -> None:
    for removal in remove:
        if live.get(removal.artifact) != removal.path:
            raise CommitConflictError(
                f"artifact {removal.artifact[:12]} no longer lies at {removal.path}: another process changed it; run "
                "the command again"
            )


def _hole(version: int) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"{path_of(version)} is missing though later commits exist; restore commits/ from a copy"
    )


def edited(version: int) -> CorruptArtifactError:
    """The error where commit `version` does not name the digest of the one before it."""
    return CorruptArtifactError(
        f"{path_of(version)} does not follow {path_of(version - 1)}: the log was edited; restore commits/ from a copy"
    )


def read_record(storage: Storage, version: int) -> Commit:
    """Commit `version` as it stands in its JSON, verified; entries in an `add_file` are not in it.

    Raises CorruptArtifactError.
    """
    path = path_of(version)
    commit = Commit.from_bytes(storage.read(path), path)
    if commit.version != version:
        raise CorruptArtifactError(f"{path} holds commit {commit.version}; restore commits/ from a copy")
    return commit


def read_entries(storage: Storage, file: FileRef, columns: Sequence[str] = ENTRY_SCHEMA.names) -> pa.Table:
    """The entries in the `add_file` of a commit, verified. Raises CorruptArtifactError."""
    try:
        rows = read_table(storage, file, columns)
        return conformed(rows, pa.schema([ENTRY_SCHEMA.field(name) for name in columns]))
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise CorruptArtifactError(f"{file.path} is no table of entries: another program wrote it") from error
