"""How far long work is: bars on a terminal; in a log a line every half a minute."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from guidestore.flows.work.printable import printable
from guidestore.flows.work.reporting import Progress

EVERY_SECONDS = 30.0
"""Between two lines where there is no terminal."""
_RATE_OVER_SECONDS = 300.0


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """One bar per kind of work on standard error, with rate and time left. Until one is told it says that it
    starts: open it before what is slow to import.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bars() as progress:
            yield progress
    else:
        with _lines() as progress:
            yield progress


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.table import Column
    from rich.text import Text

    class Counted(ProgressColumn):
        def render(self, task) -> Text:
            return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}")

    class Rate(ProgressColumn):
        def render(self, task) -> Text:
            seconds = task.finished_time if task.finished else None
            return Text(rate(task.completed / seconds if seconds else task.speed or 0.0))

    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        Counted(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # Standard output stays what it is: it may be a pipe that somebody reads.
    how = {"redirect_stdout": False, "speed_estimate_period": _RATE_OVER_SECONDS, "expand": True}
    with Bars(*columns, console=Console(stderr=True), **how) as bars:
        tasks = {}
        starting = bars.add_task("starting", total=None)

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                bars.update(starting, visible=False)
                tasks[what] = bars.add_task(printable(what), total=total)
            bars.update(tasks[what], completed=done, total=total)

        try:
            yield update
        finally:
            bars.update(starting, visible=False)


@dataclass
class _Told:
    """What was last told of one kind of work."""

    done: int
    total: int
    first: int
    since: float = field(default_factory=time.monotonic)


@contextmanager
def _lines() -> Iterator[Progress]:
    began, told, last = time.monotonic(), dict[str, _Told](), [""]
    over = threading.Event()

    def update(what: str, done: int, total: int) -> None:
        before = told.get(what)
        if before is None or done < before.done:
            told[what] = _Told(done, total, done)
        else:
            before.done, before.total = done, total
        last[0] = what

    def tell() -> None:
        while not over.wait(EVERY_SECONDS):
            of = told.get(last[0])
            line = f"starting, {_clock(time.monotonic() - began)} so far" if of is None else _line(last[0], of)
            print(printable(line), file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield update
    finally:
        over.set()
        thread.join()


def _line(what: str, of: _Told) -> str:
    seconds = time.monotonic() - of.since
    a_second = (of.done - of.first) / seconds if seconds else 0.0
    if not of.total:
        return f"{what}: {_clock(seconds)} so far"
    left = f", {_clock((of.total - of.done) / a_second)} left" if a_second else f", {_clock(seconds)} so far"
    return f"{what}: {of.done:,} of {of.total:,}{', ' + rate(a_second) if a_second else ''}{left}"


def rate(a_second: float) -> str:
    """``12/s``, ``3.4/min`` or ``2.0/h``; '' for none."""
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if a_second * factor >= 1 or (unit == "h" and a_second):
            value = a_second * factor
            return f"{value:,.0f}/{unit}" if value >= 10 else f"{value:.1f}/{unit}"
    return ""


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
