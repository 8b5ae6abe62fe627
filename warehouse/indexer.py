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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow.compute as pc
from ulid import ULID

from guidestore.embeddings.commit_log import LogSince, read_record
from guidestore.embeddings.current import (
    INDEX_FOLDER,
    CatalogFile,
    Current,
    discard_folder,
    read_current,
    swap_current,
)
from guidestore.embeddings.errors import CorruptArtifactError, StorageError
from guidestore.embeddings.heads import lost_end
from guidestore.embeddings.retrying import until_undisturbed
from guidestore.embeddings.storage import disk_errors
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import head_of
from guidestore.warehouse.tables import (
    Progress,
    apply_log,
    create_tables,
    create_views,
    layout_digest,
    open_to_fill,
    silent,
)

_ABANDONED_S = 3600.0
"""A temporary file that nobody wrote to for so long belongs to a build that was killed."""
_COPY_BYTES = 1 << 23
_GROWN_BYTES = 64_000_000
_SHARE = 8
"""A part of more than `_GROWN_BYTES` and than an eighth of those before it is copied no more: the next begins. So a
small commit copies an eighth at most, and what grows by 100 times in small ones has some 40 parts."""


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


def build_index(store: EmbeddingStore, *, rebuild: bool = False, progress: Progress = silent) -> IndexInfo:
    """Brings the index of a store, on this machine, up to its newest commit, and says what it did.

    It grows a copy of the newest part of the current catalog, or puts a part of what is new beside a large one; it
    rebuilds from the log where there is none, where it is damaged or of another version, where a case was purged since,
    and on `rebuild`. Raises CorruptArtifactError where a committed file is damaged (the old index stays), StorageError
    where the disk refuses.
    """
    folder = store.storage.local_folder / INDEX_FOLDER
    with disk_errors("write", f"the index {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        while True:
            if info := until_undisturbed(store, lambda: _attempt(store, folder, rebuild=rebuild, progress=progress)):
                return info


def _attempt(store: EmbeddingStore, folder: Path, *, rebuild: bool, progress: Progress) -> IndexInfo | None:
    """One build; None where another indexer took away meanwhile what it was to stand beside."""
    temporary = folder / f"building-{ULID()}.duckdb"
    try:
        return _built(store, folder, temporary, rebuild=rebuild, progress=progress)
    finally:
        for leftover in (temporary, Path(f"{temporary}.wal")):
            leftover.unlink(missing_ok=True)


def _built(
    store: EmbeddingStore, folder: Path, temporary: Path, *, rebuild: bool, progress: Progress
) -> IndexInfo | None:
    head = store.log.refresh()
    standing = _standing(folder)
    if standing and standing.version > head:  # another indexer saw commits that we did not
        head = store.log.refresh()
        if standing.version > head:
            raise lost_end(str(folder), standing.version)
    base = standing if standing and not rebuild and _fits(standing, store, folder) else None
    if base and base.version == head:
        if base.newest.size > _GROWN_BYTES or _copy_verified(folder, base.newest, None):
            return _info(store, folder, base, "kept")
        base = None
    new = store.log.since(base.version if base else 0)
    purges = new.added.filter(pc.field("kind") == "tombstone")["added_at"]
    last_purge = pc.max(purges).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
    if base and last_purge:
        base = None  # its pages hold the withdrawn case
    earlier = base.parts if base else ()
    if base and base.newest.size <= max(_GROWN_BYTES, sum(part.size for part in earlier[:-1]) // _SHARE):
        if _copy_verified(folder, base.newest, temporary):
            earlier = earlier[:-1]
        else:
            base, earlier = None, ()
            temporary.unlink(missing_ok=True)
    if base is None:
        new = store.log.since(0)
    _fill(temporary, [folder / part.name for part in earlier], store, new, progress)
    condemned = standing if base is None else None
    built = Current(
        (*earlier, _described(temporary)), head, _commit_sha256(store, head), duckdb.__version__, layout_digest()
    )
    now = _publish(folder, temporary, built, condemned, last_purge)
    if now is None:
        return None
    action = "kept" if now.newest.sha256 != built.newest.sha256 else "grown" if base else "rebuilt"
    return _info(store, folder, now, action)


def _info(
    store: EmbeddingStore, folder: Path, current: Current, action: Literal["kept", "grown", "rebuilt"]
) -> IndexInfo:
    behind = head_of(store.storage, current.version) - current.version
    return IndexInfo(current.version, folder / current.newest.name, behind, action)


def _standing(folder: Path) -> Current | None:
    try:
        return read_current(folder)
    except CorruptArtifactError:
        return None


def _fits(current: Current, store: EmbeddingStore, folder: Path) -> bool:
    """Whether the catalog is there, of this log, and of this version of guidestore and DuckDB, so that it can be grown.

    Of large parts only the size is looked at: DuckDB checks each block that a query reads.
    """
    return (
        current.version <= store.log.head
        and current.commit_sha256 == _commit_sha256(store, current.version)
        and current.duckdb == duckdb.__version__
        and current.layout == layout_digest()
        and _are_there(folder, current.parts)
    )


def _are_there(folder: Path, parts: Sequence[CatalogFile]) -> bool:
    try:
        return all((folder / part.name).stat().st_size == part.size for part in parts)
    except FileNotFoundError:
        return False


def _commit_sha256(store: EmbeddingStore, version: int) -> str:
    return read_record(store.storage, version).sha256 if version else ""


def _copy_verified(folder: Path, part: CatalogFile, target: Path | None) -> bool:
    """Copies a part to `target` (None: only reads it); False where its bytes are not those that were written."""
    digest = hashlib.sha256()
    try:
        with (folder / part.name).open("rb") as source, contextlib.ExitStack() as stack:
            sink = stack.enter_context(target.open("xb")) if target else None
            while block := source.read(_COPY_BYTES):
                digest.update(block)
                if sink:
                    sink.write(block)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == part.sha256


def _fill(file: Path, earlier: Sequence[Path], store: EmbeddingStore, new: LogSince, progress: Progress) -> None:
    """Writes the part `file`, afresh where it is not there yet."""
    fresh = not file.exists()
    try:
        with contextlib.closing(open_to_fill(file, earlier)) as con:
            if fresh:
                create_tables(con)
            apply_log(con, store.storage, new, progress)
            create_views(con, len(earlier))
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


def _described(file: Path) -> CatalogFile:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return CatalogFile("", file.stat().st_size, digest)


def _publish(
    folder: Path, temporary: Path, built: Current, condemned: Current | None, last_purge: int
) -> Current | None:
    """Makes `temporary` the newest part of the index unless another indexer was there first; what the index is then.

    `condemned` must not stay. Catalogs that hold a case purged in commit `last_purge` go. None where the earlier parts
    of `built` went meanwhile.
    """
    with _alone(folder):
        standing = _standing(folder)
        stays = standing if standing and (condemned is None or standing.parts != condemned.parts) else None
        if stays and stays.version >= built.version:
            return stays
        if not _are_there(folder, built.parts[:-1]):
            return None
        name = _link(folder, temporary, built.version, standing)
        previous = tuple(part.name for part in stays.parts) if stays and stays.version >= last_purge else ()
        parts = (*built.parts[:-1], replace(built.newest, name=name))
        current = replace(built, parts=parts, previous=previous)
        swap_current(folder, current)
        kept = {*previous, *(part.name for part in parts)}
        for catalog in folder.glob("catalog-*"):
            if catalog.name not in kept:
                discard_folder(catalog)
                catalog.unlink(missing_ok=True)
        return current


def _link(folder: Path, temporary: Path, version: int, standing: Current | None) -> str:
    """Gives the catalog a name that no reader has open: ``catalog-N.duckdb``, ``catalog-N-1.duckdb``, …"""
    stem = f"catalog-{version:012d}"
    attempt = 0
    if standing and standing.version == version:
        last = standing.newest.name
        attempt = int(last.removeprefix(stem).removesuffix(".duckdb").removeprefix("-") or 0) + 1
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
    discard_folder(folder / "LOCK")
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
