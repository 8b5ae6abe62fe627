"""Calls the command line within the tests' own process: starting another takes seconds that nothing is learnt from."""

from __future__ import annotations

import functools
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

import pytest
import typer.main

from guidestore.flows.cli.main import main

_built = functools.cache(typer.main.get_command)
"""Of an app its commands, which typer builds anew for each call: most of the time of a call that refuses something."""


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
        patch.setattr(typer.main, "get_command", _built)
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(ended.value.code, out.getvalue(), err.getvalue())
