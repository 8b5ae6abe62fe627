"""`prefect deploy` and a worker, as docs/serving.md has them for teams: with the private secret, and not without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.serving.server import ENDED, api_of
from tests.flows.serving.test_server_restart import Server
from tests.flows.serving.waiting import free_port, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PREFECT = (sys.executable, "-m", "prefect")


def test_a_worker_runs_what_was_deployed(report_store: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, free_port())
    server.start()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    stranger = clean | {
        "PREFECT_HOME": str(tmp_path / "elsewhere"),  # another machine, which has the line of the file alone
        "PREFECT_API_URL": f"http://127.0.0.1:{server.port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "GUIDESTORE_STORE": str(report_store),
        "OMP_NUM_THREADS": "1",
    }
    secret = (tmp_path / "home/guidestore-auth").read_text().strip()
    ours = stranger | {"PREFECT_API_AUTH_STRING": secret}

    def prefect(*arguments: str, env: dict[str, str] = ours) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*PREFECT, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)

    try:
        refused = prefect("work-pool", "create", "guidestore", "--type", "process", env=stranger)
        assert refused.returncode != 0
        assert "401" in refused.stdout + refused.stderr
        for arguments in (
            ("work-pool", "create", "guidestore", "--type", "process"),
            ("--no-prompt", "deploy", "--all"),
        ):
            done = prefect(*arguments)
            assert done.returncode == 0, done.stdout + done.stderr
        with api_of(server.port, tmp_path) as api:
            deployed = api.get("/deployments/name/verify/verify").json()
            assert deployed["work_pool_name"] == "guidestore"
            start = {"state": {"type": "SCHEDULED"}}
            run = api.post(f"/deployments/{deployed['id']}/create_flow_run", json=start).json()["id"]
            with (tmp_path / "worker.txt").open("w") as log:
                worker = subprocess.Popen(
                    [*PREFECT, "worker", "start", "--pool", "guidestore"],
                    cwd=tmp_path,
                    env=ours,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            try:
                until(lambda: api.get(f"/flow_runs/{run}").json()["state"]["type"] in ENDED, "the run of the worker")
                state = api.get(f"/flow_runs/{run}").json()["state"]
                assert state["type"] == "COMPLETED", (state, (tmp_path / "worker.txt").read_text())
            finally:
                os.killpg(worker.pid, signal.SIGTERM)
                worker.wait(60)
        assert secret not in (tmp_path / "worker.txt").read_text()
    finally:
        server.kill()
