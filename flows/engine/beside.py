"""An application under a path of its own beside another on one address, as the page of codes beside Prefect's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from guidestore.flows.engine.gate import Application, Receive, Send


class Beside:
    """Hands what is asked under `path` to the application that `make` gives, all else to `app`.

    path: as ``/explore``. make: called once, in a thread, when somebody first asks: what it imports does not delay the
    other's start.
    """

    def __init__(self, app: Application, path: str, make: Callable[[], Application]) -> None:
        self._app = app
        self._path = path
        self._make = make
        self._making = asyncio.Lock()
        self._made: Application | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not f"{path}/".startswith(f"{self._path}/"):
            await self._app(scope, receive, send)
            return
        if path == self._path:  # what the page asks is relative to it
            query = scope.get("query_string", b"")
            to = self._path.encode() + b"/" + (b"?" + query if query else b"")
            await send({"type": "http.response.start", "status": 307, "headers": [(b"location", to)]})
            await send({"type": "http.response.body", "body": b""})
            return
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        await self._made({**scope, "root_path": self._path}, receive, send)
