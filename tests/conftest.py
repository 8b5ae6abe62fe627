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


LONGEST = (
    *("flows/test_serve.py", "flows/test_demo.py", "flows/test_cli.py", "flows/test_encode.py", "test_docs.py"),
    *("flows/test_export_model.py", "flows/test_sweep.py"),
)
"""Files that go first, so that no worker ends with one of them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((place for place, name in enumerate(LONGEST) if path.endswith(name)), len(LONGEST))

    items.sort(key=rank)
