"""A sweep as Python has it: the fields of its file, in which models may be classes and objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.sweeps.file import SweepFile, read_sweep
from guidestore.flows.work.settings import validated
from guidestore.heads.choice import Choice
from guidestore.heads.registry import decoder_choice, fusion_choice, guidance_choice

_MODELS: Mapping[str, Callable[[Any], Choice]] = {
    "guidance": guidance_choice,
    "decoder": decoder_choice,
    "fusion": fusion_choice,
}


def sweep_of(given: Path | str | Mapping[str, Any]) -> SweepFile:
    """Of a YAML file, or of its fields. Raises InvalidInputError naming the field that is wrong."""
    if isinstance(given, str | Path):
        return read_sweep(Path(given))
    fields = {str(name): _named(value, _MODELS[name]) if name in _MODELS else value for name, value in given.items()}
    if not fields.get("name"):
        raise InvalidInputError("give the sweep a name, by which `compare` finds it")
    return validated(SweepFile, **fields)


def _named(value: Any, choice_of: Callable[[Any], Choice]) -> Any:
    """Classes and objects by their names and parameters, as a file has them."""
    if isinstance(value, list | tuple):
        return [_named(item, choice_of) for item in value]
    if isinstance(value, str | Mapping):
        return value
    choice = choice_of(value)
    return {choice.name: {name: [given] for name, given in choice.params.items()}} if choice.params else choice.name
