"""A process ends at once, but not before what libraries asked for, its own threads, and its output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import atexit, sys, threading, time
from guidestore.flows.cli import process

class Immortal:
    def __del__(self):
        print("taken apart")

kept = Immortal()
kept.itself = kept
atexit.register(print, "asked for")
{more}
process.run()
"""
BACKEND = """
import os
os.environ["MPLBACKEND"] = "module://of_a_notebook"
atexit.register(lambda: print(os.environ["MPLBACKEND"]))
"""
THREAD = "threading.Thread(target=lambda: (time.sleep(2), print('thread'))).start()"


@pytest.mark.parametrize(
    ("more", "word", "code", "said"),
    [
        ("", "--version", 0, ["asked for"]),
        ("", "nonsense", 2, ["asked for"]),
        (THREAD, "--version", 0, ["thread", "asked for", "taken apart"]),
        (BACKEND, "--version", 0, ["agg", "asked for"]),
    ],
    ids=["at once", "an error", "a thread", "from a notebook"],
)
def test_a_process_ends(more: str, word: str, code: int, said: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(more=more), word], capture_output=True, text=True)
    assert done.returncode == code
    lines = done.stdout.splitlines()
    assert (lines[1:] if word == "--version" else lines) == said


VERSION = (sys.executable, "-m", "guidestore", "--version")


def test_a_full_disk_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(VERSION, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "error: standard output cannot be written: No space left on device; what was committed is in the store\n"
    assert (done.returncode, done.stderr) == (7, said)


def test_a_reader_that_is_gone_has_seen_enough() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(VERSION, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_file_takes_the_place_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    code = """
import sys
from guidestore.flows.cli import main, process

@main.app.command()
def probe():
    kept.append(open(sys.argv[0], "w"))
    print("this is not the file's")

kept = []
sys.argv = [sys.argv[1], "probe"]
process.run()
"""
    command = 'exec "$0" -c "$1" "$2" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", command, sys.executable, code, tmp_path / "file"])
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_what_an_encoding_lacks_is_shown_as_its_escape() -> None:
    ascii_ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*VERSION[:-1], "--help"], env=ascii_, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Usage: guidestore [OPTIONS] COMMAND \\u2026" in done.stdout
