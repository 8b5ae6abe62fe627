"""Builds the DuckDB index from the commit log: aside, then linked to its own name, then named in CURRENT.

Any number of indexers may run at once and may be killed at any moment: a catalog is seen by readers only once it is
whole, CURRENT never goes back to an older commit, and what a killed one left is swept by a later build. The index is
disposable, so everything that looks wrong in it leads to a rebuild from the log.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow.compute as pc
from ulid import ULID

from guidestore.embeddings.current import INDEX_FOLDER, Current, read_current, swap_current
from guidestore.embeddings.errors import CorruptArtifactError, StorageError
from guidestore.embeddings.heads import lost_end
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.storage import disk_errors
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import head_of
from guidestore.warehouse.tables import apply_log, create_tables, create_views, layout_digest, open_to_fill

_ABANDONED_S = 3600.0
"""A temporary file that nobody wrote to for so long belongs to a build that was killed."""
_COPY_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The index after a build."""

    version: int
    """Newest commit that it knows."""
    path: Path
    commits_behind: int
    """Commits that were made while it was built."""
    action: Literal["kept", "grown", "rebuilt"]
    """kept: it was up to date, or another indexer was faster."""


def build_index(store: EmbeddingStore, *, rebuild: bool = False) -> IndexInfo:
    """Brings the index of a store, on this machine, up to its newest commit, and says what it did.

    It grows a copy of the current catalog; it rebuilds from the log where there is none, where it is damaged or of
    another version, where a case was purged since, and on `rebuild`. Raises CorruptArtifactError where a committed
    file is damaged (the old index stays), StorageError where the disk refuses.
    """
    folder = store.storage.local_folder / INDEX_FOLDER
    with disk_errors("write", f"the index {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        snapshot = store.snapshot()
        standing = _standing(folder)
        if standing and standing.version > snapshot.version:  # another indexer saw commits that we did not
            snapshot = store.snapshot()
            if standing.version > snapshot.version:
                raise lost_end(str(folder), standing.version)
        base = standing if standing and not rebuild and _fits(standing, snapshot) else None
        temporary = folder / f"building-{ULID()}.duckdb"
        try:
            if base and not _copy_verified(
                folder / base.catalog, None if base.version == snapshot.version else temporary
            ):
                base = None
                temporary.unlink(missing_ok=True)
            if base and base.version == snapshot.version:
                return _info(store, folder, base, "kept")
            if base and _last_purge(snapshot) > base.version:
                base = None  # a copy would carry the withdrawn case in its free pages
                temporary.unlink(missing_ok=True)
            _fill(temporary, store, snapshot, base.version if base else None)
            condemned = standing.catalog if standing and base is None else ""
            built = _describe(temporary, snapshot)
            now = _publish(folder, temporary, built, condemned, _last_purge(snapshot))
            action = "kept" if now.file_sha256 != built.file_sha256 else "grown" if base else "rebuilt"
            return _info(store, folder, now, action)
        finally:
            for leftover in (temporary, Path(f"{temporary}.wal")):
                leftover.unlink(missing_ok=True)


def _info(
    store: EmbeddingStore, folder: Path, current: Current, action: Literal["kept", "grown", "rebuilt"]
) -> IndexInfo:
    behind = head_of(store.storage, current.version) - current.version
    return IndexInfo(current.version, folder / current.catalog, behind, action)


def _standing(folder: Path) -> Current | None:
    try:
        return read_current(folder)
    except CorruptArtifactError:
        return None


def _fits(current: Current, snapshot: Snapshot) -> bool:
    """Whether the catalog is of this log and of this version of guidestore and DuckDB, so that it can be grown."""
    return (
        current.version <= snapshot.version
        and current.commit_sha256 == _commit_sha256(snapshot, current.version)
        and current.duckdb == duckdb.__version__
        and current.layout == layout_digest()
    )


def _commit_sha256(snapshot: Snapshot, version: int) -> str:
    commits = snapshot.log.filter((pc.field("kind") == "commit") & (pc.field("added_at") == version))
    return hashlib.sha256(commits["meta"][0].as_py().encode()).hexdigest() if commits.num_rows else ""


def _last_purge(snapshot: Snapshot) -> int:
    purges = snapshot.log.filter(pc.field("kind") == "tombstone")["added_at"]
    return pc.max(purges).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]


def _copy_verified(catalog: Path, target: Path | None) -> bool:
    """Copies the catalog to `target` (None: only reads it); False where its bytes are not those that were written."""
    current = read_current(catalog.parent)
    digest = hashlib.sha256()
    try:
        with catalog.open("rb") as source, contextlib.ExitStack() as stack:
            sink = stack.enter_context(target.open("xb")) if target else None
            while block := source.read(_COPY_BYTES):
                digest.update(block)
                if sink:
                    sink.write(block)
    except FileNotFoundError:
        return False
    return current is not None and current.catalog == catalog.name and digest.hexdigest() == current.file_sha256


def _fill(file: Path, store: EmbeddingStore, snapshot: Snapshot, since: int | None) -> None:
    """Writes the catalog `file`: afresh where `since` is None, else on the copy that knows the commits up to it."""
    try:
        with contextlib.closing(open_to_fill(file)) as con:
            if since is None:
                create_tables(con)
            apply_log(con, store.storage, snapshot.log, since or 0)
            create_views(con)
            con.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise StorageError(
            f"the index could not be built: {str(error).splitlines()[0]}; the old one stays, mend the cause and run "
            "`guidestore index` again"
        ) from error
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe(file: Path, snapshot: Snapshot) -> Current:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return Current(
        catalog="",
        version=snapshot.version,
        size=file.stat().st_size,
        file_sha256=digest,
        commit_sha256=_commit_sha256(snapshot, snapshot.version),
        duckdb=duckdb.__version__,
        layout=layout_digest(),
    )


def _publish(folder: Path, temporary: Path, built: Current, condemned: str, last_purge: int) -> Current:
    """Makes `temporary` the index unless another indexer was there first; returns what the index is then.

    `condemned` names the catalog that must not stay. Catalogs that hold a case purged in commit `last_purge` go.
    """
    with _alone(folder):
        standing = _standing(folder)
        if standing and standing.catalog != condemned and standing.version >= built.version:
            return standing
        name = _link(folder, temporary, built.version, standing)
        previous = ""
        if standing and standing.catalog != condemned and standing.version >= last_purge:
            previous = standing.catalog
        current = Current(**{**_fields(built), "catalog": name, "previous": previous})
        swap_current(folder, current)
        for catalog in folder.glob("catalog-*"):
            if catalog.name not in (name, previous):
                catalog.unlink(missing_ok=True)
        return current


def _fields(current: Current) -> dict:
    return {name: getattr(current, name) for name in Current.__dataclass_fields__}


def _link(folder: Path, temporary: Path, version: int, standing: Current | None) -> str:
    """Gives the catalog a name that no reader has open: ``catalog-N.duckdb``, ``catalog-N-1.duckdb``, …"""
    stem = f"catalog-{version:012d}"
    attempt = 0
    if standing and standing.version == version:
        attempt = int(standing.catalog.removeprefix(stem).removesuffix(".duckdb").removeprefix("-") or 0) + 1
    while True:
        name = f"{stem}{f'-{attempt}' if attempt else ''}.duckdb"
        try:
            os.link(temporary, folder / name)
            return name
        except FileExistsError:
            attempt += 1


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One publisher at a time. The kernel frees the lock of a killed process, so it never sticks."""
    with (folder / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(folder: Path) -> None:
    """Removes temporary files that killed builds left."""
    for pattern in ("building-*", "CURRENT.*.tmp"):
        for leftover in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                    leftover.unlink()
