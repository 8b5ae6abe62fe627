"""Calls the command line within the tests' own process: starting another takes seconds that nothing is learnt from."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

import pytest

from guidestore.flows.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a call left: exit code, and what it printed."""

    returncode: object
    stdout: str
    stderr: str


def guidestore(*arguments: object) -> Done:
    """`guidestore` with these arguments."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        patch.setattr(sys, "argv", ["guidestore", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(ended.value.code, out.getvalue(), err.getvalue())
