"""How encoders say what they refuse, so that each does so in the same words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError


def reason(error: Exception) -> str:
    """What a library's error says, on one line, for use within a sentence; of the system's errors without the path."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


def shown(value: object) -> str:
    """dtype and shape of an array, the type of anything else."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


@contextmanager
def said_of(what: str, remedy: str) -> Iterator[None]:
    """Whatever a decoder, a network or memory raises about one image becomes InvalidInputError: `what` (why); `remedy`.

    No list says what libraries raise on damaged files. Our own errors pass as they are.
    """
    try:
        yield
    except GuidestoreError:
        raise
    except Exception as error:
        named = reason(error) if isinstance(error, OSError) else f"{type(error).__name__}: {reason(error)}"
        raise InvalidInputError(f"{what} ({named}); {remedy}") from error
