"""What counts as installed: code that an installer put there is told by its version, other code by its source."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guidestore.embeddings import source


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Packages of another environment, as of the system under a virtual one, and a folder of one's own work."""
    system, work = tmp_path / "site-packages", tmp_path / "work"
    for folder in (system, work):
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
    source._site_folders.cache_clear()
    yield system, work
    source._site_folders.cache_clear()


def test_packages_of_another_environment_that_this_one_sees_are_installed(folders: tuple[Path, Path]) -> None:
    system, work = folders
    (system / "their_models.py").write_text("")
    (work / "my_models.py").write_text("")
    assert source.is_installed("their_models")
    assert not source.is_installed("my_models")
    assert source.is_installed("numpy")
    assert "their_models" not in sys.modules
