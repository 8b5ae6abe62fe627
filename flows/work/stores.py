"""Where flows open a store by its place: commands and forms do, functions are given a store or a snapshot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from guidestore.embeddings.errors import CorruptArtifactError, NotFoundInStoreError
from guidestore.embeddings.opening import FORMAT_FILE, storage_at, take_back
from guidestore.embeddings.store import EmbeddingStore


@contextmanager
def opened(
    place: Path | str, *, create: bool = False, resumes: bool = False, adds: bool = True
) -> Iterator[EmbeddingStore]:
    """The store at a place, used as `indexing` says. create: where there is no store, an empty one is made, and
    after an error goes again if nothing was committed. Raises GuidestoreError."""
    begins = create and storage_at(place).size(FORMAT_FILE) is None
    keep_folder = os.path.lexists(place)
    store = (EmbeddingStore.create if create else EmbeddingStore.open)(place)
    try:
        with indexing(store, resumes=resumes, adds=adds):
            yield store
    except BaseException:
        if begins:
            with suppress(Exception):  # the first error is the one to tell
                take_back(store.storage, keep_folder=keep_folder)
        raise


@contextmanager
def indexing(store: EmbeddingStore, *, resumes: bool = False, adds: bool = True) -> Iterator[None]:
    """When the block ends, the store's index is brought up to date if commits were made.

    After an error too: what was committed before it can be queried. resumes: the work may go on from a process that was
    killed, so the index may lag though nothing is committed. adds: False where the work only names what is there, so
    that no index is built where there is none yet.
    """
    head = _indexed(store) if resumes else store.log.head
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            _index(store, head)
        raise
    if adds or _indexed(store):
        _index(store, head)


@contextmanager
def to_fill(place: Path | str, *, dry_run: bool, resumes: bool = False) -> Iterator[EmbeddingStore]:
    """The store at a place, made where there is none; for a dry run then one that is gone afterwards. resumes: as of
    `indexing`."""
    if not dry_run:
        with opened(place, create=True, resumes=resumes) as store:
            yield store
        return
    with TemporaryDirectory() as folder:
        try:
            there = EmbeddingStore.open(place)
        except NotFoundInStoreError:
            there = EmbeddingStore.create(Path(folder) / "store")
        yield there


def _index(store: EmbeddingStore, head: int) -> None:
    if store.log.refresh() != head:
        from guidestore.warehouse.indexer import build_index  # DuckDB loads with it

        build_index(store)


def _indexed(store: EmbeddingStore) -> int:
    """The last commit that the index of this machine knows."""
    from guidestore.embeddings.current import INDEX_FOLDER, read_current

    with suppress(CorruptArtifactError):  # building it again says so
        current = read_current(store.storage.local_folder / INDEX_FOLDER)
        return current.version if current else 0
    return 0
