"""A guidance model or decoder as it was asked for: its name and the parameters that differ from its defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Choice:
    """Equal choices are the same model."""

    name: str
    """Name or preset of heads.registry."""
    key: str = "{}"
    """The parameters as canonical JSON."""
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, name: str, params: Mapping[str, Any] | None = None) -> Self:
        """From a mapping of JSON-able values; lists become tuples."""
        given = {key: _frozen(value) for key, value in sorted((params or {}).items())}
        return cls(name, json.dumps(given, sort_keys=True, separators=(",", ":")), given)

    def __str__(self) -> str:
        """``mlp``, or ``mlp(dropout=0.3, hidden_units=50)``: how tables and run rows call it."""
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self.params.items())
        return f"{self.name}({shown})" if shown else self.name


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "+".join(f"{_shown(part)} {name}" for name, part in value.items())
    if isinstance(value, tuple):
        return "-".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
