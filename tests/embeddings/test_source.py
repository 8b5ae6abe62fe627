"""What counts as installed: code that an installer put there is told by its version, other code by its source."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
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


SOURCE = """
import enum
from dataclasses import dataclass

SHADE, BY = 0.5, 3
BY_TEN = 3 / 10
LAZY = None
CHANGED = 1
CHANGED += 1

class Kind(enum.IntEnum):
    ONE = 1

@dataclass(frozen=True, slots=True)
class Options:
    size: int = 3

class Mine:
    level = 3
    def encode(self, batch):
        global LAZY
        LAZY = batch
        return batch * BY_TEN * self.level + Kind.ONE + Options().size
"""


@pytest.mark.parametrize("change", [("3 / 10", "4 / 10"), ("level = 3", "level = 4"), ("level +", "level -")])
@pytest.mark.parametrize("when", ["kept bytecode", "edited since"])
def test_code_that_did_not_run_is_not_taken_for_it(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], when: str
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    name = f"source_of_{abs(hash((change, when)))}"
    file = folders[1] / f"{name}.py"
    file.write_text(SOURCE)
    os.utime(file, (1e9, 1e9))

    def loaded() -> type:
        return import_module(name).Mine

    mine = loaded()
    mine().encode(1)
    before = source.code_of(mine)
    assert before.is_versioned
    assert before.source == source.digest_before_import(name)
    file.write_text(SOURCE.replace(*change))
    if when == "kept bytecode":  # as of a file that changes twice in a second
        os.utime(file, ns=(10**18, 10**18 + 5))
        sys.modules.pop(name)
        mine = loaded()
    assert vars(mine)["level"] == 3
    assert not source.code_of(mine).is_versioned
    file.write_text(SOURCE)
    assert source.code_of(mine) == before
    sys.modules.pop(name)


@pytest.mark.parametrize(
    "patch", [lambda module: setattr(module, "BY_TEN", 5), lambda module: setattr(module.Mine, "level", 5)]
)
def test_a_patched_constant_is_other_code(folders: tuple[Path, Path], patch: Callable) -> None:
    (folders[1] / "source_patched.py").write_text(SOURCE)
    module = import_module("source_patched")
    assert source.code_of(module.Mine).is_versioned
    patch(module)
    assert not source.code_of(module.Mine).is_versioned
    sys.modules.pop("source_patched")
