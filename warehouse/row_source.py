"""Where stored rows are read from: a snapshot of the store, or the index at one."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa


class RowSource(Protocol):
    """Rows of a kind of `embeddings.rows.SCHEMAS`, as of one snapshot."""

    def rows(self, kind: str, **equal: str) -> pa.Table:
        """Those whose columns equal the given values (``cohort='phantom'``), in the schema of the kind."""
        ...
