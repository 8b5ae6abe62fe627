"""The contract of storages (embeddings.storage.Storage)."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import pytest

from guidestore.embeddings.errors import CorruptArtifactError, InvalidNameError
from guidestore.embeddings.storage import Storage


class StorageContract:
    """What holds for every storage. Subclass it and write `make`, or give a fixture `storage` of your own."""

    @abstractmethod
    def make(self, folder: Path) -> Storage:
        """An empty storage; `folder` is there to be used."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return self.make(tmp_path)

    @pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "a\0b"])
    def test_paths_outside_the_store_are_refused(self, storage, path):
        for action in (storage.read, storage.size, storage.delete, lambda p: storage.create(p, b"")):
            with pytest.raises(InvalidNameError, match="no path inside the store"):
                action(path)

    def test_the_first_create_wins_and_its_bytes_stay(self, storage):
        assert storage.create("commits/1.json", b"first")
        assert not storage.create("commits/1.json", b"second")
        assert storage.read("commits/1.json") == b"first"
        assert [file.path for file in storage.list("staging")] == []

    def test_size_list_and_delete(self, storage):
        storage.create("objects/rows/labels/a", b"12345")
        storage.create("objects/rows/labels/b", b"1")
        assert storage.size("objects/rows/labels/a") == 5
        assert storage.size("objects/rows/labels/none") is None
        assert storage.size("objects/rows/labels/a/below-a-file") is None
        assert storage.sizes(["objects/rows/labels/b", "none", "objects/rows/labels/a"]) == [1, None, 5]
        assert {(file.path, file.size) for file in storage.list("objects")} == {
            ("objects/rows/labels/a", 5),
            ("objects/rows/labels/b", 1),
        }
        assert list(storage.list("nothing")) == []
        storage.delete("objects/rows/labels/a")
        storage.delete("objects/rows/labels/a")
        assert storage.size("objects/rows/labels/a") is None
        assert storage.size("objects/rows/labels/b") == 1

    def test_a_part_of_a_file(self, storage):
        storage.create("objects/weights/a", b"0123456789")
        assert storage.read("objects/weights/a", 7) == b"789"
        assert storage.read("objects/weights/a", 2, 5) == b"234"
        assert storage.read("objects/weights/a", 10) == b""
        assert storage.read("objects/weights/a", 12, 20) == b""
        assert storage.read("objects/weights/a", 8, 20) == b"89"
        assert storage.read("objects/weights/a", 5, 5) == b""

    def test_a_missing_file_is_damage_with_its_path(self, storage):
        with pytest.raises(CorruptArtifactError, match=r"commits/9\.json is missing.*restore it"):
            storage.read("commits/9.json")

    def test_publish_moves_files_and_folders(self, storage):
        folder = storage.staging()
        (folder / "bag/c").mkdir(parents=True)
        (folder / "bag/c/0").write_bytes(b"chunk")
        (folder / "file").write_bytes(b"file")
        storage.publish(folder / "bag", "objects/bag/ab/x/01")
        storage.publish(folder / "file", "objects/codes/mri/net/01.parquet")
        assert storage.read("objects/bag/ab/x/01/c/0") == b"chunk"
        assert storage.read("objects/codes/mri/net/01.parquet") == b"file"
        assert list(folder.iterdir()) == []
