"""What tests of several folders share: one small store with runs, and the report on it. Nobody writes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commandline import guidestore
from tests.report_store import make_store


@pytest.fixture(scope="session")
def report_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def report_file(report_store: Path) -> Path:
    file = report_store.parent / "report.html"
    done = guidestore("report", "skin", "--store", report_store, "--out", file)
    assert done.returncode == 0, done.stderr
    return file
