"""The Prefect server that `guidestore serve` starts, in a process of its own: API and UI on one address.

Run as `python -m guidestore.flows.engine.server HOST PORT SOCKETS [EXTRA…]`, or by a module that puts something beside
it (`flows.serving.server`). It ends when its parent does. Who may ask it what: `gate`.

PREFECT_SERVER_API_AUTH_STRING is what people give in a browser in place of the token.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.engine.gate import Access, Application, Gate, Message, Receive, Send, names_of
from guidestore.flows.engine.processes import die_with_parent

START_SECONDS = 300.0
"""On two loaded cores the first start, which makes the database, took 30."""
STOP_SECONDS = 10.0


@contextmanager
def running_server(
    host: str, port: int, environment: Mapping[str, str], extras: Sequence[str] = (), module: str = __name__
) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a child process, stopped on the way out. It is not ready yet: see `wait_until_ready`.

    extras: of `browsers.Extra`. module: whose `main` it runs. In a session of its own, so that the terminal's Ctrl-C
    reaches it after the runs that report to it.
    """
    listening = _listening(host, port)
    sockets = [one.fileno() for one in listening]
    process = subprocess.Popen(
        [sys.executable, "-m", module, host, str(port), ",".join(map(str, sockets)), *extras],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        pass_fds=sockets,
        start_new_session=True,
    )
    for one in listening:  # the server alone has them, so that nobody is kept waiting once it ended
        one.close()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def wait_until_ready(api_url: str, process: subprocess.Popen[bytes] | None) -> None:
    """Returns once the API answers.

    Raises GuidestoreError where our server (`process`) ended, InvalidInputError where another does not answer.
    """
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
            why = process.stdout.read().decode().strip() if process.stdout else ""
            raise GuidestoreError(
                f"the Prefect server cannot start ({why}): mend that, or set PREFECT_API_URL to use one that runs"
                if why
                else f"the Prefect server ended with code {process.returncode}; its output above says why"
            )
        if time.monotonic() > stop_at and process is not None:
            raise GuidestoreError(
                f"the Prefect server was started and does not answer at {api_url} after {START_SECONDS:g} s ({said}); "
                "start it again when this machine is less busy, or set PREFECT_API_URL to use one that runs"
            )
        if time.monotonic() > stop_at:
            raise InvalidInputError(
                f"no Prefect server answers at {api_url} ({said}); start it, or unset PREFECT_API_URL"
            )
        time.sleep(0.1)


def _listening(host: str, port: int) -> list[socket.socket]:
    """Sockets on the addresses of `host`. Raises InvalidInputError.

    Made before the server loads, which takes seconds in which the port might go to another.
    """
    found: list[socket.socket] = []
    try:
        places = {place[4]: place[0] for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        for number, (address, family) in enumerate(places.items(), 1):
            try:
                found.append(_bound(family, address))
            except OSError as error:
                # By its name this machine may have addresses, as of IPv6, that nothing can be bound to.
                if error.errno != errno.EADDRNOTAVAIL or (number == len(places) and not found):
                    raise
    except OSError as error:
        for one in found:
            one.close()
        raise InvalidInputError(
            f"{host}:{port} cannot be listened on ({error.strerror}); give another --port, or set PREFECT_API_URL "
            "to use a Prefect server that runs already"
        ) from error
    return found


def _bound(family: int, address: Any) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own, or none
        bound.bind(address)
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


type Around = Callable[[Application], Application]


def main(host: str, port: str, sockets: str, *extras: str, around: Around = lambda app: app) -> None:
    """Serves until SIGTERM, on sockets that it inherits and that listen. Why it cannot start, its parent reads.

    around: puts something beside Prefect's application, behind the gate.
    """
    die_with_parent(signal.SIGTERM)
    to_parent = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what else is printed is no reason
    try:
        why = _serve(host, port, [socket.socket(fileno=int(one)) for one in sockets.split(",")], extras, around)
    except Exception as error:
        why = str(error) if isinstance(error, GuidestoreError) else f"{type(error).__name__}: {error}"
    if why:
        to_parent.write(" ".join(why.split()))
        to_parent.close()
        sys.exit(3)


def _serve(host: str, port: str, listening: list[socket.socket], extras: Sequence[str], around: Around) -> str:
    """Returns why it could not start, '' if it did."""
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
        gate = Gate(around(cast(Any, create_app())), access)
        failures: list[str] = []
        config = uvicorn.Config(
            _noting_failures(gate, failures),
            host=host,
            port=int(port),
            log_level="error",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,  # an open browser tab would hold it for ever
        )
        try:
            uvicorn.Server(config).run(listening)
        except KeyboardInterrupt:
            pass
        except SystemExit:
            if not failures:
                raise
        return "".join(failures)


def _noting_failures(gate: Application, failures: list[str]) -> Application:
    """The gate. Where Prefect cannot start, its error becomes one of `failures` and no traceback is logged."""

    async def noting(scope: Message, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                lines = re.findall(r"^([A-Za-z_][\w.]*: .+)", message.get("message", ""), re.MULTILINE)
                failures.append(lines[-1] if lines else "Prefect does not say why")
                logging.getLogger("uvicorn.error").disabled = True
            await send(message)

        await gate(scope, receive, note if scope["type"] == "lifespan" else send)

    return noting


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
