"""What a wrong command line is told: one sentence, with the nearest name, and where examples are."""

from __future__ import annotations

import difflib
from typing import Any

_FORMATS = ("--json", "--csv", "--parquet", "--markdown")


def sentence_of(error: Any) -> str:
    """Of an error that typer would show itself."""
    ctx = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    message = (message[:1].lower() + message[1:]).replace(". Did you mean", "; did you mean")
    asked = getattr(error, "option_name", "")
    if asked in _FORMATS:
        message = f"no such option: {asked}; did you mean --format {asked.removeprefix('--')}?"
    elif message.startswith("no such command") and "did you mean" not in message:
        message += _nearest(message, ctx)
    elif message.startswith("got unexpected extra argument"):
        message += '; text with blanks needs quotes, as "FROM code_sets"'
    if ctx is None:
        return message
    return f"{message.rstrip('?')}; `{ctx.command_path} --help` has examples"


def _nearest(message: str, ctx: Any) -> str:
    known = ctx.command.list_commands(ctx) if hasattr(ctx.command, "list_commands") else []
    near = difflib.get_close_matches(message.split("'")[1], known, n=1) if "'" in message else []
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} there are {', '.join(known)}" if hint else f"; there are {', '.join(known)}"
