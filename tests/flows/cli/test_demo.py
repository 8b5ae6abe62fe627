"""The main job through real Prefect flows with no server set up, as `guidestore demo` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "guidestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=900)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    done = run("demo", "--dir", folder / "d", home=folder / "prefect")
    assert done.returncode == 0, done.stderr
    return folder / "d", done.stdout, folder / "prefect"


def test_it_prints_table_answers_and_a_prediction(demo: tuple[Path, str, Path]) -> None:
    _, text, _ = demo
    for row in ("S+I", "S", "I", "G(I)", "G(I)+I", "G(I)+I, shuffled pairs"):
        assert text.count(f" {row} ") >= 2  # as-published and matched
    assert text.count("guidestore sql --store") >= 4
    assert "NEW_0001" in text
    assert "nothing was read" not in text


def test_slides_tell_the_class_better_than_mri(demo: tuple[Path, str, Path]) -> None:
    folder, _, home = demo
    done = run("evaluate", "phantom", "--store", folder / "store", "--format", "json", home=home)
    rows = {(r["mode"], r["row"], r["control"]): r["balanced_accuracy_mean"] for r in json.loads(done.stdout)}
    for mode in ("as-published", "matched"):
        assert rows[mode, "S", ""] > rows[mode, "I", ""] + 0.1
        assert rows[mode, "I", ""] > 1 / 3
    controls = {"shuffled", "within class", "self"}
    for row in ("G(I)", "G(I)+I"):
        assert {control for mode, of, control in rows if (mode, of) == ("matched", row)} == {"", *controls}


def test_a_second_run_reads_no_image_and_says_so(demo: tuple[Path, str, Path]) -> None:
    folder, _, home = demo
    done = run("demo", "--dir", folder, home=home)
    assert done.returncode == 0, done.stderr
    assert "images read: 0, networks and heads trained: 0 (every code was in the store" in done.stdout
