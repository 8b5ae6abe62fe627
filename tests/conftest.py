"""What tests of several folders share: one small store with runs, and the report on it. Nobody writes to them."""

from __future__ import annotations

import gc
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests import explore_store
from tests.commandline import guidestore
from tests.durations import Recorder, longest_first
from tests.ram_disk import ram_folder
from tests.report_store import make_store
from tests.s3_server import BUCKET, environment, running_server


@pytest.fixture(scope="session")
def report_store(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Made once, by the worker that needs it first: its commands take half a minute."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "report"
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir()
            make_store(folder)
            (folder / "made").touch()
    return folder / "store"


@pytest.fixture(scope="session")
def page_store(report_store: Path) -> Path:
    """For the page of `guidestore explore`: the same with images beside. Made once too."""
    folder = report_store.parent / "explore"
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir()
            explore_store.make_store(report_store, folder)
            (folder / "made").touch()
    return folder / "store"


@pytest.fixture(scope="session")
def report_file(report_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report-file") / "report.html"
    done = guidestore("report", "skin", "--store", report_store, "--out", file)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Endpoint of an S3 server on loopback."""
    with running_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own in a bucket, and the environment in which it opens."""
    for name, value in environment(s3_server, tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help="write how long each file took")
    parser.addoption("--in-memory", action="store_true", help="keep what tests write in memory, where there is room")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # processes of tests are to see Ctrl-C
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())
    if config.getoption("--in-memory") and not hasattr(config, "workerinput") and (folder := ram_folder()):
        config.option.basetemp = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_finish() -> None:
    """What is imported by now stays for good, so that collecting garbage need not go through it each time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)
