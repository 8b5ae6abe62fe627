"""The Prefect server that `guidestore serve` starts, in a process of its own: API and UI on one address.

Run as `python -m guidestore.flows.engine.server HOST PORT [EXTRA…]`. It ends when its parent does. Who may ask it what:
`gate`. PREFECT_SERVER_API_AUTH_STRING is what people give in a browser in place of the token.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.engine.processes import die_with_parent

START_SECONDS = 120.0
"""On two loaded cores the first start, which makes the database, took 30."""
STOP_SECONDS = 10.0


@contextmanager
def running_server(
    host: str, port: int, environment: Mapping[str, str], extras: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a child process, stopped on the way out. It is not ready yet: see `wait_until_ready`.

    extras: of `browsers.Extra`. In a session of its own, so that the terminal's Ctrl-C reaches it after the runs that
    report to it.
    """
    _check_free(host, port)
    process = subprocess.Popen(
        [sys.executable, "-m", "guidestore.flows.engine.server", host, str(port), *extras],
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


def main(host: str, port: str, *extras: str) -> None:
    """Serves until SIGTERM."""
    die_with_parent(signal.SIGTERM)
    # Prefect's own check would ask browsers that have the cookie for a password: the gate asks instead.
    people = os.environ.pop("PREFECT_SERVER_API_AUTH_STRING", "")
    page = next((os.environ[name] for name in _UI_API_URL if os.environ.get(name)), "")

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import (
        PREFECT_SERVER_API_AUTH_STRING,
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
        PREFECT_UI_API_URL,
        get_current_settings,
        temporary_settings,
    )

    from guidestore.flows.engine.browsers import Extra
    from guidestore.flows.engine.gate import Access, Gate, names_of
    from guidestore.flows.engine.secrets import secrets_in

    _let_writers_queue()
    secrets = secrets_in(get_current_settings().home)
    parts = urlsplit(page)
    access = Access(
        private=secrets.private,
        browser=people or secrets.token,
        people=bool(people),
        names=names_of(host, page),
        page=f"{parts.scheme}://{parts.netloc}" if page else "",
        extras=frozenset(Extra(extra) for extra in extras),
    )
    # The pages find the API beside them, by whatever name or port this machine is reached.
    settings: dict[Any, Any] = {PREFECT_UI_API_URL: page or "/api", PREFECT_SERVER_CORS_ALLOWED_ORIGINS: access.page}
    with temporary_settings(settings, restore_defaults={PREFECT_SERVER_API_AUTH_STRING}):
        uvicorn.run(
            Gate(cast(Any, create_app()), access),
            host=host,
            port=int(port),
            log_level="error",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,  # an open browser tab would hold it for ever
        )


_UI_API_URL = ("PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL")


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
