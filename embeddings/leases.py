"""What writers are about to commit: its names lie in the store, so that no sweep takes it for an orphan.

A lease is held from the first staged file to the commit. One of a process of this machine counts as long as the process
lives; of another's nothing can be known, so it counts for a day after it was last written, by the storage's own clock.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ulid import ULID

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import CorruptArtifactError, StorageError
from guidestore.embeddings.storage import Storage, StoredFile

FOLDER = "leases"
LEASE_AGE_H = 24.0
_RENEWED_S = 600.0


class Lease:
    """Held by a writer of this process. Made when it first covers something."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._path = f"{FOLDER}/{ULID()}.json"
        self._paths: list[str] = []
        self._written_at = 0.0

    def cover(self, paths: Iterable[str]) -> None:
        """Takes in files, and folders with all that is in them. Raises StorageError."""
        self._paths += paths
        self._write(_this_process(os.getpid()))

    def renew(self) -> None:
        """Says that the writer is still at work, where it last said so minutes ago. Raises StorageError."""
        if self._paths and time.monotonic() - self._written_at > _RENEWED_S:
            self._write(_this_process(os.getpid()))

    def end(self) -> None:
        """All that it covers is committed, or gone."""
        if self._written_at:
            with suppress(StorageError):  # then it ends with the process
                self._storage.delete(self._path)

    def give_up(self) -> None:
        """What it covers and no commit names never will be: left to be swept. What was staged is gone already."""
        self._paths = [path for path in self._paths if not path.startswith("staging/")]
        if not self._paths:
            self.end()
        else:
            with suppress(StorageError):
                self._write("")

    def _write(self, process: str) -> None:
        record = {"host": _host(), "process": process, "paths": self._paths}
        self._storage.note(self._path, canonical_json(record).encode() + b"\n")
        self._written_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Leased:
    """What the leases of a store cover, files and folders."""

    at_work: frozenset[str]
    """By writers that are at work, or may be."""
    left: frozenset[str]
    """By writers that gave up or died within a day."""
    ended: tuple[StoredFile, ...]
    """Files of leases that say nothing any more."""

    def is_at_work(self, path: str) -> bool:
        return _covered(path, self.at_work)

    def is_explained(self, path: str) -> bool:
        """Whether a writer that is at work, or was within a day, made the file."""
        return _covered(path, self.at_work) or _covered(path, self.left)


def leased(storage: Storage) -> Leased:
    """What the leases cover. Objects that are not yet in a commit must be listed before, and the log read after."""
    files = list(storage.list(FOLDER))
    young_from = 0.0
    if files:
        with suppress(StorageError):  # read-only: nobody is at work, and nothing will be swept
            young_from = storage.clock(FOLDER) - LEASE_AGE_H * 3600
    at_work: set[str] = set()
    left: set[str] = set()
    ended = []
    for file in files:
        young = file.modified_at > young_from
        try:
            record = json.loads(storage.read(file.path))
            host, process, paths = str(record["host"]), str(record["process"]), set(map(str, record["paths"]))
        except (CorruptArtifactError, ValueError, KeyError, TypeError, RecursionError):
            host, process, paths = "", "", set()  # ended meanwhile, a probe, or cut short by a power cut
        lives = _lives(host, process)
        if lives or (lives is None and young):
            at_work |= paths
        elif young:
            left |= paths
        else:
            ended.append(file)
    return Leased(frozenset(at_work), frozenset(left), tuple(ended))


def _covered(path: str, by: frozenset[str]) -> bool:
    return path in by or any(str(parent) in by for parent in PurePosixPath(path).parents)


@functools.cache
def _host() -> str:
    """What only those processes share that can see each other's ids."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return " ".join(parts)


def _process(pid: int) -> str:
    """A process of this machine: ids are given again, so with the time when it began, where the system tells."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        began = "" if state in "ZX" else rest[18]  # killed, and nobody has asked for its exit code yet
    except OSError:
        began = ""
    return f"{pid} {began}".strip()


_this_process = functools.cache(_process)
"""Of a process that asks about itself; a fork has another id."""


def _lives(host: str, process: str) -> bool | None:
    """Whether a process is alive; None where that cannot be known from here."""
    if not process:
        return False
    if host != _host():
        return None
    pid, _, began = process.partition(" ")
    if began:
        return _process(int(pid)) == process if pid.isdigit() else False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return None
