"""The committed bundle of the page is what its sources give, with the licences of what is in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.tracked import ROOT

PAGE = ROOT / "flows/explore/page"
BUNDLE = ROOT / "flows/explore/bundle"
MOST_BYTES = 3_000_000


def test_it_is_small_licensed_and_its_lock_names_no_registry() -> None:
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) < MOST_BYTES
    licences = (BUNDLE / "LICENSES.txt").read_text(encoding="utf-8")
    for name, version in json.loads((PAGE / "package.json").read_text())["dependencies"].items():
        assert f"{name} {version}\n" in licences
    lock = json.loads((PAGE / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all(package.get("integrity") for name, package in lock["packages"].items() if name)


def test_it_asks_nothing_of_the_network() -> None:
    """Nothing in it loads from elsewhere: scripts, styles and images are relative, or made here."""
    page = (BUNDLE / "index.html").read_text(encoding="utf-8")
    style = (BUNDLE / "explore.css").read_text(encoding="utf-8")
    assert "//" not in page.replace("<!doctype", "")
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.slow
def test_its_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """As `make explore-bundle` builds it, of the packages that the lock names."""
    if not shutil.which("npm"):
        pytest.skip("there is no Node here")
    shutil.copytree(PAGE, tmp_path / "page", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "bundle").mkdir()
    subprocess.run(["npm", "ci"], cwd=tmp_path / "page", check=True, capture_output=True, timeout=300)
    subprocess.run(["npm", "run", "bundle"], cwd=tmp_path / "page", check=True, capture_output=True, timeout=120)
    made = {file.name: file.read_bytes() for file in (tmp_path / "bundle").iterdir()}
    assert made == {file.name: file.read_bytes() for file in BUNDLE.iterdir()}
