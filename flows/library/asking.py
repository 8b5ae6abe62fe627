"""SQL over the store's index, which is brought up to date first."""

from __future__ import annotations

import re

from guidestore.embeddings.errors import StorageError
from guidestore.flows.library.tables import ID_COLUMNS, Table


def ask(
    place: str,
    query: str,
    at: int | str | None = None,
    *,
    timeout_s: float | None = 60.0,
    repr_rows: bool = True,
) -> Table:
    """What DuckDB answers. Where the disk refuses an index, the one that there is answers, and a note says so.

    Imports little, so that a first answer takes half a second. Raises GuidestoreError.
    """
    from guidestore.warehouse.catalog import lag
    from guidestore.warehouse.catalog import query as asked_of

    notes: list[str] = []
    if lag(place):
        notes += _index(place)
    answer = asked_of(place, query, at, timeout_s=timeout_s)
    if at is None and answer.lag_line:
        notes.append(answer.lag_line)
    named = [name for name in ID_COLUMNS if re.search(rf"\b{name}\b", query, re.IGNORECASE)]
    return Table(answer.table, asked=named, notes=notes, repr_rows=repr_rows)


def _index(place: str) -> list[str]:
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.warehouse.indexer import build_index

    try:
        build_index(EmbeddingStore.open(place))
    except StorageError as error:
        return [str(error)]
    return []
