"""Names are shown as they are: brackets, colons and what a terminal would obey mean nothing in them."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guidestore.flows.cli.interrupt import SENTENCE
from guidestore.flows.cli.output import MAX_TABLE_ROWS, show_rows
from guidestore.flows.work.printable import printable
from tests.flows.serving.waiting import until

NAMES = ("[/bold]", "[red]x[/red]", ":smile:", "a\x1b[2Jb", "a\x9b2Jb", "x\u202ey", "ü 肺")
ROWS = [{"class": name, "[/n]": 1.5} for name in NAMES]


def shown(capsys: pytest.CaptureFixture[str], format_: str) -> str:
    show_rows(ROWS, ["class", "[/n]"], format_, "[/title]")
    return capsys.readouterr().out


def test_a_table_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "table")
    for seen in (
        "[/bold]",
        "[red]x[/red]",
        ":smile:",
        r"a\x1b[2Jb",
        r"a\x9b2Jb",
        r"x\u202ey",
        "ü 肺",
        "[/n]",
        "[/title]",
    ):
        assert seen in text
    assert "\x1b" not in text


def test_csv_and_json_give_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row[0] for row in csv.reader(shown(capsys, "csv").splitlines())][1:] == list(NAMES)
    assert json.loads(shown(capsys, "json")) == ROWS
    show_rows([], ["a"], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_a_table_says_how_many_rows_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"a": 1}] * (MAX_TABLE_ROWS + 3), ["a"], "table", more=10)
    assert "… and 13 more rows" in capsys.readouterr().out


def test_what_is_printable() -> None:
    assert printable("a\tb\nc\x07\ud800\x7f") == r"a\tb".replace("\\t", "\t") + "\nc" + r"\x07\ud800\x7f"


def on_a_terminal(command: list[str], once: Callable[[bytes], bool]) -> tuple[bytes, float, int]:
    """Runs it on a terminal of its own; types Ctrl-C once that holds of what it printed. All it printed, the seconds
    from Ctrl-C to its end, and its exit code.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, *command])
    text, typed = b"", 0.0
    while True:
        try:
            text += os.read(terminal, 4096)
        except OSError:  # its end is closed
            break
        if not typed and once(text):
            time.sleep(0.5)
            os.write(terminal, b"\x03")
            typed = time.monotonic()
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return text, time.monotonic() - typed, os.waitstatus_to_exitcode(status)


BUSY = """
import sys, threading, time
from guidestore.flows.cli import main as command

@command.app.command()
def wait_for_threads():
    stop = threading.Event()
    threading.Thread(target=time.sleep, args=(30,)).start()  # as a pool that reads ahead has them
    print("begun", flush=True)
    stop.wait()

sys.argv = ["guidestore", "wait-for-threads"]
command.main()
"""


def test_ctrl_c_is_answered_at_once_though_threads_go_on() -> None:
    text, seconds, code = on_a_terminal(["-c", BUSY], lambda text: b"begun" in text)
    assert text.count(SENTENCE.encode()) == 1
    assert seconds < 4, "1.5 and what a loaded machine adds; the thread would take 30"
    assert code == 130


def test_ctrl_c_stops_a_query(report_store: Path, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x) SELECT count(*) FROM x"
    process = subprocess.Popen(
        [sys.executable, "-m", "guidestore", "sql", endless, "--store", report_store],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    until(lambda: list(tmp_path.glob("guidestore-sql-*")), every_s=0.1)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (said, process.returncode) == (f"{SENTENCE}\n", 130)
    assert list(tmp_path.iterdir()) == []
