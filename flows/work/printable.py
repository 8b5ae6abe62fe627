"""What the store was given as a name may hold anything; a terminal obeys some of it."""

from __future__ import annotations

import re

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters but tab and newline, those that turn the direction of writing or are not seen at all, and halves
of characters."""


def printable(text: str) -> str:
    """The text with what a terminal would obey, or could not print, as its escape: ``\\\\x1b``."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape", "backslashreplace").decode(), text)


def one_line(text: str) -> str:
    """`printable`, on one line: a file may have a line break in its name."""
    return printable(text).replace("\n", "\\n")
