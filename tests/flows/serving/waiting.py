"""What tests of several processes share: waiting, and free ports."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

WAIT_SECONDS = 120.0


def until(condition: Callable[[], object], what: str = "it", *, every_s: float = 0.2) -> None:
    """Waits for it. Fails the test after WAIT_SECONDS."""
    stop_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < stop_at, f"waited too long for {what}"
        time.sleep(every_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
