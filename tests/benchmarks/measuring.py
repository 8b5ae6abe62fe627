"""Medians, and one table per benchmark with ratios against a baseline of the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of `action`, after one call to warm up."""
    action()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e3


def cost(command: list[str]) -> tuple[float, int]:
    """CPU seconds and peak MB of a command. Started by a small process: a fork inherits the peak of its parent."""
    small = (
        "import os, resource, sys; "
        "code = os.spawnvp(os.P_WAIT, sys.argv[1], sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print('\\n', used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, code)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", small, *command], capture_output=True, text=True, check=True)
    seconds, peak_mb, code = done.stdout.splitlines()[-1].split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)} ended with {code}: {done.stdout}{done.stderr}")
    return float(seconds), int(peak_mb)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
