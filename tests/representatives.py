"""Long tables in the gate: some rows stand for all of them, which `make slow` goes through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(values: Iterable[Any], count: int = 3) -> list[Any]:
    """Parameters of a test: the first `count`, and the others marked slow."""
    return [
        value if number < count else pytest.param(value, marks=pytest.mark.slow) for number, value in enumerate(values)
    ]
