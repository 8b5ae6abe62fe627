"""A guidance model or decoder as it was asked for: its name, the parameters that differ from its defaults, and of code
of others which code it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Choice:
    """Equal choices are the same model."""

    name: str
    """Name or preset of heads.registry, or ``module:Class``."""
    key: str = "{}"
    """The parameters as canonical JSON."""
    code: str = ""
    """Of code of others: the digest of its source, or ``unversioned-…``, which is another for each choice."""
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, name: str, params: Mapping[str, Any] | None = None, *, code: str = "") -> Self:
        """From a mapping of JSON-able values; lists become tuples."""
        given = {key: _frozen(value) for key, value in sorted((params or {}).items())}
        return cls(name, json.dumps(given, sort_keys=True, separators=(",", ":")), code, given)

    def __str__(self) -> str:
        """``mlp``, or ``mlp(dropout=0.3, hidden_units=50)``: how tables and run rows call it. ``mine:G@1f0c22ab`` is of
        code of others, with the first digits of its digest."""
        name = f"{self.name}@{_short(self.code)}" if self.code else self.name
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self.params.items())
        return f"{name}({shown})" if shown else name


def without_code(shown: str) -> str:
    """A choice as tables call it, whatever the code."""
    return _CODE.sub("", shown)


_CODE = re.compile(r"@(unversioned-)?[0-9a-f]{8}(?=\(|,|$)")


def _short(code: str) -> str:
    kind, _, digest = code.rpartition("-")
    return f"{kind}-{digest[:8]}" if kind else code[:8]


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "object" in value:
        return str(Choice.of(value["object"], value.get("params")))
    if isinstance(value, Mapping):
        return "+".join(f"{_shown(part)} {name}" for name, part in value.items())
    if isinstance(value, tuple):
        return "-".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
