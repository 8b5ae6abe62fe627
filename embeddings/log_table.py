"""The log folded up: one Arrow row per fact, with the commits that added and removed it.

Besides artifacts the table holds rows of kind ``commit`` (meta: header), ``alias`` and ``tag`` (artifact: its name) and
``tombstone`` (path and files: what a purge replaced). A snapshot N is the rows with added_at <= N and
(removed_at is null or removed_at > N). A checkpoint is this very table as Parquet, in segments.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.records import Commit, Entry, Purge

_FILE = pa.struct([("path", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
LOG_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("artifact", pa.string()),
        ("cohort", pa.string()),
        ("case_id", pa.string()),
        ("image_id", pa.string()),
        ("modality", pa.string()),
        ("encoder", pa.string()),
        ("encoder_digest", pa.string()),
        ("trained_on", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int32()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int32())),
        ("path", pa.string()),
        ("files", pa.list_(_FILE)),
        ("inputs", pa.list_(pa.string())),
        ("meta", pa.string()),
        ("supersedes", pa.list_(pa.string())),
        ("added_at", pa.int64()),
        ("removed_at", pa.int64()),
    ]
)
_BLANK: dict[str, Any] = {
    **dict.fromkeys(LOG_SCHEMA.names, ""),
    "fold": -1,
    "shape": [],
    "files": [],
    "inputs": [],
    "meta": "{}",
    "supersedes": [],
    "removed_at": None,
}
NOT_ARTIFACTS = ("commit", "alias", "tag", "tombstone")
"""Kinds of rows that are no artifacts."""
_STAMPS = ("added_at", "removed_at")
ENTRY_SCHEMA = pa.schema([field for field in LOG_SCHEMA if field.name not in _STAMPS])
"""Of the table that a large commit keeps its entries in."""


def empty_table() -> pa.Table:
    return LOG_SCHEMA.empty_table()


def entry_of(row: dict[str, Any]) -> Entry:
    """The Entry of a table row."""
    return Entry.from_json({**row, "meta": json.loads(row["meta"])})


def entries_table(entries: Iterable[Entry]) -> pa.Table:
    """`entries` as a table (schema `ENTRY_SCHEMA`)."""
    return pa.Table.from_pylist([_fields_of(entry) for entry in entries], schema=ENTRY_SCHEMA)


def _fields_of(entry: Entry) -> dict[str, Any]:
    return {**entry.as_json(), "meta": canonical_json(dict(entry.meta)) if entry.meta else "{}"}


def fold(table: pa.Table, commits: Sequence[Commit]) -> pa.Table:
    """`table` with `commits`, in order, applied."""
    rows: list[dict[str, Any]] = []
    for commit in commits:
        if commit.remove or commit.aliases or commit.purge:  # these touch rows that stand already
            table, rows = _joined(table, rows), []
            table = _mark_removed(table, commit)
            for purge in commit.purge:
                table = _to_table(_purged(table.to_pylist(), purge, commit.version))
        rows += _added(commit)
    return _joined(table, rows)


def _joined(table: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    """`table` and `rows`, in chunks that halve in size: a commit then costs no copy of the whole log."""
    if not rows:
        return table
    pieces = table.to_batches()
    last = _to_table(rows).combine_chunks()
    while pieces and pieces[-1].num_rows <= 2 * last.num_rows:
        last = pa.concat_tables([pa.Table.from_batches([pieces.pop()]), last]).combine_chunks()
    return pa.Table.from_batches([*pieces, *last.to_batches()])


def _mark_removed(table: pa.Table, commit: Commit) -> pa.Table:
    """`table` with removed_at set on what `commit` removes and on the aliases that it moves."""
    gone = {(removal.artifact, removal.path) for removal in commit.remove}
    moved = {move.name for move in commit.aliases}
    if not (gone or moved):
        return table
    columns = (table[name].to_pylist() for name in ("kind", "artifact", "path", "removed_at"))
    removed_at = [
        commit.version if at is None and (name in moved if kind == "alias" else (name, path) in gone) else at
        for kind, name, path, at in zip(*columns, strict=True)
    ]
    column = LOG_SCHEMA.get_field_index("removed_at")
    return table.set_column(column, LOG_SCHEMA.field(column), pa.array(removed_at, pa.int64()))


def _to_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=LOG_SCHEMA)


def _added(commit: Commit) -> list[dict[str, Any]]:
    rows = [
        {
            **_BLANK,
            "kind": "commit",
            "artifact": commit.commit_uuid,
            "meta": canonical_json({**commit.header(), "sha256": commit.sha256}),
            "added_at": commit.version,
        }
    ]
    rows += [{**_fields_of(entry), "added_at": commit.version, "removed_at": None} for entry in commit.add]
    rows += [
        {
            **_BLANK,
            "kind": "alias",
            "artifact": move.name,
            "meta": canonical_json({"snapshot": move.snapshot, "artifact": move.artifact}),
            "added_at": commit.version,
        }
        for move in commit.aliases
    ]
    rows += [
        {
            **_BLANK,
            "kind": "tag",
            "artifact": tag.name,
            "meta": canonical_json({"snapshot": tag.snapshot}),
            "added_at": commit.version,
        }
        for tag in commit.tags
    ]
    return rows


def _purged(rows: list[dict[str, Any]], purge: Purge, version: int) -> list[dict[str, Any]]:
    redirects = {redirect.old.path: redirect for redirect in purge.redirects}
    gone = set(purge.artifacts)
    kept = []
    for row in rows:
        if row["artifact"] in gone and row["kind"] not in NOT_ARTIFACTS:
            continue
        if any(file["path"] in redirects for file in row["files"]) and row["kind"] != "tombstone":
            files = []
            for file in row["files"]:
                if file["path"] not in redirects:
                    files.append(file)
                elif new := redirects[file["path"]].new:
                    files.append(asdict(new))
            redirect = redirects.get(row["path"])
            row = {**row, "files": files, "path": redirect.new.path if redirect and redirect.new else row["path"]}
        kept.append(row)
    for redirect in purge.redirects:
        kept.append(
            {
                **_BLANK,
                "kind": "tombstone",
                "artifact": redirect.old.sha256,
                "cohort": purge.cohort,
                "case_id": purge.case_id,
                "path": redirect.old.path,
                "files": [asdict(redirect.old)],
                "meta": canonical_json(
                    {"replaced_by": redirect.new.path if redirect.new else "", "weights": list(purge.weights)}
                ),
                "added_at": version,
            }
        )
    return kept


def rows_between(table: pa.Table, first: int, last: int) -> pa.Table:
    """What the commits `first` to `last` added, before it a mark of each older row that they removed.

    A mark has the kind, artifact, path and both stamps of that row, and nothing else. `table` ends at `last`.
    """
    removed = (pc.field("added_at") < first) & (pc.field("removed_at") >= first) & (pc.field("removed_at") <= last)
    columns = [*_KEY, "removed_at"]
    marks = [{**_BLANK, **row} for row in table.filter(removed).select(columns).to_pylist()]
    return pa.concat_tables([_to_table(marks), table.filter(pc.field("added_at") >= first)])


def with_rows(table: pa.Table, rows: pa.Table, first: int) -> pa.Table:
    """`table`, which ends before commit `first`, and after it the `rows_between` of the next commits."""
    marks = rows.filter(pc.field("added_at") < first)
    if marks.num_rows:
        at = pc.index_in(_keys(table), _keys(marks))
        removed_at = pc.coalesce(pc.take(marks["removed_at"], at), table["removed_at"])
        column = LOG_SCHEMA.get_field_index("removed_at")
        table = table.set_column(column, LOG_SCHEMA.field(column), removed_at)
    return pa.concat_tables([table, rows.filter(pc.field("added_at") >= first)])


_KEY = ("kind", "artifact", "path", "added_at")
"""What tells a row from all others."""


def _keys(table: pa.Table) -> pa.ChunkedArray:
    """A text per row that holds its `_KEY`; no part of it but the path has a blank."""
    parts = [table[name].cast(pa.string()) for name in ("kind", "added_at", "artifact", "path")]
    return pc.binary_join_element_wise(*parts, " ")


def live_at(table: pa.Table, version: int) -> pa.Table:
    """The rows of snapshot `version`."""
    stays = pc.field("removed_at").is_null() | (pc.field("removed_at") > version)
    return table.filter((pc.field("added_at") <= version) & stays)
