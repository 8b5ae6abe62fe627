"""Standard streams of a process: what is closed is nowhere, and what standard output cannot take is said."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from guidestore.embeddings.errors import StorageError


class ReaderGoneError(Exception):
    """The reader of our pipe has seen enough."""


class _Output(io.FileIO):
    """A descriptor whose errors are told from those of all other files, and of the network."""

    def write(self, data: Any, /) -> Any:
        """Raises ReaderGoneError, StorageError."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ReaderGoneError from error
            raise StorageError(
                f"standard output cannot be written: {error.strerror}; what was committed is in the store"
            ) from error


def prepare_streams() -> None:
    """To be called before a file is opened: the first one would be given the number of a stream that is closed, and
    what a library prints would be written into it.

    What the encoding of standard output lacks is shown as its escape.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    raw = _Output(1, "w", closefd=False)
    how = {"errors": "backslashreplace", "line_buffering": raw.isatty()}
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, **how)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr


def discard_output() -> None:
    """What is still to be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
