"""The state of a training after its last epoch, in one file: a killed run goes on from it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

LAYOUT = 2
"""Of the state; a checkpoint of another one counts as none. 1 had one decoder."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replaces the file at once: a kill leaves the last epoch's or this one's, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    torch.save({"layout": LAYOUT, **state}, beside)
    beside.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state, tensors on the CPU; None where there is none, or none that can be read: then training starts anew."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) and state.pop("layout", None) == LAYOUT else None
