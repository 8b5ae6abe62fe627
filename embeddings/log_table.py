"""The log folded up: one Arrow row per fact, with the commits that added and removed it.

Besides artifacts the table holds rows of kind ``commit`` (meta: header), ``alias`` (artifact: its name) and
``tombstone`` (path and files: what a purge replaced). A snapshot N is the rows with added_at <= N and
(removed_at is null or removed_at > N). A checkpoint is this very table as Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.records import Commit, Entry, FileRef, Purge

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
    "removed_at": None,
}


def empty_table() -> pa.Table:
    return LOG_SCHEMA.empty_table()


def entry_of(row: dict[str, Any]) -> Entry:
    """The Entry of a table row."""
    fields = {name: row[name] for name in LOG_SCHEMA.names if name not in ("added_at", "removed_at", "meta")}
    return Entry(
        **{
            **fields,
            "files": tuple(FileRef(**file) for file in row["files"]),
            "shape": tuple(row["shape"]),
            "inputs": tuple(row["inputs"]),
            "meta": json.loads(row["meta"]),
        }
    )


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
    return pa.concat_tables([table, _to_table(rows)]).combine_chunks() if rows else table


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
    rows += [
        {
            **entry.as_json(),
            "meta": canonical_json(dict(entry.meta)) if entry.meta else "{}",
            "added_at": commit.version,
            "removed_at": None,
        }
        for entry in commit.add
    ]
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
    return rows


def _purged(rows: list[dict[str, Any]], purge: Purge, version: int) -> list[dict[str, Any]]:
    redirects = {redirect.old.path: redirect for redirect in purge.redirects}
    gone = set(purge.artifacts)
    kept = []
    for row in rows:
        if row["artifact"] in gone and row["kind"] not in ("commit", "alias", "tombstone"):
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


def live_at(table: pa.Table, version: int) -> pa.Table:
    """The rows of snapshot `version`."""
    stays = pc.field("removed_at").is_null() | (pc.field("removed_at") > version)
    return table.filter((pc.field("added_at") <= version) & stays)
