"""A model with parameters of a publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """A model with parameters of a publication."""

    name: str
    """Of the guidance model or decoder."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What differs from, or must not follow, the model's defaults."""
    class_order: tuple[str, ...] = ()
    """The classes that per-class numbers among `params` are given for, in that order; () where there are none."""
    by_target: Mapping[str, Preset] = field(default_factory=dict)
    """Target -> what the preset is for it. Where there are any, the preset serves these targets alone."""
