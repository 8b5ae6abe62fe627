"""What two snapshots do not share, counted by kind, cohort and code set."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow.compute as pc

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.log_table import NOT_ARTIFACTS
from guidestore.embeddings.store import EmbeddingStore

COLUMNS = ("kind", "cohort", "modality", "encoder", "added", "removed")


def changes_between(store: EmbeddingStore, a: int | str, b: int | str | None = None) -> list[dict[str, Any]]:
    """What snapshot `b` has and `a` has not (added), and the other way round (removed): rows of COLUMNS.

    kind: bag, codes, weights, index, run, or of tables their own (labels, splits, predictions, …), of which rows are
    counted. b: None for the newest. Raises NotFoundInStoreError, InvalidInputError for one snapshot twice.
    """
    first, second = store.snapshot(a), store.snapshot(b)
    if first.version == second.version:
        named = "the newest" if b is None else b
        raise InvalidInputError(f"{a} and {named} are the same snapshot {first.version}; name two")
    low, high = sorted((first.version, second.version))
    within = [(pc.field(stamp) > low) & (pc.field(stamp) <= high) for stamp in ("added_at", "removed_at")]
    rows = second.log.filter((within[0] | within[1]) & ~pc.field("kind").isin(NOT_ARTIFACTS))
    counts: dict[str, Counter[tuple[str, ...]]] = {"added": Counter(), "removed": Counter()}
    for row in rows.select(["kind", "cohort", "modality", "encoder", "shape", "added_at", "removed_at"]).to_pylist():
        in_first, in_second = (_lives(row, of.version) for of in (first, second))
        if in_first != in_second:
            is_table = row["kind"].startswith("rows:")
            key = (row["kind"].removeprefix("rows:"), row["cohort"], row["modality"], row["encoder"])
            counts["added" if in_second else "removed"][key] += row["shape"][0] if is_table else 1
    keys = sorted(counts["added"] | counts["removed"])
    return [dict(zip(COLUMNS, (*key, counts["added"][key], counts["removed"][key]), strict=True)) for key in keys]


def _lives(row: dict[str, Any], version: int) -> bool:
    return row["added_at"] <= version and (row["removed_at"] is None or row["removed_at"] > version)
