"""What a cohort is read for, and with what help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from guidestore.embeddings.outcomes import Target
from guidestore.embeddings.pixels import Examine

Progress = Callable[[int, int], None]
"""Called with the number of files done and of all files."""


def itself(case_id: str) -> str:
    """The name of a case that is not hidden."""
    return case_id


def _unknown(case_id: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a cohort is read for."""

    cohort: str
    name_of: Callable[[str], str] = itself
    """How an issue names a case, which it does in no other way: itself, or its pseudonym."""
    is_known: Callable[[str], bool] = _unknown
    """Whether a case is in the store already."""
    progress: Progress | None = None
    examine: Examine | None = None
    """Looks into the header of an image; None: rows say of its pixels what the tables do."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    """The targets that the store has, by name."""
