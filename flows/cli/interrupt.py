"""Ctrl-C is answered at once, whatever the main thread is doing, and ends the process soon after."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SENTENCE = "interrupted; what was committed is safe, run the same command again to go on"
GRACE_SECONDS = 1.5
"""In which the command may put away what it has begun. A commit is whole or not there, so nothing is lost after it."""


@contextmanager
def answered() -> Iterator[Callable[[], None]]:
    """Within it Ctrl-C has the sentence said, by a thread: the main one may be deep in a library, or wait for its own.

    What it gives says the sentence unless that was done.
    """
    said = threading.Lock()

    def say() -> None:
        if said.acquire(blocking=False):
            os.write(2, f"{SENTENCE}\n".encode()) if sys.stderr is sys.__stderr__ else print(SENTENCE, file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield say
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    hook = sys.unraisablehook

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        """A compiler that calls us back swallows the interrupt, and would have a traceback printed of it."""
        if not issubclass(what.exc_type, KeyboardInterrupt):
            hook(what)

    sys.unraisablehook = unraisable

    def listen() -> None:
        while number := os.read(reader, 1):
            if number[0] == signal.SIGINT:
                say()
                time.sleep(GRACE_SECONDS)
                os._exit(128 + signal.SIGINT)
        os.close(reader)

    threading.Thread(target=listen, name="ctrl-c", daemon=True).start()
    try:
        yield say
    finally:
        sys.unraisablehook = hook
        # An event loop that the command ran has taken our place, and left it empty.
        signal.set_wakeup_fd(before if before != writer else -1)
        os.close(writer)
