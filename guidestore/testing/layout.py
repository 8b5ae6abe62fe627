"""The contract of cohort layouts (warehouse.cohorts.layout), on files that their author makes."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.layout import Layout, add_layout


class LayoutContract:
    """What holds for every layout. Subclass it and write `make`: a cohort of two cases or more."""

    @abstractmethod
    def make(self, folder: Path) -> Layout:
        """Writes the files of a cohort into `folder`, and says how they are read."""

    def break_(self, folder: Path) -> None:
        """Takes away from the folder what the layout cannot be read without: here all files."""
        for file in folder.rglob("*"):
            if file.is_file():
                file.unlink()

    def test_its_class_and_its_options_say_what_they_are(self, tmp_path: Path):
        layout = self.make(tmp_path)
        assert isinstance(layout, Layout)
        assert (type(layout).__doc__ or "").strip() != (Layout.__doc__ or "").strip()
        assert all(field.description for field in type(layout).model_fields.values())

    def test_it_brings_cases_and_the_same_again_changes_nothing(self, tmp_path: Path):
        layout = self.make(tmp_path / "files")
        store = EmbeddingStore.create(tmp_path / "store")
        report = add_layout(store, "mine", layout)
        snapshot = store.snapshot()
        assert snapshot.rows("cases", cohort="mine").num_rows >= 2
        assert snapshot.rows("cohorts", cohort="mine").num_rows == 1
        again = add_layout(store, "mine", layout)
        assert not any(again.added.values())
        assert (again.snapshot, report.snapshot) == (snapshot.version, snapshot.version)

    def test_files_that_are_not_there_give_one_sentence_and_leave_nothing(self, tmp_path: Path):
        layout = self.make(tmp_path / "files")
        self.break_(tmp_path / "files")
        store = EmbeddingStore.create(tmp_path / "store")
        with pytest.raises(InvalidInputError) as told:
            add_layout(store, "mine", layout)
        assert "\n" not in str(told.value)
        assert store.snapshot().version == 0
