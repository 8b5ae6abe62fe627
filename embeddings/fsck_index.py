"""Whether the index of this machine is as it was built. It is disposable: `guidestore index` mends what is wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from guidestore.embeddings.current import INDEX_FOLDER, CatalogFile, Current, read_current
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.findings import Finding
from guidestore.embeddings.records import Commit
from guidestore.embeddings.storage import Storage

_REMEDY = "the index is disposable: build it again with `guidestore index --rebuild`"
_OURS = re.compile(r"CURRENT|LOCK|catalog-\d{12}(-\d+)?\.duckdb(\.wal)?|building-.*|CURRENT\.\d+\.tmp")
_ATTEMPTS = 3


def current_of(storage: Storage) -> Current | None:
    """What names the index of this machine; None where there is none, or it is damaged."""
    try:
        return read_current(storage.local_folder / INDEX_FOLDER)
    except (CorruptArtifactError, OSError):
        return None


def check_index(storage: Storage, commits: dict[int, Commit]) -> Iterator[Finding]:
    """What is wrong with it. `commits`: those of the log that can be read."""
    folder = storage.local_folder / INDEX_FOLDER
    if not folder.is_dir():
        return
    names = sorted(file.name for file in folder.iterdir())
    for name in names:
        if not _OURS.fullmatch(name):
            yield Finding("extra", f"{INDEX_FOLDER}/{name}", "", "no file of the index; delete it")
    current: Current | None = None
    for _ in range(_ATTEMPTS):
        try:
            current = read_current(folder)
        except (CorruptArtifactError, OSError):
            yield Finding("damaged", f"{INDEX_FOLDER}/CURRENT", "", f"is not as it was written; {_REMEDY}")
            return
        if current is None:
            for name in (name for name in names if name.startswith("catalog-")):
                path = f"{INDEX_FOLDER}/{name}"
                yield Finding("orphan", path, "", f"{INDEX_FOLDER}/CURRENT, which would name it, is missing; {_REMEDY}")
            return
        problems = [(part.name, problem) for part in current.parts if (problem := _problem(folder, part))]
        if not problems:
            break
        if read_current(folder) == current:  # else another one has taken its place meanwhile
            for name, problem in problems:
                yield Finding(problem[0], f"{INDEX_FOLDER}/{name}", "", f"{problem[1]}; {_REMEDY}")
            break
    commit = commits.get(current.version) if current else None
    if current and commit and current.commit_sha256 != commit.sha256:
        yield Finding("damaged", f"{INDEX_FOLDER}/CURRENT", "", f"is the index of another log; {_REMEDY}")


def _problem(folder: Path, part: CatalogFile) -> tuple[str, str] | None:
    try:
        with (folder / part.name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing", "CURRENT names it"
    except OSError as error:
        return "damaged", f"cannot be read ({error.strerror})"
    return None if digest == part.sha256 else ("damaged", "is not as it was built")
