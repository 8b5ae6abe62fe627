"""The page by itself, on loopback: a token in the address lets a browser in, as at `guidestore serve`."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import uvicorn

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.engine.gate import Access, Gate, names_of
from guidestore.flows.explore.app import make_app
from guidestore.flows.explore.cohorts import overview
from guidestore.flows.explore.explored import Explored
from guidestore.flows.explore.facts import facts_of
from guidestore.flows.work.memory import bound_memory

HOST = "127.0.0.1"


def explore(
    place: str, ready: Callable[[str], None], *, cohort: str = "", at: str = "", port: int = 0, key: Path | None = None
) -> None:
    """Serves the page until Ctrl-C. `ready` is told what to open. port: 0 for a free one. Raises GuidestoreError."""
    bound_memory()
    server, listener, url = prepared(place, cohort=cohort, at=at, port=port, key=key)
    ready(url)
    server.run(sockets=[listener])


def prepared(
    place: str, *, cohort: str = "", at: str = "", port: int = 0, key: Path | None = None
) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server, what it is to listen on, and the address to open. Raises GuidestoreError."""
    app = make_app(place, key)
    listener = _listening(port)
    token = secrets.token_hex(32)
    access = Access(private="", browser=token, people=False, names=names_of(HOST, ""), command="explore")
    threading.Thread(target=_warm, args=(app.state.explored, cohort, at), daemon=True).start()
    config = uvicorn.Config(
        Gate(cast(Any, app), access),
        log_level="error",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,  # an open tab would hold it
    )
    begins = {"page": "cohort" if cohort else "", "cohort": cohort, "at": at}
    query = urlencode({**{name: value for name, value in begins.items() if value}, "token": token})
    return uvicorn.Server(config), listener, f"http://{HOST}:{listener.getsockname()[1]}/?{query}"


def _warm(explored: Explored, cohort: str, at: str) -> None:
    """Works out what is asked first while the address is still being opened: of a million cases it takes seconds."""
    with suppress(GuidestoreError):  # said to who asks
        overview(explored, at)
        if cohort:
            facts_of(explored.view(at), cohort)


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InvalidInputError(
            f"{HOST}:{port} cannot be listened on ({error.strerror}); give another --port"
        ) from error
    return listener
