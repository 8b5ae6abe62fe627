"""``index/CURRENT``: the one small file that says which catalog is the index. Swapped whole, by rename."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import open_sealed_json, sealed_json
from guidestore.embeddings.storage import LocalStorage

INDEX_FOLDER = "index"
_NAME = "CURRENT"


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """A part of the index."""

    name: str
    """In the index folder."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Current:
    """What CURRENT holds about the catalog that it names."""

    parts: tuple[CatalogFile, ...]
    """The newest last: it has the views over all of them."""
    version: int
    """Newest commit that the catalog knows."""
    commit_sha256: str
    """Digest of commit `version`: an index of another log is told by it. '' for the empty log."""
    duckdb: str
    """Version of DuckDB that wrote the catalog."""
    layout: str
    """Digest of our tables and views; another one means a rebuild."""
    previous: tuple[str, ...] = ()
    """Files of the catalog before this one, kept for readers that are about to open it."""

    @property
    def newest(self) -> CatalogFile:
        return self.parts[-1]

    def paths(self, folder: Path) -> list[Path]:
        return [folder / part.name for part in self.parts]


def read_current(folder: Path) -> Current | None:
    """What CURRENT says, None if there is no index yet. Raises CorruptArtifactError where it is damaged."""
    storage = LocalStorage(folder)
    if storage.size(_NAME) is None:
        return None
    shown = f"{INDEX_FOLDER}/{_NAME}"
    try:
        body = open_sealed_json(storage.read(_NAME), shown)
        parts = tuple(CatalogFile(**part) for part in body.pop("parts"))
        return Current(parts, previous=tuple(body.pop("previous")), **body)
    except (CorruptArtifactError, TypeError, KeyError) as error:
        raise CorruptArtifactError(
            f"{shown} is damaged; the index is disposable: build it again with `guidestore index`"
        ) from error


def discard_folder(path: Path) -> None:
    """Removes what has taken the place of a file of the index: all of it can be built again."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def swap_current(folder: Path, current: Current) -> None:
    """Makes `current` the index, durably and in one step: a reader sees the old one or the new one."""
    temporary = folder / f"{_NAME}.{os.getpid()}.tmp"
    with temporary.open("wb") as file:
        file.write(sealed_json(asdict(current)))
        file.flush()
        os.fsync(file.fileno())
    discard_folder(folder / _NAME)
    temporary.rename(folder / _NAME)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
