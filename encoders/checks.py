"""How encoders say what they refuse, so that each does so in the same words."""

from __future__ import annotations

import numpy as np


def reason(error: Exception) -> str:
    """What a library's error says, on one line, for use within a sentence."""
    return " ".join(str(error).split()) or type(error).__name__


def shown(value: object) -> str:
    """dtype and shape of an array, the type of anything else."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
