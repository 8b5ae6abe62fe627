"""Disks that are full at 60 places of the commands that write: one sentence, nothing half there, then all as ever."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from guidestore.embeddings.errors import StorageError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.store import EmbeddingStore
from tests.faults.campaign import COMMANDS, content_of, defects_of, digests_of, make_base, run

pytestmark = pytest.mark.slow

PLACES = 5
"""Of each command."""
PLENTY = "size=200m"


class Disk:
    """A file system in memory that can be made as small as what is on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", PLENTY, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("mounting a small disk needs root")

    def used(self) -> int:
        """Bytes."""
        told = os.statvfs(self.folder)
        return (told.f_blocks - told.f_bfree) * told.f_frsize

    def limit(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{size}", self.folder], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)


@dataclass(frozen=True)
class Made:
    """The store before any command, and the folder of inputs."""

    base: Path
    inputs: Path


@dataclass(frozen=True)
class Uninterrupted:
    """A command, the store before it, what it takes on the disk, and what the store then holds."""

    name: str
    before: Path
    arguments: list[str]
    bytes: int
    content: dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(*make_base(tmp_path_factory.mktemp("full")))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.close()


def uninterrupted(name: str, made: Made, disk: Disk, folder: Path) -> Uninterrupted:
    before, store = folder / "before", disk.folder / "store"
    shutil.copytree(made.base, before)
    COMMANDS[name].prepare(before, made.inputs)
    shutil.copytree(before, store)
    used = disk.used()
    arguments = [*COMMANDS[name].arguments(made.inputs), "--store", str(store)]
    log = folder / "log.txt"
    assert run(arguments, log)[0] == 0, log.read_text()
    return Uninterrupted(name, before, arguments, max(disk.used() - used, 0), content_of(store))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full_at_some_place_of_a_command(made, disk, tmp_path, name):
    whole = uninterrupted(name, made, disk, tmp_path)
    met = sum(full_at(whole, disk, whole.bytes * place // PLACES, tmp_path) for place in range(PLACES))
    assert met or not whole.bytes


def full_at(whole: Uninterrupted, disk: Disk, room: int, folder: Path) -> bool:
    """With so many bytes left. Whether the command met the end of the disk."""
    store, log = disk.folder / "store", folder / "full.txt"
    disk.limit(PLENTY)
    shutil.rmtree(store)
    shutil.copytree(whole.before, store)
    commits = digests_of(store / "commits")
    disk.limit(f"size={disk.used() + room}")
    log.unlink(missing_ok=True)
    code, _ = run(whole.arguments, log)
    said = log.read_text()
    assert code in (0, StorageError.exit_code), said
    assert "Traceback" not in said
    if code:
        (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "disk is full" in error or "No space left on device" in error, said
    assert defects_of(store, commits, killed=whole.name) == []
    assert run(["sql", "SELECT count(*) FROM code_sets", "--store", str(store)], log)[0] == 0, log.read_text()

    disk.limit(PLENTY)
    again, _ = run(whole.arguments, log)
    assert again == 0 or (whole.name == "purge" and "has no case" in log.read_text()), log.read_text()
    assert content_of(store) == whole.content
    collect(EmbeddingStore.open(store), dry_run=False, older_than_h=-1)
    assert fsck(EmbeddingStore.open(store).storage).findings == ()
    return bool(code)
