from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guidestore.embeddings.errors import CorruptArtifactError, InvalidNameError, StorageError
from guidestore.embeddings.opening import storage_at
from guidestore.embeddings.storage import LocalStorage, disk_errors


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "store")


@pytest.fixture(params=["disk", "bucket"])
def either(request, tmp_path):
    """A storage of each kind: the contract is one."""
    return storage_at(tmp_path / "store" if request.param == "disk" else request.getfixturevalue("bucket"))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "a\0b"])
def test_paths_outside_the_store_are_refused(either, path):
    for action in (either.read, either.size, either.delete, lambda p: either.create(p, b"")):
        with pytest.raises(InvalidNameError, match="no path inside the store"):
            action(path)


def test_the_first_create_wins_and_its_bytes_stay(either):
    assert either.create("commits/1.json", b"first")
    assert not either.create("commits/1.json", b"second")
    assert either.read("commits/1.json") == b"first"
    assert [file.path for file in either.list("staging")] == []


def test_size_list_and_delete(either):
    either.create("objects/rows/labels/a", b"12345")
    either.create("objects/rows/labels/b", b"1")
    assert either.size("objects/rows/labels/a") == 5
    assert either.size("objects/rows/labels/none") is None
    assert either.size("objects/rows/labels/a/below-a-file") is None
    assert either.sizes(["objects/rows/labels/b", "none", "objects/rows/labels/a"]) == [1, None, 5]
    assert {(file.path, file.size) for file in either.list("objects")} == {
        ("objects/rows/labels/a", 5),
        ("objects/rows/labels/b", 1),
    }
    assert list(either.list("nothing")) == []
    either.delete("objects/rows/labels/a")
    either.delete("objects/rows/labels/a")
    assert either.size("objects/rows/labels/a") is None
    assert either.size("objects/rows/labels/b") == 1


def test_delete_takes_the_empty_folders_of_a_bag_with_it(storage, tmp_path):
    storage.create("objects/bag/ab/abc/01/features/c/0/0", b"1")
    storage.create("objects/bag/ab/abd/01/zarr.json", b"1")
    storage.delete("objects/bag/ab/abc/01/features/c/0/0")
    assert not (tmp_path / "store/objects/bag/ab/abc").exists()
    assert (tmp_path / "store/objects/bag/ab/abd/01/zarr.json").exists()
    storage.delete("objects/bag/ab/abd/01/zarr.json")
    assert (tmp_path / "store/objects/bag").exists()


def test_a_part_of_a_file(either):
    either.create("objects/weights/a", b"0123456789")
    assert either.read("objects/weights/a", 7) == b"789"
    assert either.read("objects/weights/a", 2, 5) == b"234"
    assert either.read("objects/weights/a", 10) == b""
    assert either.read("objects/weights/a", 12, 20) == b""
    assert either.read("objects/weights/a", 8, 20) == b"89"
    assert either.read("objects/weights/a", 5, 5) == b""


def test_a_missing_file_is_damage_with_its_path(either):
    with pytest.raises(CorruptArtifactError, match=r"commits/9\.json is missing.*restore it"):
        either.read("commits/9.json")


def test_publish_moves_files_and_folders(either):
    folder = either.staging()
    (folder / "bag/c").mkdir(parents=True)
    (folder / "bag/c/0").write_bytes(b"chunk")
    (folder / "file").write_bytes(b"file")
    either.publish(folder / "bag", "objects/bag/ab/x/01")
    either.publish(folder / "file", "objects/codes/mri/net/01.parquet")
    assert either.read("objects/bag/ab/x/01/c/0") == b"chunk"
    assert either.read("objects/codes/mri/net/01.parquet") == b"file"
    assert list(folder.iterdir()) == []


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
