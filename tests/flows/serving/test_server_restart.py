"""The Prefect server is killed while a run goes on, and started again: what was committed stays, and the run goes on.

In the same module, because it has a server: runs that encode on one device wait for each other. Two minutes, most of
them of waiting, so it is behind `make slow`; test_serve has a run that waits for its device.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.engine.server import running_server
from tests.commandline import guidestore
from tests.flows.serving.server import RETRAIN, Served, environment_in, serving
from tests.flows.serving.waiting import free_port, until

pytestmark = pytest.mark.slow

ASKED = {**RETRAIN, "alias": ""}
OUTAGE_SECONDS = 8.0
"""Longer than Prefect's own runner bears: it then sees no cancellation any more."""
PHOTOGRAPHS = 60


class Server:
    """A Prefect server of its own, which can be killed."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = self._stack.enter_context(running_server("127.0.0.1", self.port, environment_in(self._folder)))
        until(self._answers)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._stack.close()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/health").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("restart")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder, free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def served(server: Server, report_store: Path, folder: Path) -> Iterator[Served]:
    shutil.copytree(report_store, folder / "store")
    with serving(folder / "store", folder, server_port=server.port) as served:
        yield served


def _runs(served: Served) -> frozenset[str]:
    return frozenset(EmbeddingStore.open(served.store).snapshot().select(kind="run")["artifact"].to_pylist())


def _steps(served: Served, run: str) -> dict[str, str]:
    """Name of a step, without Prefect's ending -> its state."""
    asked = {"flow_runs": {"id": {"any_": [run]}}}
    steps = served.api.post("/task_runs/filter", json=asked).json()
    return {step["name"].rpartition("-")[0]: step["state"]["name"] for step in steps}


def test_runs_encode_one_after_the_other_on_a_device(served: Served, tmp_path: Path) -> None:
    given = ("cohort", "add", "derm7pt-phantom", "photos", "--cases", PHOTOGRAPHS, "--images", tmp_path)
    assert guidestore(*given, "--store", served.store).returncode == 0
    asked = {"cohort": "photos", "encoder": "colour_texture"}
    until(lambda: "photos" in served.api.get("/deployments/name/encode/encode").text, "the form to offer the cohort")
    runs = [served.start("encode", {**asked, "modality": modality}) for modality in ("clinical", "dermoscopy")]
    spans = []
    for run in runs:
        assert served.end_of(run)["type"] == "COMPLETED", served.log(run)
        until(lambda run=run: "codes made" in served.log(run))
        spans.append(_encoding(served, run))
    (_, first_done), (second_began, _) = sorted(spans)
    assert first_done <= second_began
    limits = served.api.post("/v2/concurrency_limits/filter", json={}).json()
    assert [one["limit"] for one in limits if one["name"].endswith("-cpu")] == [1]

    again = served.start("encode", {**asked, "modality": "clinical"})
    assert served.end_of(again)["type"] == "COMPLETED"
    assert _steps(served, again) == {"encode": "Cached"}


def _encoding(served: Served, run: str) -> tuple[str, str]:
    """When a run began to encode, and when it had: as its log has it."""
    asked = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
    lines = served.api.post("/logs/filter", json=asked).json()
    (began,) = [line["timestamp"] for line in lines if line["message"] == "encoding on cpu"]
    (ended,) = [line["timestamp"] for line in lines if line["message"].startswith("images read: ")]
    return began, ended


def test_a_killed_server_loses_nothing_that_was_committed(served: Served, server: Server) -> None:
    before = _runs(served)
    run = served.start("retrain", {**ASKED, "seeds": list(range(10, 610))})
    until(lambda: _runs(served) > before)
    server.kill()
    committed = _runs(served)
    time.sleep(OUTAGE_SECONDS)
    server.start()
    assert _runs(served) >= committed
    until(lambda: _runs(served) > committed)  # the run goes on
    assert served.state(run)["type"] == "RUNNING"

    again = served.start("retrain", {**ASKED, "seeds": [10]})
    assert served.end_of(again)["type"] == "COMPLETED", served.log(again)
    assert _steps(served, again)["train heads"] == "Cached"

    served.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
    assert served.end_of(run)["type"] == "CANCELLED"
    assert fsck(EmbeddingStore.open(served.store).storage).clean
    assert _runs(served) >= committed
