"""The README's tour is run as it stands, on the real codes it names, and must print what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", ROOT.parent / "shared" / "data"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tour() -> str:
    """The README from the tour's headline to the next one."""
    return README.split("## Five minutes with your own codes")[1].split("\n## ")[0]


def commands() -> str:
    """All console blocks of the tour as one shell script; a command goes on until the next ``$``."""
    blocks = re.findall(r"```console\n(.*?)```", tour(), re.DOTALL)
    return "set -e\n" + "".join(re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in blocks)


def table_rows(text: str) -> dict[str, float]:
    """Input row -> mean balanced accuracy of a printed table."""
    found = re.findall(r"│\s*(?:\S+)?\s*│ ([^│]+?)\s*│\s*([\d.]+) ±", text)
    return {row: float(value) for row, value in found}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not (DATA / "mfeat").is_dir():
        pytest.skip("the real data of GUIDESTORE_TEST_DATA is missing")
    folder = tmp_path_factory.mktemp("tour")
    (folder / "mfeat").symlink_to(DATA / "mfeat")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("GUIDESTORE_STORE", None)
    done = subprocess.run(
        ["bash", "-c", commands()], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tour_prints_the_table_it_shows(printed: str) -> None:
    shown, got = table_rows(tour()), table_rows(printed)
    assert set(shown) == {
        "S+I", "S", "I", "G(I)", "G(I), shuffled pairs", "G(I)+I", "G(I)+I, shuffled pairs",
    }  # fmt: skip
    # Another processor may round a logistic fit differently.
    assert got == pytest.approx(shown, abs=0.01)


def test_the_tour_answers_and_predicts(printed: str) -> None:
    assert "digit-1999" in printed.split("champion ->")[1]
    assert "similarity" in printed


def test_every_command_of_the_readme_exists() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "flows.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = set(re.findall(r"guidestore ([a-z]+)", README)) - {"is", "refuses"}
    for command in named:
        assert re.search(rf"\b{command}\b", text), command


def test_files_that_the_readme_links_are_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)
