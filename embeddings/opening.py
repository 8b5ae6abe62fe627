"""The storage of a store, and whether what lies there is a store that this guidestore understands. Imports little."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError, StorageError
from guidestore.embeddings.places import bucket_of, shown

if TYPE_CHECKING:
    from guidestore.embeddings.storage import Storage

FORMAT = 1
REVISION = 1
"""Of the format. It rises with what an older reader would misread; what it may pass over leaves it as it is."""
FORMAT_FILE = "format.json"
FORMAT_BYTES = b'{"format": 1, "revision": 1}\n'


def storage_at(root: Path | str) -> Storage:
    """The storage of a store at `root`, there or not. Raises InvalidInputError; StorageError without credentials."""
    bucket = bucket_of(root)
    if not str(root):
        raise InvalidInputError("the place of the store is empty: name a folder, or s3://BUCKET/PREFIX")
    if bucket is None:
        from guidestore.embeddings.storage import LocalStorage

        return LocalStorage(Path(root))
    from guidestore.embeddings.bucket import BucketStorage

    return BucketStorage(*bucket)


def new_storage(root: Path | str) -> Storage:
    """The storage at `root`, where a store is begun if there is none. Raises what `opened_storage` raises."""
    storage = storage_at(root)
    _check_folder(root)
    # Created again, it must be refused; a server that overwrites would lose commits.
    if storage.create(FORMAT_FILE, FORMAT_BYTES) and storage.create(FORMAT_FILE, FORMAT_BYTES):
        raise StorageError(
            f"{shown(root)} cannot hold a store: its server ignores If-None-Match, so two writers would overwrite each "
            "other's commits; choose another server"
        )
    check_format(storage, root)
    return storage


def take_back(storage: Storage, *, keep_folder: bool) -> None:
    """Removes a store that was begun and has nothing yet; one that somebody writes to stays.

    keep_folder: its folder was there before. Who is about to commit meanwhile brings ``format.json`` back, since the
    first commit sees that it is there.
    """
    if any(file.path != FORMAT_FILE for file in storage.list("")):
        return
    storage.delete(FORMAT_FILE)
    if any(True for _ in storage.list("")):
        storage.create(FORMAT_FILE, FORMAT_BYTES)
        return
    for folder in (storage.local_folder / "staging", *([] if keep_folder else [storage.local_folder])):
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()


def opened_storage(root: Path | str) -> Storage:
    """The storage of the store at `root`.

    Raises NotFoundInStoreError if there is none, UnknownRevisionError if an older or a newer guidestore wrote it,
    InvalidInputError or StorageError if it cannot be read.
    """
    storage = storage_at(root)
    if storage.size(FORMAT_FILE) is None:
        _check_folder(root)
        raise NotFoundInStoreError(
            f"there is no guidestore at {shown(root)}: name one with --store, or make one with "
            "`guidestore cohort add`, `guidestore import` or `guidestore demo`"
        )
    check_format(storage, root)
    return storage


def _check_folder(root: Path | str) -> None:
    """Raises InvalidInputError where something else than a folder has the name of the store, or of one above it."""
    if bucket_of(root) is not None:
        return
    place = Path(root)
    if place.parts[:1] and place.parts[0].startswith("~") and not place.is_dir():
        raise InvalidInputError(f"{root}: ~ was not replaced by a home folder; write $HOME, or the folder's name whole")
    there = next(part for part in (place.absolute(), *place.absolute().parents) if os.path.lexists(part))
    if not there.is_dir():
        what = "a link that leads nowhere" if there.is_symlink() and not there.exists() else "a file, not a folder"
        raise InvalidInputError(f"{there} is {what}, and a store is a folder: name another")


class UnknownRevisionError(InvalidInputError):
    """An older or a newer guidestore wrote the store."""


def check_format(storage: Storage, root: Path | str) -> None:
    """Raises UnknownRevisionError, or InvalidInputError where ``format.json`` says nothing."""
    data = storage.read(FORMAT_FILE)
    if data == FORMAT_BYTES:
        return
    try:
        body = json.loads(data)
        stated = (int(body["format"]), int(body.get("revision", 0)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        stated = (FORMAT, REVISION)
    if stated == (FORMAT, REVISION):
        raise InvalidInputError(
            f"{shown(root)}/format.json is damaged: restore {FORMAT_BYTES.decode().strip()} and a newline"
        )
    who, remedy = (
        ("a newer guidestore", "upgrade guidestore")
        if stated > (FORMAT, REVISION)
        else ("a guidestore before 0.1.0", "read it with that one, or make it again in another folder")
    )
    raise UnknownRevisionError(
        f"{shown(root)} is a store of format {stated[0]}, revision {stated[1]}: {who} wrote it; {remedy}"
    )
