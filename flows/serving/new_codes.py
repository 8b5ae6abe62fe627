"""What commits added to the codes, read from the folded log: counts and names of code sets, never of cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.types import CodeSetName

KINDS = ("bag", "codes")
"""Kinds of the log that are codes; heads train on the second."""


@dataclass(frozen=True, slots=True)
class NewCodes:
    """Codes that one commit, or several, added."""

    snapshot: int
    """Number of the (last) commit."""
    cohorts: tuple[str, ...]
    code_sets: tuple[str, ...]
    """``COHORT/MODALITY/ENCODER@DIGEST``, sorted."""
    codes: int
    cases: int
    case_codes: int
    """How many of the codes are case codes: what heads train on."""

    def as_payload(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def codes_by_commit(log: pa.Table, since: int, head: int) -> list[NewCodes]:
    """What each commit after `since`, up to `head`, added; commits without new codes are left out."""
    by_commit: dict[int, list[Mapping[str, Any]]] = {}
    for row in _added(log, since, head):
        by_commit.setdefault(row["added_at"], []).append(row)
    return [_counted(rows, number) for number, rows in sorted(by_commit.items())]


def codes_since(log: pa.Table, since: int, head: int) -> NewCodes:
    """What the commits after `since`, up to `head`, added together."""
    return _counted(_added(log, since, head), head)


def _added(log: pa.Table, since: int, head: int) -> list[dict[str, Any]]:
    """Log rows of codes that were not there before: a compaction writes the old ones again."""
    codes = log.filter(pc.field("kind").isin(KINDS) & (pc.field("added_at") <= head))
    new = codes.filter(pc.field("added_at") > since)
    if not new.num_rows:
        return []
    columns = ["kind", "artifact", "cohort", "case_id", "modality", "encoder", "encoder_digest", "added_at"]
    known = codes.filter(pc.field("added_at") <= since)["artifact"]
    fresh = new.filter(~pc.field("artifact").isin(pa.array(known.to_pylist(), pa.string())))
    first: dict[str, dict[str, Any]] = {}
    for row in sorted(fresh.select(columns).to_pylist(), key=lambda row: row["added_at"]):
        first.setdefault(row["artifact"], row)
    return list(first.values())


def _counted(rows: Iterable[Mapping[str, Any]], snapshot: int) -> NewCodes:
    rows = list(rows)
    names = {str(CodeSetName(row["cohort"], row["modality"], row["encoder"], row["encoder_digest"])) for row in rows}
    return NewCodes(
        snapshot=snapshot,
        cohorts=tuple(sorted({row["cohort"] for row in rows})),
        code_sets=tuple(sorted(names)),
        codes=len(rows),
        cases=len({(row["cohort"], row["case_id"]) for row in rows}),
        case_codes=sum(row["kind"] == "codes" for row in rows),
    )
