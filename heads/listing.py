"""Every guidance model, decoder, fusion and student by name: its parameters with defaults, and what it is in a line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from guidestore.embeddings.plugins import Registry
from guidestore.heads.presets.preset import Preset
from guidestore.heads.registry import (
    CONCATENATION,
    DECODERS,
    DECODERS_OF,
    FUSIONS,
    GUIDANCE,
    STUDENTS,
    decoder_presets,
    guidance_presets,
)

COLUMNS = ("role", "name", "parameters", "is")
MOST_SHOWN = 6
"""Numbers of a list that are all written."""
_NOTHING: Mapping[str, Preset] = {}


def every_model() -> list[dict[str, str]]:
    """A row of COLUMNS each: ours by name, then presets, which are a model with other numbers. Code of others is
    imported. Raises InvalidInputError where that cannot be."""
    side_by_side = {"role": "fusion", "name": CONCATENATION, "parameters": "", "is": "The two codes side by side."}
    return [
        *_of("guidance", GUIDANCE, guidance_presets()),
        *_of("decoder", DECODERS, decoder_presets()),
        *(row for kind, registry in DECODERS_OF.items() for row in _of(f"decoder of {kind}", registry, _NOTHING)),
        side_by_side,
        *_of("fusion", FUSIONS, _NOTHING),
        *_of("student", STUDENTS, _NOTHING),
    ]


def _of(role: str, registry: Registry[Any], presets: Mapping[str, Preset]) -> list[dict[str, str]]:
    loaded = {name: registry.load(name) for name in registry.names()}
    rows = [
        {"role": role, "name": name, "parameters": _parameters(defaults_of(of)), "is": _line(of)}
        for name, of in loaded.items()
    ]
    for name, preset in presets.items():
        per_target = f", with numbers for {', '.join(preset.by_target)}" if preset.by_target else ""
        given = _parameters(preset.params)
        rows.append({"role": role, "name": name, "parameters": given, "is": f"Preset of {preset.name}{per_target}."})
    return rows


def _parameters(given: Mapping[str, Any]) -> str:
    """``alpha=1, hidden=[256]``, as a sweep file has them."""
    return ", ".join(f"{name}={_spelled(value)}" for name, value in given.items())


def defaults_of(of: Any) -> dict[str, Any]:
    """Parameter -> default of a class of heads, or of others; of those without a default `inspect.Parameter.empty`."""
    settings = getattr(of, "Settings", None)
    if dataclasses.is_dataclass(settings):
        return {
            field.name: field.default if field.default is not dataclasses.MISSING else _made(field)
            for field in dataclasses.fields(settings)
        }
    taken = inspect.signature(of).parameters.values()
    return {p.name: p.default for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _made(field: dataclasses.Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default_factory is dataclasses.MISSING else field.default_factory()


def _spelled(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "?"
    if isinstance(value, list | tuple):
        shown = [_spelled(item) for item in value]
        return f"[{', '.join(shown if len(shown) <= MOST_SHOWN else (*shown[:2], '…', shown[-1]))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_spelled(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _line(of: Any) -> str:
    """The first sentence: of ours that of its file, of others' that of its class."""
    ours = of.__module__.startswith("guidestore.")
    text = inspect.getdoc(inspect.getmodule(of) if ours else of) or ""
    return " ".join(text.split("\n\n")[0].split())
