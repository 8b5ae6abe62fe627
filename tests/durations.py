"""How long each file of tests took when that was last recorded: the longest go first, so that no worker ends with one
of them alone. `make durations` records it anew."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

RECORD = Path(__file__).with_name("durations.json")
LEAST_SECONDS = 2.0
"""Shorter files are not named."""


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts them in place, by file; what is not in the record comes last."""
    seconds: dict[str, float] = json.loads(RECORD.read_text(encoding="utf-8"))
    items.sort(key=lambda item: -seconds.get(item.nodeid.partition("::")[0], 0.0))


class Recorder:
    """A plugin of the process that collects the workers' reports."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        by_length = sorted(self._seconds.items(), key=lambda timed: -timed[1])
        longest = {file: round(seconds, 1) for file, seconds in by_length if seconds >= LEAST_SECONDS}
        RECORD.write_text(json.dumps(longest, indent=1) + "\n", encoding="utf-8")
