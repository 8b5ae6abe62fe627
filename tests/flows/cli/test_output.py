"""Names are shown as they are: brackets, colons and what a terminal would obey mean nothing in them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.cli.interrupt import SENTENCE
from guidestore.flows.cli.output import MAX_TABLE_ROWS, show_arrow, show_rows
from guidestore.flows.work.printable import printable
from tests.flows.serving.waiting import until
from tests.terminal import WIDTHS, terminal

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


def test_a_terminal_says_how_many_rows_it_leaves_out_and_a_pipe_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal(80) as shown:
        show_rows([{"a": 1}] * (MAX_TABLE_ROWS + 3), ["a"], "table", more=10)
    assert "… and 13 more rows" in shown.text
    show_rows([{"a": 1}] * (MAX_TABLE_ROWS + 3), ["a"], "table")
    assert capsys.readouterr().out.count("1\n") == MAX_TABLE_ROWS + 3


WIDE = {f"column_{number}": f"value {number} of a row" for number in range(9)} | {"verdict": "guidance helps", "n": 12}


@pytest.mark.parametrize("width", WIDTHS)
def test_wide_rows_become_blocks_and_nothing_is_lost(width: int) -> None:
    """Digests and long words too; the verdict first."""
    rows = [WIDE | {"digest": "0123456789abcdef" * 20}] * 2
    with terminal(width) as shown:
        show_rows(rows, list(rows[0]), "table")
    lines = shown.text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("── 1 of 2 ─")
    assert lines[1].split() == ["verdict", "guidance", "helps"]
    assert "".join(lines).replace(" ", "").count("0123456789abcdef" * 20) == 2
    assert sum("value 7 of a row" in line for line in lines) == 2


def test_text_may_take_two_lines_and_numbers_and_verdicts_none() -> None:
    rows = [{"what": "some words that need more room than there is " * 2, "p": 0.1234, "verdict": "cannot tell"}]
    with terminal(80) as shown:
        show_rows(rows, ["what", "p", "verdict"], "table")
    heading, _, first, second = shown.text.splitlines()
    assert heading.split() == ["verdict", "what", "p"]
    assert first.startswith("cannot tell  some words")
    assert first.endswith("0.1234")
    assert second.startswith(" " * 13)


def test_a_pipe_has_a_line_for_each_row_and_whole_values(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"a": "x" * 500, "b": "two\nlines"}, {"a": [0.5] * 9, "b": None}], ["a", "b"], "table")
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first == f"{'x' * 500}  two\\nlines"
    assert second == "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]"


def test_later_rows_of_a_pipe_stand_below_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Signs of two places too."""
    rows = [{"a": "肺", "n": 1}, *[{"a": "x", "n": 1}] * 1000, {"a": "肺", "n": 1}]
    show_rows(rows, ["a", "n"], "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == lines[-1] == "肺  1"


def test_csv_is_utf_8_in_any_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    show_rows([{"class": "ü 肺"}], ["class"], "csv")
    sys.stdout.flush()
    assert out.getvalue().decode() == "class\nü 肺\n"


def test_json_has_numbers_and_null(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"a": Decimal("1.5"), "b": np.float32(0.25), "c": math.nan, "d": np.int64(3), "e": None, "f": True}
    show_rows([values], list(values), "json")
    assert json.loads(capsys.readouterr().out) == [{"a": 1.5, "b": 0.25, "c": None, "d": 3, "e": None, "f": True}]


def test_markdown_is_a_table_whatever_the_names_hold(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(
        [{"a|b": "<b>*x*|y", "n": 1.23456}, {"a|b": "two\nlines", "n": None}], ["a|b", "n"], "markdown", "of [it]"
    )
    assert capsys.readouterr().out == (
        "**of \\[it\\]**\n\n| a\\|b | n |\n| --- | ---: |\n| \\<b\\>\\*x\\*\\|y | 1.235 |\n| two<br>lines |  |\n\n"
    )


def test_parquet_is_not_sent_to_a_terminal() -> None:
    with terminal(80), pytest.raises(InvalidInputError, match="send it into a file"):
        show_rows([{"a": 1}], ["a"], "parquet")


def test_parquet_holds_columns_of_numbers_and_text_and_whole_decimals(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    rows = [{"labels": 50, "n": Decimal(2**60 + 1), "x": Decimal("1.5")}, {"labels": "all", "n": None, "x": 2}]
    show_rows(rows, ["labels", "n", "x"], "parquet")
    table = pq.read_table(io.BytesIO(capfdbinary.readouterr().out))
    assert table.to_pydict() == {"labels": ["50", "all"], "n": [2**60 + 1, None], "x": [1.5, 2.0]}


def test_a_column_that_parquet_has_no_type_for_is_named_and_nothing_is_written(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    table = pa.table({"case_id": ["c"], "took": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(InvalidInputError, match=r"no type for column 'took' \(month_day_nano_interval\): cast it"):
        show_arrow(table, "parquet")
    assert capfdbinary.readouterr().out == b""


def test_what_is_printable() -> None:
    assert printable("a\tb\nc\x07\ud800\x7f") == r"a\tb".replace("\\t", "\t") + "\nc" + r"\x07\ud800\x7f"
    assert printable("a\u200b\u200f\ufeff") == r"a\u200b\u200f\ufeff"
    assert printable("é 👩🏽\u200d⚕️ नमस्ते") == "é 👩🏽\u200d⚕️ नमस्ते"


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


SWALLOWED = """
import ctypes, sys, time
from guidestore.flows.cli import main as command

called_back = ctypes.CFUNCTYPE(None)(lambda: (print("begun", flush=True), time.sleep(30)))

@command.app.command()
def compile_something():
    while True:
        called_back()

sys.argv = ["guidestore", "compile-something"]
command.main()
"""


def test_ctrl_c_in_what_calls_us_back_is_one_sentence() -> None:
    """As in numba's compiler: ctypes ignores the interrupt, and would print a traceback of it."""
    text, seconds, code = on_a_terminal(["-c", SWALLOWED], lambda text: b"begun" in text)
    assert text.count(SENTENCE.encode()) == 1
    assert b"Traceback" not in text
    assert (seconds < 4, code) == (True, 130)


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
