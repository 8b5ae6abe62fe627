"""The page by itself, on loopback: a token in the address lets a browser in, as at `guidestore serve`."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import uvicorn

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.engine.gate import Access, Gate, names_of
from guidestore.flows.explore.app import make_app

HOST = "127.0.0.1"


def explore(
    place: str, ready: Callable[[str], None], *, cohort: str = "", at: str = "", port: int = 0, key: Path | None = None
) -> None:
    """Serves the page until Ctrl-C. `ready` is told what to open. port: 0 for a free one. Raises GuidestoreError."""
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
    config = uvicorn.Config(
        Gate(cast(Any, app), access),
        log_level="error",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,  # an open tab would hold it
    )
    begins = {"page": "cohort" if cohort else "", "cohort": cohort, "at": at}
    query = urlencode({**{name: value for name, value in begins.items() if value}, "token": token})
    return uvicorn.Server(config), listener, f"http://{HOST}:{listener.getsockname()[1]}/?{query}"


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
