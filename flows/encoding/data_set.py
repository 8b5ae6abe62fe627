"""What a published data set holds: described by its card and by Croissant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from guidestore.embeddings.types import CodeSetKey


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """A code set as it lies in the folder."""

    key: CodeSetKey
    file: str
    """Relative to the folder."""
    rows: int
    """Tiles of bags, else codes."""
    items: int
    """Bags or codes."""
    encoder: Mapping[str, Any]
    """The row of kind encoders; {} where the store has none."""
    licence: str
    """Of the encoder's weights, where guidestore knows it."""
    schema: pa.Schema
    seen: tuple[str, ...]
    """Sentences on encoders that saw the cohort's public collection when they were pretrained."""

    @property
    def name(self) -> str:
        """As the card's YAML and Croissant call it."""
        return self.file.removesuffix(".parquet").replace("/", "-")


@dataclass(frozen=True, slots=True)
class DataSet:
    """What the card and Croissant describe."""

    name: str
    snapshot: int
    commit: Mapping[str, Any]
    """Version, sha256, created_at and environment of the snapshot's commit."""
    cohorts: tuple[str, ...]
    sets: tuple[PublishedSet, ...]
    tables: Mapping[str, pa.Schema]
    """Stem of a file at the top -> its columns."""
    files: Mapping[str, tuple[int, str]]
    """Path -> size, sha256; all but the card and Croissant."""
    licence: str
    url: str
    creator: str
    pseudonymized: bool
