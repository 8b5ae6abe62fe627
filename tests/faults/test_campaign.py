"""150 kills over all commands that write: see `tests.faults.campaign`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_commands_end_as_if_nobody_had_killed_them(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "tests.faults.campaign", "--kills", "150", "--folder", str(tmp_path / "campaign")]
    done = subprocess.run(asked, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 cycles with a defect" in done.stdout
