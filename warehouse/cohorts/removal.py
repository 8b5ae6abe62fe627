"""Takes a cohort, or a target of one, out of the newest snapshot. Earlier snapshots keep it; `purge` is for ever."""

from __future__ import annotations

import pyarrow.compute as pc

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore


def remove_cohort(store: EmbeddingStore, cohort: str) -> int:
    """Removes every artifact of the cohort, its codes and runs too; says how many. Raises NotFoundInStoreError."""
    snapshot = store.snapshot()
    entries = snapshot.entries(cohort=snapshot.first_name(cohort))
    if not cohort or not entries:
        raise NotFoundInStoreError(f"there is no cohort {cohort!r}; `guidestore cohort list` names those there are")
    with store.begin(f"cohort {cohort} removed") as transaction:
        for entry in entries:
            transaction.replace(entry)
    return len(entries)


def remove_target(store: EmbeddingStore, cohort: str, target: str) -> int:
    """Removes a target with its labels; says how many labels. Its runs stay. Raises NotFoundInStoreError."""
    snapshot = store.snapshot()
    cohort = snapshot.first_name(cohort)
    known = sorted(set(snapshot.rows("targets", cohort=cohort)["target"].to_pylist()))
    if target not in known:
        raise NotFoundInStoreError(f"cohort {cohort} has no target {target!r}; it has {', '.join(known) or 'none'}")
    gone = 0
    with store.begin(f"target {target} of {cohort} removed") as transaction:
        for kind in ("targets", "labels"):
            rows = snapshot.rows(kind, cohort=cohort)
            left = rows.filter(pc.field("target") != target)
            gone = rows.num_rows - left.num_rows
            artifact = transaction.write_rows(kind, left, cohort=cohort) if left.num_rows else ""
            for entry in snapshot.entries(kind=f"rows:{kind}", cohort=cohort) if rows.num_rows else []:
                if entry.artifact != artifact:
                    transaction.replace(entry, by=artifact)
    return gone
