"""The packages of examples/, built and installed, are there by their names and keep the contracts."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.tracked import ROOT
from tests.report_store import make_store

EXAMPLES = ("guidance", "encoder", "layout")
GUIDE = ("--inferior", "clinical/made", "--superior", "dermoscopy/made", "--target", "PIG", "--decoder", "logistic")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their wheels, unpacked as an installer does; nothing is asked of any index."""
    folder = tmp_path_factory.mktemp("examples")
    for name in EXAMPLES:
        tree = shutil.copytree(ROOT / "examples" / name, folder / "trees" / name)
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        subprocess.run(command, cwd=tree, check=True, capture_output=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
    return folder / "site"


def run(code: str, installed: Path, cwd: Path) -> str:
    """What a process prints that has the packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, installed)))}
    command = [sys.executable, "-P", *code.split()]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_guidance_model_is_compared_with_the_papers_rows(installed: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path, targets=())
    asked = f"-m guidestore guide skin {' '.join(GUIDE)} --permutations 1 --guidance principal --store {store}"
    table = list(csv.DictReader(io.StringIO(run(f"{asked} --format csv", installed, tmp_path))))
    assert {line["row"] for line in table} >= {"S+I", "S", "I", "G(I)", "G(I)+I"}
    assert any(line["verdict"] for line in table if line["row"] == "G(I)+I")


def test_the_examples_keep_the_contracts(installed: Path, tmp_path: Path) -> None:
    tests = [shutil.copy2(file, tmp_path) for file in sorted((ROOT / "examples").glob("*/tests/test_*.py"))]
    assert len(tests) == len(EXAMPLES)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q -p no:cacheprovider\n")
    said = run(f"-m pytest {tmp_path}", installed, tmp_path)
    assert "passed" in said
    assert "failed" not in said
