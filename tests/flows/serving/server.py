"""A real `guidestore serve` on a free port, and the API of its server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from filelock import FileLock

from tests.flows.serving.waiting import free_port, until

RETRAIN: dict[str, Any] = {
    "cohort": "skin",
    "target": "DIAG",
    "split": "official",
    "inferior": "clinical/made",
    "superior": "dermoscopy/made",
    "permutations": 2,
}
"""Settings of a retrain on the store of `tests.report_store`."""
LOOKING_OFTEN = """
from guidestore.flows.serving import serve
from guidestore.flows.serving import watching
serve.LOOK_SECONDS = watching.LOOK_SECONDS = 0.5
from guidestore.flows.cli.process import run
run()
"""
"""`guidestore` whose `serve` does not have one wait for its next look."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Served:
    """A store that is served, and the API of its server."""

    store: str
    """Folder or URL."""
    home: Path
    process: subprocess.Popen[str]
    api: httpx.Client
    line: str

    @property
    def page(self) -> str:
        """The address that it printed, to be opened in a browser."""
        return self.line.partition("open ")[2].partition(";")[0]

    def ask(self, name: str, settings: dict[str, Any] | None = None) -> httpx.Response:
        deployment = self.api.get(f"/deployments/name/{name}/{name}").json()["id"]
        body = {"state": {"type": "SCHEDULED"}, **({"parameters": {"settings": settings}} if settings else {})}
        return self.api.post(f"/deployments/{deployment}/create_flow_run", json=body)

    def start(self, name: str, settings: dict[str, Any] | None = None) -> str:
        return self.ask(name, settings).raise_for_status().json()["id"]

    def run_here(self, asked: dict[str, tuple[str, dict[str, Any] | None]]) -> dict[str, str]:
        """Runs flows one after the other in one process, not as the runner would; name -> id of its run."""
        secret = (self.home / "guidestore-auth").read_text().strip()
        own = {"PREFECT_API_URL": str(self.api.base_url).rstrip("/"), "PREFECT_API_AUTH_STRING": secret}
        own |= {"GUIDESTORE_STORE": self.store, "GUIDESTORE_PAGE_URL": "/explore/"}
        own |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
        done = subprocess.run(
            [sys.executable, "-m", "tests.flows.serving.in_one_process"],
            cwd=Path(__file__).parents[3],
            env=environment_in(self.home.parent) | own,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def state(self, run: str) -> dict[str, Any]:
        return self.api.get(f"/flow_runs/{run}").json()["state"]

    def end_of(self, run: str) -> dict[str, Any]:
        until(lambda: self.state(run)["type"] in ENDED)
        return self.state(run)

    def artifacts(self, run: str) -> dict[str, Any]:
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "ID_DESC"}
        return {one["key"] or one["type"]: one for one in self.api.post("/artifacts/filter", json=asked).json()}

    def log(self, run: str) -> str:
        asked = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.api.post("/logs/filter", json=asked).json())

    def server(self) -> int:
        """Process id of the server that it started."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next(int(child) for child in children if b"server" in Path(f"/proc/{child}/cmdline").read_bytes())

    def processes(self) -> list[str]:
        """Command lines of all processes of this server: its home folder is in their environment."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if f"PREFECT_HOME={self.home}".encode() in (place / "environ").read_bytes().split(b"\0"):
                    found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # ended meanwhile
                continue
        return [line for line in found if line]


def with_database(folder: Path, kept: Path) -> None:
    """Puts a new database of Prefect's into the home in `folder`, made once for all runs of the tests.

    Making it takes 14 of the 25 CPU seconds of a server's first start, which tests/packaging/test_installed.py sees.
    kept: the folder where it is kept, by the version of Prefect.
    """
    template = kept / f"prefect-{version('prefect')}.db"
    with FileLock(f"{template}.lock"):
        if not template.exists():
            with TemporaryDirectory(dir=kept) as scratch:
                made = environment_in(Path(scratch))
                command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
                subprocess.run(command, env=made, capture_output=True, check=True)
                (Path(scratch) / "home" / "prefect.db").replace(template)
    (folder / "home").mkdir()
    shutil.copy(template, folder / "home" / "prefect.db")


def api_of(port: int, folder: Path) -> httpx.Client:
    """The API of our server whose environment is that of `folder`, as a program with its secret has it."""
    user, _, password = (folder / "home" / "guidestore-auth").read_text().strip().partition(":")
    return httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=30, auth=(user, password))


def environment_in(folder: Path) -> dict[str, str]:
    """The environment of a Prefect server, runner or run that keeps what it has in `folder`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    own = {"PREFECT_HOME": str(folder / "home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "OMP_NUM_THREADS": "1"}
    return {**inherited, **own}


@contextmanager
def serving(
    store: Path | str,
    folder: Path,
    *options: str,
    server_port: int = 0,
    command: Sequence[Path | str] = (sys.executable, "-c", LOOKING_OFTEN),
) -> Iterator[Served]:
    """`guidestore serve` of the store with these options; what Prefect and the server keep lies in `folder`.

    server_port: of a server that runs already; 0: it starts its own. command: what runs it.
    """
    port = server_port or free_port()
    environment = environment_in(folder)
    if server_port:
        environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        environment["PREFECT_API_AUTH_STRING"] = (folder / "home" / "guidestore-auth").read_text().strip()
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*command, "serve", "--store", str(store), "--port", str(port), *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # as a terminal has it: Ctrl-C reaches the whole group
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "stderr").read_text()
        with api_of(port, folder) as api:
            yield Served(str(store), folder / "home", process, api, line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()
