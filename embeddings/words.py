"""Numbers of things as people write them: 1 case, 2 cases."""

from __future__ import annotations


def count_of(number: int, noun: str) -> str:
    """Such as ``1 case`` and ``1,234 cases``. noun: in the singular; its last word takes the s."""
    plural = noun if number == 1 else f"{noun}es" if noun.endswith(("s", "x", "ch")) else f"{noun}s"
    return f"{number:,} {plural}"
