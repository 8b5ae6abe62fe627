"""Gives a cohort another name to be shown and asked for by. Recipes, and so all ids, keep the first."""

from __future__ import annotations

from typing import Any

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import check_name


def rename_cohort(store: EmbeddingStore, cohort: str, name: str) -> str:
    """Shows the cohort (by either of its names) as `name` from here on; returns its first name.

    Raises NotFoundInStoreError, and InvalidNameError or InvalidInputError where `name` is none or another cohort's.
    """
    check_name(name, "cohort")
    snapshot = store.snapshot()
    rows = snapshot.rows("cohorts").to_pylist()
    first = snapshot.first_name(cohort)
    taken = {row["cohort"] for row in rows} | {row["cohort"] for row in snapshot.rows("cases").to_pylist()}
    if first not in taken:
        raise NotFoundInStoreError(f"there is no cohort {cohort!r}; `guidestore cohort list` names those there are")
    taken |= {row["display_name"] for row in rows if row["cohort"] != first}
    if name in taken - {first}:
        raise InvalidInputError(f"there is a cohort {name!r} already; choose another name")
    own: list[dict[str, Any]] = [row for row in rows if row["cohort"] == first]
    own = own or [{"cohort": first, "layout": "", "source": "", "pseudonymized": False, "note": ""}]
    shown = "" if name == first else name
    if all((row.get("display_name") or "") == shown for row in own):
        return first
    with store.begin(f"cohort {first} is shown as {name}", read_at=snapshot.read_at) as transaction:
        artifact = transaction.write_rows("cohorts", [row | {"display_name": shown} for row in own], cohort=first)
        for entry in snapshot.entries(kind="rows:cohorts", cohort=first):
            transaction.replace(entry, by=artifact)
    return first
