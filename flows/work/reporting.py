"""What a flow tells while it works, and what it did in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from guidestore.embeddings.types import CodeSetKey

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total)."""


def no_progress(what: str, done: int, total: int) -> None:
    """For callers that want none."""


Say = Callable[[str], None]
"""Called with a sentence that is to be read before the work is done."""


def say_nothing(sentence: str) -> None:
    """For callers that read the notes of the report."""


def counted[T](items: Iterable[T], total: int, what: str, progress: Progress) -> Iterator[T]:
    """The items, told to `progress` as they go by."""
    for done, item in enumerate(items):
        progress(what, done, total)
        yield item
    progress(what, total, total)


@dataclass
class EncodeReport:
    """What an encode did. `failed`: case -> the sentence why; those cases are in quarantine, the rest is done."""

    code_sets: list[CodeSetKey] = field(default_factory=list)
    encoded: int = 0
    existing: int = 0
    trained: int = 0
    images_read: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    device: str = ""
    """Where networks ran, in words; several where Ray's workers differ."""
    snapshot: int = 0
