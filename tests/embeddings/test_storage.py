from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guidestore.embeddings.errors import StorageError
from guidestore.embeddings.opening import storage_at
from guidestore.embeddings.storage import LocalStorage, disk_errors
from guidestore.testing import StorageContract


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "store")


class TestContract(StorageContract):
    @pytest.fixture(params=["disk", "bucket"])
    def storage(self, request, tmp_path):
        return storage_at(tmp_path / "store" if request.param == "disk" else request.getfixturevalue("bucket"))


def test_delete_takes_the_empty_folders_of_a_bag_with_it(storage, tmp_path):
    storage.create("objects/bag/ab/abc/01/features/c/0/0", b"1")
    storage.create("objects/bag/ab/abd/01/zarr.json", b"1")
    storage.delete("objects/bag/ab/abc/01/features/c/0/0")
    assert not (tmp_path / "store/objects/bag/ab/abc").exists()
    assert (tmp_path / "store/objects/bag/ab/abd/01/zarr.json").exists()
    storage.delete("objects/bag/ab/abd/01/zarr.json")
    assert (tmp_path / "store/objects/bag").exists()


def test_a_published_file_and_its_folders_are_synced(storage, monkeypatch):
    synced: list[str] = []
    real = os.fsync

    def note(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()).split("/store/")[-1])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    folder = storage.staging()
    (folder / "bag").mkdir()
    (folder / "bag/zarr.json").write_bytes(b"{}")
    storage.publish(folder / "bag", "objects/bag/ab/x/01")
    staged = folder.relative_to(storage.root).as_posix()
    assert synced[:2] == [f"{staged}/bag/zarr.json", f"{staged}/bag"]
    assert {"objects/bag/ab/x", "objects/bag/ab", "objects/bag", "objects"} <= set(synced)
    synced.clear()
    storage.create("commits/000000000001.json", b"x")
    assert len(synced) == 2
    assert synced[0].startswith("staging/")
    assert synced[1] == "commits"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full: free space"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "Input/output error: check the disk"),
    ],
)
def test_what_the_disk_says_becomes_one_sentence(number, sentence):
    with pytest.raises(StorageError) as caught, disk_errors("write", "commits/1.json"):
        raise OSError(number, os.strerror(number))
    assert sentence in str(caught.value)
    assert "cannot write commits/1.json" in str(caught.value)
    assert caught.value.exit_code == 7


def test_a_refused_create_leaves_no_file(storage, monkeypatch, tmp_path):
    def refuse(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        storage.create("commits/1.json", b"x")
    monkeypatch.undo()
    assert storage.size("commits/1.json") is None
    assert list(storage.list("staging")) == []
    assert storage.create("commits/1.json", b"x")
