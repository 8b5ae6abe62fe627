"""The log folded up: one Arrow row per fact, with the commits that added and removed it.

Besides artifacts the table holds rows of kind ``commit`` (meta: header), ``alias`` and ``tag`` (artifact: its name) and
``tombstone`` (path and files: what a purge replaced). A snapshot N is the rows with added_at <= N and
(removed_at is null or removed_at > N). A checkpoint is this very table as Parquet, in segments.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.records import Commit, Entry, FileRef, Purge, Redirect

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
_LARGE_CHUNK = 1 << 17
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


def entries_of(columns: Mapping[str, Sequence[Any]], common: Mapping[str, Any]) -> pa.Table:
    """A table of entries (schema `ENTRY_SCHEMA`) that differ in `columns` and are alike in `common`."""
    count = len(columns["artifact"])
    alike = pa.table(
        [
            pa.repeat(pa.scalar(common.get(f.name, _BLANK[f.name]), f.type), min(count, _LARGE_CHUNK))
            for f in ENTRY_SCHEMA
        ],
        schema=ENTRY_SCHEMA,
    )
    pieces: list[pa.Table] = []
    for start in range(0, count, _LARGE_CHUNK):  # all hold one copy of what is alike: 400 bytes a row
        piece = alike.slice(0, count - start)
        for name, values in columns.items():
            place = ENTRY_SCHEMA.get_field_index(name)
            own = pa.array(values[start : start + _LARGE_CHUNK], ENTRY_SCHEMA.field(place).type)
            piece = piece.set_column(place, ENTRY_SCHEMA.field(place), own)
        pieces.append(piece)
    return pa.concat_tables(pieces) if pieces else alike


def _fields_of(entry: Entry) -> dict[str, Any]:
    return {**entry.as_json(), "meta": canonical_json(dict(entry.meta)) if entry.meta else "{}"}


ReadEntries = Callable[[FileRef], pa.Table]
"""The verified table of a large commit's entries, in the columns of `ENTRY_SCHEMA` that the folded table has."""


def fold(table: pa.Table, commits: Sequence[Commit], read: ReadEntries) -> pa.Table:
    """`table` with `commits`, in order, applied. It may lack columns, but for those of `KEYS`."""
    plain: list[Commit] = []
    for commit in commits:
        if not commit.purge:
            plain.append(commit)
            continue
        table = _marked(_with_added(table, plain, read), plain)
        table, plain = _marked(table, [commit]), []
        for purge in commit.purge:
            table = _purged(table, purge, commit.version)
        table = _with_added(table, [commit], read)
    return _marked(_with_added(table, plain, read), plain)


def _with_added(table: pa.Table, commits: Sequence[Commit], read: ReadEntries) -> pa.Table:
    """`table` and the rows that the commits add."""
    pieces: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    for commit in commits:
        rows.append(_commit_row(commit))
        if commit.add_file:
            pieces += [_to_table(rows, table.schema), _stamped(read(commit.add_file), commit.version, table.schema)]
            rows = []
        rows += _rows_of(commit)
    if rows:
        pieces.append(_to_table(rows, table.schema))
    return _joined(table, pa.concat_tables(pieces)) if pieces else table


def _stamped(entries: pa.Table, version: int, schema: pa.Schema) -> pa.Table:
    columns = dict(zip(entries.schema.names, entries.columns, strict=True))
    columns["added_at"] = pa.repeat(pa.scalar(version, pa.int64()), len(entries))
    columns["removed_at"] = pa.nulls(len(entries), pa.int64())
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _joined(table: pa.Table, new: pa.Table) -> pa.Table:
    """`table` and `new`, in chunks that halve in size: a commit then costs no copy of the whole log.

    Large chunks stay as they are: a copy of a million rows is half a gigabyte.
    """
    pieces, last = table.to_batches(), new
    while pieces and len(last) < _LARGE_CHUNK and pieces[-1].num_rows <= 2 * len(last):
        last = pa.concat_tables([pa.Table.from_batches([pieces.pop()]), last])
    last = last if len(last) >= _LARGE_CHUNK else last.combine_chunks()
    return pa.Table.from_batches([*pieces, *last.to_batches()], schema=table.schema)


def _marked(table: pa.Table, commits: Sequence[Commit]) -> pa.Table:
    """`table` with removed_at set on what the commits remove, and on the aliases that they move."""
    versions: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for commit in commits:
        for removal in commit.remove:
            versions[removal.artifact, removal.path].append(commit.version)
        for move in commit.aliases:
            versions["alias", move.name].append(commit.version)
    names = {removal.artifact for commit in commits for removal in commit.remove}
    names |= {move.name for commit in commits for move in commit.aliases}

    def removed_at(row: Mapping[str, Any]) -> int | None:
        key = ("alias", row["artifact"]) if row["kind"] == "alias" else (row["artifact"], row["path"])
        return next((version for version in versions.get(key, ()) if version > row["added_at"]), None)

    return _with_removals(table, names, removed_at)


def removals(commits: Sequence[Commit]) -> pa.Table:
    """What the commits take away: kind (``alias``, or nothing), artifact (or name), and when."""
    rows = [("", removal.artifact, commit.version) for commit in commits for removal in commit.remove]
    rows += [("alias", move.name, commit.version) for commit in commits for move in commit.aliases]
    names = ("kind", "artifact", "removed_at")
    schema = pa.schema([LOG_SCHEMA.field(name) for name in names])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=schema)


def _with_removals(
    table: pa.Table, artifacts: Collection[str], removed_at: Callable[[Mapping[str, Any]], int | None]
) -> pa.Table:
    """`table` with the `removed_at` of those of its rows of `artifacts` (or names) that stand and have one."""
    if not artifacts:
        return table
    known = pa.array(sorted(artifacts), pa.string())
    stands = pc.and_(pc.is_null(table["removed_at"]), pc.is_in(table["artifact"], known))
    places = pc.indices_nonzero(stands)
    marks = pa.array([removed_at(row) for row in table.select(KEYS).take(places).to_pylist()], pa.int64())
    if marks.null_count == len(marks):
        return table
    column = table.schema.get_field_index("removed_at")
    marked = pc.replace_with_mask(table["removed_at"].combine_chunks(), stands.combine_chunks(), marks)
    return table.set_column(column, table.schema.field(column), marked)


def _to_table(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema)


def _commit_row(commit: Commit) -> dict[str, Any]:
    return {
        **_BLANK,
        "kind": "commit",
        "artifact": commit.commit_uuid,
        "meta": canonical_json({**commit.header(), "sha256": commit.sha256}),
        "added_at": commit.version,
    }


def _rows_of(commit: Commit) -> list[dict[str, Any]]:
    """What the commit itself says that it adds."""
    rows = [{**_fields_of(entry), "added_at": commit.version, "removed_at": None} for entry in commit.add]
    named = [("alias", move.name, {"snapshot": move.snapshot, "artifact": move.artifact}) for move in commit.aliases]
    named += [("tag", tag.name, {"snapshot": tag.snapshot}) for tag in commit.tags]
    return rows + [
        {**_BLANK, "kind": kind, "artifact": name, "meta": canonical_json(meta), "added_at": commit.version}
        for kind, name, meta in named
    ]


def _purged(table: pa.Table, purge: Purge, version: int) -> pa.Table:
    gone = pc.field("artifact").isin(pa.array(sorted(purge.artifacts), pa.string())) & ~pc.field("kind").isin(
        NOT_ARTIFACTS
    )
    kept = table.filter(~gone)
    batches = [_redirected(batch, purge.redirects) for batch in kept.to_batches()]
    tombstones = [
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
        for redirect in purge.redirects
    ]
    return _joined(pa.Table.from_batches(batches, schema=table.schema), _to_table(tombstones, table.schema))


def _redirected(batch: pa.RecordBatch, redirects: Sequence[Redirect]) -> pa.RecordBatch:
    """`batch` with the new files in the place of the old ones, but in tombstones."""
    old = pa.array([redirect.old.path for redirect in redirects], pa.string())
    new = pa.array([asdict(redirect.new) if redirect.new else None for redirect in redirects], _FILE)
    row_stays = pc.equal(batch["kind"], "tombstone")

    def replaced(values: pa.Array, at: pa.Array, by: pa.Array) -> pa.Array:
        return pc.if_else(pc.is_valid(at), pc.coalesce(by.take(at), values), values)

    at = pc.if_else(row_stays, pa.scalar(None, pa.int32()), pc.index_in(batch["path"], old))
    columns = {**dict(zip(batch.schema.names, batch.columns, strict=True))}
    columns["path"] = replaced(batch["path"], at, pc.struct_field(new, "path"))
    if "files" in columns:
        listed = batch["files"]
        files, rows = listed.flatten(), pc.list_parent_indices(listed)
        at = pc.if_else(row_stays.take(rows), pa.scalar(None, pa.int32()), pc.index_in(files.field("path"), old))
        stays = pc.or_(pc.is_null(at), pc.is_valid(new).take(at)).fill_null(True)
        fields = [replaced(files.field(field.name), at, pc.struct_field(new, field.name)) for field in _FILE]
        kept = pa.StructArray.from_arrays(fields, fields=list(_FILE)).filter(stays)
        counts = np.bincount(rows.filter(stays).to_numpy(), minlength=len(batch))
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        columns["files"] = pa.ListArray.from_arrays(offsets, kept, type=listed.type)
    return pa.RecordBatch.from_pydict(columns, schema=batch.schema)


def rows_between(table: pa.Table, first: int, last: int) -> pa.Table:
    """What the commits `first` to `last` added, before it a mark of each older row that they removed.

    A mark has the kind, artifact, path and both stamps of that row, and nothing else. `table` ends at `last`.
    """
    if first <= 1:
        return table  # millions are not copied
    removed = (pc.field("added_at") < first) & (pc.field("removed_at") >= first) & (pc.field("removed_at") <= last)
    marks = [{**_BLANK, **row} for row in table.filter(removed).select([*KEYS, "removed_at"]).to_pylist()]
    return pa.concat_tables([_to_table(marks, table.schema), table.filter(pc.field("added_at") >= first)])


def with_rows(table: pa.Table, rows: pa.Table, first: int) -> pa.Table:
    """`table`, which ends before commit `first`, and after it the `rows_between` of the next commits."""
    marks = rows.filter(pc.field("added_at") < first).select([*KEYS, "removed_at"]).to_pylist()
    versions = {tuple(mark[name] for name in KEYS): mark["removed_at"] for mark in marks}
    table = _with_removals(
        table,
        {mark["artifact"] for mark in marks},
        lambda row: versions.get(tuple(row[name] for name in KEYS)),
    )
    return pa.concat_tables([table, rows.filter(pc.field("added_at") >= first)])


KEYS = ["kind", "artifact", "path", "added_at"]
"""What tells a row from all others."""


def live_at(table: pa.Table, version: int) -> pa.Table:
    """The rows of snapshot `version`."""
    stays = pc.field("removed_at").is_null() | (pc.field("removed_at") > version)
    return table.filter((pc.field("added_at") <= version) & stays)


def files_named(table: pa.Table) -> dict[str, FileRef]:
    """The files that rows name, by path, once each: many artifacts may share one."""
    found: dict[str, FileRef] = {}
    for batch in table.select(["files"]).to_batches():
        files = batch["files"].flatten()
        paths = files.field("path").dictionary_encode()
        first = pc.index_in(paths.dictionary, files.field("path"))
        found.update((file["path"], FileRef.from_json(file)) for file in files.take(first).to_pylist())
    return found
