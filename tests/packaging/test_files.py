"""Each tool sees one package, and in it each of git's files: they treat the links of guidestore/ differently."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.house.imports import imports_of_modules
from tests.packaging.tracked import ROOT, modules, package_files

COVERAGE_SEES = """
import coverage, os
seen = coverage.Coverage(data_file=None)  # with the settings of pyproject.toml
seen.start()
import guidestore
seen.stop()
print(*(os.path.relpath(file) for file in seen.get_data().measured_files()), sep="\\n")
"""


def test_the_wheel_has_gits_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.startswith("guidestore-")}
    assert packed == package_files()
    assert {"guidestore/py.typed", "guidestore/flows/report/style.css"} <= packed
    assert any(name.endswith(".sql") for name in packed)


def test_import_linter_sees_them_all() -> None:
    assert imports_of_modules().keys() == modules()


def test_coverage_sees_them_all() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COVERAGE_SEES], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    seen = {name if name.startswith("guidestore/") else f"guidestore/{name}" for name in done.stdout.splitlines()}
    assert seen == {name for name in package_files() if name.endswith(".py")}


def test_pyright_sees_them_all() -> None:
    command = [sys.executable, "-m", "pyright", "--verbose"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as pyright:
        assert pyright.stdout
        try:  # it says how many it found before it looks into them, which takes half a minute
            said = next(line for line in pyright.stdout if line.startswith("Found "))
        finally:
            os.killpg(pyright.pid, signal.SIGKILL)
    assert said == f"Found {len(modules())} source files\n"
