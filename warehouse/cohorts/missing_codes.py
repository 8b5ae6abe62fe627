"""Numbers that in other software say that nobody knows, such as 999 or -1: taken as they are, and noted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_CODE = re.compile(r"-1|-?(9+|8+|7+)")
_FEWEST = 2
"""Cases with the same code; one alone may be what it says."""


def may_mean_missing(number: float) -> bool:
    """Whether such codes look so: -1, or 7, 8 or 9 and nothing else."""
    return bool(_CODE.fullmatch(f"{number:g}"))


def note_of_missing_codes(target: str, numbers: Iterable[float]) -> str:
    """A sentence where several cases of a target have a code that stands apart from what the others have: below 0 and
    alone there, or further from them than they lie from each other; '' where none has. Nobody's number is changed."""
    counts = Counter(numbers)
    for code in (min(counts, default=0.0), max(counts, default=0.0)):
        others = [number for number in counts if number != code]
        if len(others) < 2 or counts[code] < _FEWEST or not may_mean_missing(code):
            continue
        low, high = min(others), max(others)
        if (code < 0 <= low) or max(low - code, code - high) > high - low:
            return (
                f"{counts[code]} cases have {code:g} of {target}, apart from the others, which lie between {low:g} and "
                f"{high:g}; where that means that nobody knows, --missing={code:g} leaves them without"
            )
    return ""
