"""Head markers: empty files that say which commits there were, so that a log that lost its end is noticed.

A log whose newest commits are gone reads like an older one. What was made of a commit tells of it: a marker, which
every writer leaves after its commit, a checkpoint, an index. Imports little.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from guidestore.embeddings.errors import CorruptArtifactError, StorageError
from guidestore.embeddings.storage import Storage, each

FOLDER = "heads"
_NAME = re.compile(r"heads/(\d{12})-([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Marker:
    """Some writer made commit `version`, whose digest is `sha256`."""

    version: int
    sha256: str

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.version:012d}-{self.sha256}"

    @classmethod
    def of(cls, path: str) -> Marker | None:
        named = _NAME.fullmatch(path)
        return cls(int(named[1]), named[2]) if named else None


def markers(storage: Storage) -> list[Marker]:
    """All markers, that of the newest commit first."""
    found = (Marker.of(file.path) for file in storage.list(FOLDER))
    return sorted((marker for marker in found if marker), key=lambda marker: marker.version, reverse=True)


def mark(storage: Storage, marker: Marker) -> None:
    """Leaves the marker of a commit that stands. A disk that refuses it does not refuse the commit."""
    with suppress(StorageError):
        storage.note(marker.path, b"")


def sweep(storage: Storage, head: int) -> None:
    """Deletes the markers of commits before `head`."""
    surplus = [marker.path for marker in markers(storage) if marker.version < head]
    for _ in each(storage, storage.delete, surplus):
        pass


def lost_end(witness: str, version: int) -> CorruptArtifactError:
    """The error where `witness` tells of a commit that is not there."""
    return CorruptArtifactError(
        f"the log has lost its end: {witness} tells of commit {version}, and that is not in commits/; restore commits/ "
        "from a copy, `guidestore fsck` says what is missing"
    )
