"""Where a sweep puts what it takes for an orphan: under its own path, for a day, so that it can be had back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ulid import ULID

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import FileRef, dedupe_paths
from guidestore.embeddings.storage import Storage, StoredFile

FOLDER = "trash"
TRASH_AGE_H = 24.0
"""From when a file came there, by the storage's clock."""


def new_folder() -> str:
    return f"{FOLDER}/{ULID()}"


def contents(storage: Storage) -> dict[str, list[StoredFile]]:
    """Files in the trash by the path where they lay."""
    found = defaultdict(list)
    for file in storage.list(FOLDER):
        found["/".join(file.path.split("/")[2:])].append(file)
    return dict(found)


def bring_back(storage: Storage, files: Sequence[FileRef]) -> list[FileRef]:
    """Moves those of `files` that are not at their place back from the trash; returns those that were brought back."""
    sizes = storage.sizes([file.path for file in files])
    gone = [file for file, size in zip(files, sizes, strict=True) if size is None]
    there = contents(storage) if gone else {}
    return [
        file
        for file in gone
        if any(storage.move(lies.path, file.path) for lies in there.get(file.path, ()) if lies.size == file.size)
    ]


def confirm(storage: Storage, version: int, files: Sequence[FileRef]) -> None:
    """Makes sure that what commit `version` of this process names is there: a sweep by a wrong clock may have taken it.

    Raises CorruptArtifactError where that cannot be had back.
    """
    files = dedupe_paths(files)
    paths = [file.path for file in files]
    sizes = storage.sizes(paths)
    if None in sizes:
        bring_back(storage, files)
        sizes = storage.sizes(paths)
    for file, size in zip(files, sizes, strict=True):
        if size != file.size:
            raise CorruptArtifactError(
                f"commit {version} stands, but somebody deleted {file.path} while it was made: run `guidestore fsck "
                "--drop-damaged`, then the command again"
            )
