"""A proxy that lies between a store and its S3 server and fails as networks and servers do, by a seeded choice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal, Self

Fault = Literal["refuse", "cut before", "cut after", "fail after", "cut body"]
FAULTS: tuple[Fault, ...] = ("refuse", "cut before", "cut after", "fail after", "cut body")
"""refuse: 503, nothing forwarded. cut before: nothing forwarded, no answer. cut after: done, but the answer is lost.
fail after: done, and answered with 500. cut body: half of the answer, then nothing."""
_FAILED = b"HTTP/1.1 %d Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyProxy:
    """To be used as a context manager; `endpoint` takes the place of the server's.

    rate: share of requests that fail. faults: which kinds. drop_header: name of a header (lower case) that the server
    never sees. `counts` says what was done to how many requests.
    """

    def __init__(
        self,
        server: str,
        *,
        seed: int = 0,
        rate: float = 0.0,
        faults: tuple[Fault, ...] = FAULTS,
        drop_header: str = "",
    ) -> None:
        self._host, _, port = server.removeprefix("http://").partition(":")
        self._port = int(port)
        self._random = random.Random(seed)
        self.rate, self._faults, self._dropped = rate, faults, drop_header.encode()
        self.counts: Counter[str] = Counter()
        self.endpoint = ""
        self.gone = threading.Event()
        """Set: every request from now on is cut before it reaches the server."""
        self.watch: Callable[[str, str], None] = lambda method, path: None
        """Told of each request before anything is done with it."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.endpoint = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._listener.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection."""
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            self.counts["client gone"] += 1
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        method, path, _ = lines[0].decode().split(" ")
        self.watch(method, path)
        self.counts[method] += 1
        fault = self._random.choice(self._faults) if self._random.random() < self.rate else None
        if self.gone.is_set():
            fault = "cut before"
        if fault:
            self.counts[fault] += 1
        if fault == "refuse":
            writer.write(_FAILED % 503)
            return
        if fault == "cut before":
            writer.transport.abort()
            return
        kept = [line for line in lines if not self._dropped or not line.lower().startswith(self._dropped + b":")]
        answer = await self._forward(b"\r\n".join(kept) + b"\r\n\r\n" + body)
        if fault == "cut after":
            writer.transport.abort()
        elif fault == "fail after":
            writer.write(_FAILED % 500)
        elif fault == "cut body":
            end = answer.index(b"\r\n\r\n") + 4
            writer.write(answer[: end + (len(answer) - end) // 2] if len(answer) > end else b"")
            await writer.drain()
        else:
            writer.write(answer)
            await writer.drain()

    async def _forward(self, request: bytes) -> bytes:
        """The server's whole answer; it closes the connection after each."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
