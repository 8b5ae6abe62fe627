"""The Prefect server that `guidestore serve` starts, in a process of its own: API and UI on one address.

Run as `python -m guidestore.flows.engine.server HOST PORT`. It ends when its parent does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.engine.processes import die_with_parent

START_SECONDS = 120.0
"""On two loaded cores the first start, which makes the database, took 30."""
STOP_SECONDS = 10.0


@contextmanager
def running_server(host: str, port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a child process, stopped on the way out. It is not ready yet: see `wait_until_ready`.

    In a session of its own, so that the terminal's Ctrl-C reaches it after the runs that report to it.
    """
    _check_free(host, port)
    process = subprocess.Popen(
        [sys.executable, "-m", "guidestore.flows.engine.server", host, str(port)],
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(api_url: str, process: subprocess.Popen[bytes] | None) -> None:
    """Returns once the API answers. Raises InvalidInputError where a server that is not ours does not."""
    import httpx

    stop_at = time.monotonic() + (START_SECONDS if process else STOP_SECONDS)
    while True:
        try:
            if httpx.get(f"{api_url}/health", timeout=5).status_code == 200:
                return
            said = "it is no Prefect server"
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
        if process is not None and process.poll() is not None:
            raise GuidestoreError(f"the Prefect server ended with code {process.returncode}; its output above says why")
        if time.monotonic() > stop_at:
            raise InvalidInputError(
                f"no Prefect server answers at {api_url} ({said}); start it, or unset PREFECT_API_URL"
            )
        time.sleep(0.1)


def _check_free(host: str, port: int) -> None:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidInputError(
                f"{host}:{port} cannot be listened on ({error.strerror}); give another --port, or set PREFECT_API_URL "
                "to use a Prefect server that runs already"
            ) from error


def main(host: str, port: str) -> None:
    """Serves until SIGTERM."""
    die_with_parent(signal.SIGTERM)
    import uvicorn

    _let_writers_queue()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host=host,
        port=int(port),
        log_level="error",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,  # an open browser tab would hold it for ever
    )


def _let_writers_queue() -> None:
    """Has SQLite's transactions take the write lock as they begin, and so wait for it.

    Prefect begins most of them deferred: one that has read and then wants to write is refused at once where another
    wrote in between. The API then answers 503, which a browser shows and after which Prefect's clients wait for 2 s.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    configuration: Any = AioSqliteConfiguration
    begin_transaction = configuration.begin_transaction

    def begin_immediately(self: Any, session: Any, with_for_update: bool = True) -> Any:
        return begin_transaction(self, session, with_for_update=True)

    configuration.begin_transaction = begin_immediately


if __name__ == "__main__":
    main(*sys.argv[1:])
