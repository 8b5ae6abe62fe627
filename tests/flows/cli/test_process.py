"""A process ends at once, but not before what libraries asked for, its own threads, and its output."""

from __future__ import annotations

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
THREAD = "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()"


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


def test_a_full_disk_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "guidestore", "--help"], stdout=full, stderr=subprocess.DEVNULL)
    assert done.returncode != 0
