"""A terminal of a given width for the command line of this process, and the tables that were printed on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len

from guidestore.flows.cli import layout
from guidestore.flows.cli.main import main

WIDTHS = (80, 100, 140)
_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass
class Shown:
    """What stood on it: styles and line ends taken away. tables: what `layout.as_lines` was given, in order."""

    text: str = ""
    returncode: object = None
    stderr: str = ""
    tables: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def lines_at(self, width: int) -> list[str]:
        """The tables as they stand on another width."""
        return [
            _STYLES.sub("", line)
            for given, how in self.tables
            for line in layout.as_lines(*given, **{**how, "width": width})
        ]

    def check_tables(self, *whole: str) -> None:
        """All tables fit all widths, and each of `whole` is in one piece; so is every verdict."""
        for width in WIDTHS:
            lines = self.lines_at(width)
            wide = [line for line in lines if cell_len(line) > width]
            assert not wide, f"at {width} columns: {wide[0]}"
            for text in (*whole, *self.verdicts()):
                assert any(text in line for line in lines), f"at {width} columns {text!r} is not in one piece"

    def verdicts(self) -> list[str]:
        """Cells of the columns of that name, which must be the first."""
        found = []
        for (columns, rows), _ in self.tables:
            if layout.WHOLE in columns:
                assert columns[0] == layout.WHOLE
                found += [row[0] for row in rows]
        return found


@contextmanager
def terminal(width: int) -> Iterator[Shown]:
    """Within it standard output is a terminal; standard error is none."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    shown, read = Shown(), list[bytes]()
    reader = threading.Thread(target=_read_all, args=(master, read.append))
    reader.start()
    real = layout.as_lines

    def recorded(columns: Any, rows: Any, **how: Any) -> Iterator[str]:
        shown.tables.append(((columns, rows), how))
        return real(columns, rows, **how)

    with pytest.MonkeyPatch.context() as patch, os.fdopen(slave, "w", encoding="utf-8") as out:
        patch.setattr(layout, "as_lines", recorded)
        patch.setattr(sys, "stdout", out)
        patch.setenv("TERM", "xterm")
        patch.delenv("COLUMNS", raising=False)
        patch.delenv("NO_COLOR", raising=False)
        try:
            yield shown
        finally:
            out.flush()
            patch.undo()
    reader.join()
    os.close(master)
    shown.text = _STYLES.sub("", b"".join(read).decode()).replace("\r\n", "\n")


def on_screen(*arguments: object, width: int = WIDTHS[0]) -> Shown:
    """`guidestore` with these arguments, on a terminal."""
    with redirect_stderr(StringIO()) as err, terminal(width) as shown, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["guidestore", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    shown.returncode, shown.stderr = ended.value.code, err.getvalue()
    return shown


def _read_all(descriptor: int, take: Callable[[bytes], None]) -> None:
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # its other end is closed
            return
        if not block:
            return
        take(block)
