"""Work that reads much and commits once: made again where others committed meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from guidestore.embeddings.errors import CommitConflictError, CorruptArtifactError
from guidestore.embeddings.store import EmbeddingStore

_ATTEMPTS = 12
"""Each takes as long as reading what it is about; who still commits to that then should be stopped."""


def until_undisturbed[T](store: EmbeddingStore, attempt: Callable[[], T]) -> T:
    """What `attempt` returns. It begins again where it failed and others committed since it began.

    A purge takes away the files that it replaced, so whoever was about to read them misses them; that is no damage.
    Raises what the last attempt raised.
    """
    for _ in range(_ATTEMPTS - 1):
        before = store.log.refresh()
        try:
            return attempt()
        except (CommitConflictError, CorruptArtifactError):
            if store.log.refresh() == before:
                raise
    return attempt()
