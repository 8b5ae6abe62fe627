"""What a foreign file may claim to hold, judged by its header before anything of it is read."""

from __future__ import annotations

import os
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError

MOST_COLUMNS = 65_536
"""More than the genes of a person (60,000) and any encoder's dimensions."""
_SHARE_OF_MEMORY = 0.5
"""A table lies in memory once as it was read and once as numbers."""


def reason_of(error: Exception) -> str:
    """What a library's error says, in one line and without numbers of the system."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.splitlines() or [type(error).__name__])[0]


def check_columns(file: Path, columns: int) -> None:
    """Raises InvalidInputError where there are more than MOST_COLUMNS."""
    if columns > MOST_COLUMNS:
        raise InvalidInputError(
            f"{file} has {columns:,} columns, and at most {MOST_COLUMNS:,} are read; rows are cases, so transpose the "
            "table if it has a column per case, or choose features first"
        )


def check_list(file: Path, values: int) -> None:
    """Raises InvalidInputError where a row holds a list of more than MOST_COLUMNS."""
    if values > MOST_COLUMNS:
        raise InvalidInputError(
            f"{file} holds lists of {values:,} values in a row, and at most {MOST_COLUMNS:,} are read; a code is one "
            "vector of a case, so give it a row for each"
        )


def check_fits(file: Path, size: int) -> None:
    """Raises InvalidInputError where `size` bytes are more than half of this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > _SHARE_OF_MEMORY * memory:
        raise InvalidInputError(
            f"{file} says that it holds {size / 2**30:,.1f} GiB of values, and this machine has "
            f"{memory / 2**30:,.0f} GiB of memory; split the file, or save it again if that is not so"
        )
