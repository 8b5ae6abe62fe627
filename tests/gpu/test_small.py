"""The script for a machine with a GPU runs here at sizes of seconds, so that it cannot rot."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.gpu.__main__ import LIMITS_S, WHOLE_S
from tests.gpu.report import FAILED, Report


@pytest.mark.parametrize("part", LIMITS_S)
def test_a_part_holds_on_a_cpu(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of a few seconds; of the others that they can be loaded."""
    run = import_module(f"tests.gpu.{part}").run
    if part in ("ceilings", "heads", "neighbours"):
        run(Report("cpu", small=True, ceilings={}))
        said = capsys.readouterr().out
        assert said
        assert FAILED not in said


@pytest.mark.slow
def test_it_ends_well_on_a_cpu(tmp_path: Path) -> None:
    given = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--small", "--output", str(tmp_path / "said.txt")]
    done = subprocess.run(given, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "said.txt").read_text(encoding="utf-8") == done.stdout
    assert re.findall(r"^== (\w+), at most", done.stdout, re.MULTILINE) == [*LIMITS_S]
    assert "all checks hold" in done.stdout
    assert "FAILED" not in done.stdout


def test_a_part_that_hangs_or_breaks_does_not_stop_the_others(tmp_path: Path) -> None:
    code = (
        "import sys, tests.gpu.__main__ as main\n"
        "main.LIMITS_S |= {'neighbours': 0.1}\n"
        "sys.argv = ['tests.gpu', '--device', 'cpu', '--small', '--part', 'neighbours', '--part', 'ceilings']\n"
        "sys.exit(main.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 1
    assert "neighbours (out of time)" in done.stdout
    assert "copy of" in done.stdout


def test_the_parts_fit_into_their_time() -> None:
    assert WHOLE_S <= 480
    assert max(LIMITS_S.values()) < WHOLE_S
