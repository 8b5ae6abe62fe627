"""A cohort that was renamed is found by both names: recipes, and what stands in the store, keep the first."""

from __future__ import annotations

from typing import Protocol, Self

from guidestore.embeddings.store import EmbeddingStore


class _OfCohort(Protocol):
    @property
    def cohort(self) -> str: ...

    def model_copy(self, *, update: dict[str, str]) -> Self: ...


def with_first_name[Settings: _OfCohort](store: EmbeddingStore, settings: Settings) -> Settings:
    """The settings, with the name of their cohort that the store knows it by."""
    first = store.snapshot().first_name(settings.cohort)
    return settings if first == settings.cohort else settings.model_copy(update={"cohort": first})
