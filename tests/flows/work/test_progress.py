"""Long work tells how far it is: on a terminal at once, in a log a line every so often."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest

from guidestore.flows.work import progress
from guidestore.flows.work.progress import progress_bars, rate


def test_in_a_log_there_is_a_line_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.1)
    with progress_bars() as told:
        time.sleep(0.15)
        told("cases", 0, 12)
        time.sleep(0.05)
        told("cases", 6, 12)
        time.sleep(0.15)
    first, *_, last = log.getvalue().splitlines()
    assert first == "starting, 0:00:00 so far"
    assert last.startswith("cases: 6 of 12, ")
    assert last.endswith(" left")
    assert "/s, " in last


def test_short_work_says_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as told:
        told("cases", 12, 12)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("a_second", "shown"), [(0.0, ""), (12.0, "12/s"), (1.25, "1.2/s"), (0.5, "30/min"), (0.001, "3.6/h")]
)
def test_a_rate_has_the_unit_that_it_needs(a_second: float, shown: str) -> None:
    assert rate(a_second) == shown


def test_what_is_slow_to_import_is_imported_within_it() -> None:
    """Commands that load torch or much of the store open their bar first: something is seen within a second."""
    cli = Path(progress.__file__).parents[1] / "cli"
    for file in ("codes", "heads", "sweeps", "experiments"):
        text = (cli / f"{file}.py").read_text(encoding="utf-8")
        for module in ("flows.encoding.encode ", "flows.guiding.guide ", "flows.sweeps.run ", "flows.paper.radpath "):
            for line in text.splitlines():
                if f"from guidestore.{module}" in line:
                    assert line.startswith(" " * 8), line
