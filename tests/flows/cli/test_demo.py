"""The main job as `guidestore demo` runs it: smaller within this process, and behind `make slow` as it is."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guidestore.flows.cli import demo as sizes
from guidestore.flows.cli.next_steps import own_data
from tests.commandline import Done, guidestore

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = ("S+I", "S", "I", "G(I)", "G(I)+I", "G(I)+I, shuffled pairs")


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Fewer cases, folds and runs; all else is the demo's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "CASES", 18)
        patch.setattr(sizes, "FOLDS", 2)
        patch.setattr(sizes, "GUIDE", sizes.GUIDE.model_copy(update={"seeds": (0,), "permutations": 1}))
        yield


@pytest.fixture(scope="module")
def demo(small: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("demo") / "d"
    return folder, guidestore("demo", "--dir", folder)


def test_it_prints_table_answers_and_a_prediction(demo: tuple[Path, Done]) -> None:
    _, done = demo
    assert done.returncode == 0, done.stderr
    assert_all_is_said(done.stdout)


def assert_all_is_said(text: str) -> None:
    for row in ROWS:
        assert text.count(f"\n{row}  ") >= 2  # as-published and matched
    assert text.count("guidestore sql --store") == 3
    assert "export GUIDESTORE_STORE=" in text
    for command, _ in (*sizes.STEPS, *own_data()):
        assert f"\n  {command}\n" in f"{text}\n"
    assert "NEW_0001" in text
    assert "nothing was read" not in text


def test_a_second_run_reads_no_image_and_says_so(demo: tuple[Path, Done], small: None) -> None:
    done = guidestore("demo", "--dir", demo[0])
    assert done.returncode == 0, done.stderr
    assert "images read: 0, networks and heads trained: 0 (every code was in the store" in done.stdout


def test_what_it_says_to_do_next_works_as_written(
    demo: tuple[Path, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for servers, and the report, which has tests of its own. README has the same commands."""
    monkeypatch.setenv("GUIDESTORE_STORE", str(demo[0] / "store"))
    monkeypatch.chdir(tmp_path)
    for command, _ in sizes.STEPS:
        if command.split()[1] in ("neighbours", "attention", "sql"):
            done = guidestore(*shlex.split(command)[1:])
            assert done.returncode == 0, done.stderr
            assert command in README or command.split()[1] == "sql"
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow
def test_as_it_is_its_slides_tell_the_class_better_than_mri(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    command = [sys.executable, "-m", "guidestore", "demo", "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert_all_is_said(done.stdout)
    shown = guidestore("evaluate", "phantom", "--store", folder / "store", "--format", "json")
    rows = {(r["mode"], r["row"], r["control"]): r["balanced_accuracy_mean"] for r in json.loads(shown.stdout)}
    for mode in ("as-published", "matched"):
        assert rows[mode, "S", ""] > rows[mode, "I", ""] + 0.1
        assert rows[mode, "I", ""] > 1 / 3
    controls = {"shuffled", "within class", "self"}
    for row in ("G(I)", "G(I)+I"):
        assert {control for mode, of, control in rows if (mode, of) == ("matched", row)} == {"", *controls}
