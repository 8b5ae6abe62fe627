"""The folded log as Parquet segments under a small manifest, so that a store opens fast.

``checkpoints/<N>-<sha256>.json`` is the manifest of commit N; its name carries the sha256 of its bytes, and it lists
segments with theirs. A segment holds what the commits `first` to `last` added and, of older rows, marks of those that
they removed. A later checkpoint names the large segments of the one before it and adds a small one; small ones are
joined as soon as the next is as large. So each row is written some log2(commits) times, not once per checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.log_table import LOG_SCHEMA, rows_between, with_rows
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.storage import Storage, StoredFile, each
from guidestore.embeddings.tables import conformed, read_verified

EVERY_COMMITS = 100
"""Opening then reads at most 99 small JSON files, about 10 ms."""
FOLD = 1
"""Version of the rules of folding: a checkpoint of others is passed over, for the commits have it all."""
_GROUP_ROWS = 1 << 17
"""What is asked for tags and aliases alone passes over groups without them."""
_KEPT_VERSIONS = 2
"""Who opens the store while a checkpoint is written may have listed the one before."""
_ROUNDS = 10
"""Of a purge that deletes checkpoints while they are made."""
_REWRITES = 5 * _ROUNDS
"""By a writer whose checkpoint is deleted meanwhile: it outlasts several purges, so that none is left in part."""
_MANIFEST = re.compile(r"checkpoints/(\d{12})-([0-9a-f]{64})\.json")
_RECEIPT = re.compile(r"heads/checkpoints-(\d{12}-[0-9a-f]{64})")
_SEGMENT = re.compile(r"checkpoints/segments/\d{12}-(\d{12})-[0-9a-f]{64}\.parquet")


@dataclass(frozen=True, slots=True)
class Segment:
    """A Parquet file of the rows that commits `first` to `last` added, and marks of older ones that they removed."""

    first: int
    last: int
    rows: int
    file: FileRef


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint of commit `version`; of the log whose commit of that number has the digest `commit_sha256`."""

    version: int
    commit_sha256: str
    segments: tuple[Segment, ...]

    def to_bytes(self) -> bytes:
        return canonical_json({"fold": FOLD, **asdict(self)}).encode() + b"\n"


def write(
    storage: Storage, version: int, commit_sha256: str, table: pa.Table, standing: Sequence[Segment] = ()
) -> Manifest:
    """Writes the checkpoint of `version`, whose folded log is `table`.

    `standing`: segments of an earlier checkpoint of this log, no purge since; they are used again where they are still
    there. Other processes may write the same, and purges delete it meanwhile: then it is written again.
    """
    manifest, path = _write(storage, version, commit_sha256, table, standing)
    for _ in range(_REWRITES):
        if None not in storage.sizes([path, *(segment.file.path for segment in manifest.segments)]):
            return manifest
        manifest, path = _write(storage, version, commit_sha256, table, standing)
    return manifest


def _write(
    storage: Storage, version: int, commit_sha256: str, table: pa.Table, standing: Sequence[Segment]
) -> tuple[Manifest, str]:
    sizes = storage.sizes([segment.file.path for segment in standing])
    if sizes != [segment.file.size for segment in standing]:
        standing = ()
    segments = list(standing)
    first = segments[-1].last + 1 if segments else 1
    rows = rows_between(table, first, version)
    while segments and segments[-1].rows <= rows.num_rows:
        first = segments.pop().first
        rows = rows_between(table, first, version)
    if first <= version:
        segments.append(_write_segment(storage, first, version, rows))
    manifest = Manifest(version, commit_sha256, tuple(segments))
    data = manifest.to_bytes()
    path = f"checkpoints/{version:012d}-{hashlib.sha256(data).hexdigest()}.json"
    storage.create(path, data)
    storage.note(receipt_of(path), b"")
    return manifest, path


def receipt_of(path: str) -> str:
    """The empty file that says that there is a manifest at `path`: made after it, deleted before it."""
    return f"heads/{path.replace('/', '-').removesuffix('.json')}"


def receipts(storage: Storage) -> list[str]:
    """Paths of manifests that there were, as their receipts say."""
    named = (_RECEIPT.fullmatch(file.path) for file in storage.list("heads"))
    return [f"checkpoints/{match[1]}.json" for match in named if match]


def is_receipt(path: str) -> bool:
    return _RECEIPT.fullmatch(path) is not None


def delete_all(storage: Storage) -> None:
    """Deletes every checkpoint: the commits have all that they say. One that another process is just writing too."""
    for _ in range(_ROUNDS):
        there = [*map(receipt_of, receipts(storage)), *(file.path for file in storage.list("checkpoints"))]
        if not there:
            return
        for path in there:
            storage.delete(path)


def _write_segment(storage: Storage, first: int, last: int, rows: pa.Table) -> Segment:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", store_schema=False, row_group_size=_GROUP_ROWS)
    data = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(data).hexdigest()
    path = f"checkpoints/segments/{first:012d}-{last:012d}-{digest}.parquet"
    storage.create(path, data)
    return Segment(first, last, rows.num_rows, FileRef(path, len(data), digest))


def manifests(storage: Storage) -> list[str]:
    """Paths of all manifests, of the newest commit first."""
    return _manifests(file.path for file in storage.list("checkpoints"))


def _manifests(paths: Iterator[str]) -> list[str]:
    return sorted((path for path in paths if _MANIFEST.fullmatch(path)), reverse=True)


def version_of(path: str) -> int | None:
    """The commit number in the name of a manifest, None where `path` is none."""
    named = _MANIFEST.fullmatch(path)
    return int(named[1]) if named else None


def is_segment(path: str) -> bool:
    return _SEGMENT.fullmatch(path) is not None


def read_manifest(storage: Storage, path: str) -> Manifest | None:
    """The manifest at `path`, verified; None where other rules of folding made it. Raises CorruptArtifactError."""
    named = _MANIFEST.fullmatch(path)
    data = storage.read(path)
    damaged = CorruptArtifactError(
        f"{path} is damaged: its digest is not that of its name; delete it, the commits have all that it says"
    )
    if not named or hashlib.sha256(data).hexdigest() != named[2]:
        raise damaged
    try:
        body = json.loads(data)
        if body["fold"] != FOLD:
            return None
        segments = tuple(
            Segment(item["first"], item["last"], item["rows"], FileRef.from_json(item["file"]))
            for item in body["segments"]
        )
        manifest = Manifest(body["version"], body["commit_sha256"], segments)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged from error
    ends = [0, *(segment.last for segment in segments)]
    if manifest.version != int(named[1]) or ends[-1] != manifest.version:
        raise damaged
    if [segment.first for segment in segments] != [end + 1 for end in ends[:-1]]:
        raise damaged
    return manifest


def read(storage: Storage, manifest: Manifest, schema: pa.Schema = LOG_SCHEMA, kinds: Sequence[str] = ()) -> pa.Table:
    """The folded log of `manifest`; each segment is verified. Raises CorruptArtifactError.

    schema: columns of `LOG_SCHEMA`, `log_table.KEYS` and ``removed_at`` among them. kinds: rows of these alone.
    """
    pieces = each(storage, lambda segment: read_segment(storage, segment, schema, kinds), manifest.segments)
    table = schema.empty_table()
    for segment, rows in zip(manifest.segments, pieces, strict=True):
        table = with_rows(table, rows, segment.first)
    return table


def read_segment(
    storage: Storage, segment: Segment, schema: pa.Schema = LOG_SCHEMA, kinds: Sequence[str] = ()
) -> pa.Table:
    """The rows and marks of one segment, verified, in the columns of `schema`. Raises CorruptArtifactError."""
    data = pa.BufferReader(read_verified(storage, segment.file))
    try:
        with pq.ParquetFile(data) as parquet:
            known = [name for name in schema.names if name in parquet.schema_arrow.names]
            groups = [group for group in range(parquet.num_row_groups) if not kinds or _may_hold(parquet, group, kinds)]
            rows = conformed(parquet.read_row_groups(groups, known, use_threads=False), schema)
            count = parquet.metadata.num_rows
    except pa.ArrowException as error:
        raise CorruptArtifactError(f"{segment.file.path} is no segment of a log; delete it and its manifest") from error
    newest = pc.max(rows["added_at"]).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
    if count != segment.rows or newest > segment.last:
        raise CorruptArtifactError(f"{segment.file.path} is not the segment that its manifest means; delete both")
    return rows.filter(pc.field("kind").isin(list(kinds))) if kinds else rows


def _may_hold(parquet: pq.ParquetFile, group: int, kinds: Sequence[str]) -> bool:
    """Whether a row group may have rows of the kinds, by its statistics: most have artifacts alone."""
    statistics = parquet.metadata.row_group(group).column(LOG_SCHEMA.get_field_index("kind")).statistics
    return not (statistics and statistics.has_min_max) or any(
        statistics.min <= kind <= statistics.max for kind in kinds
    )


def sweep(storage: Storage) -> None:
    """Deletes checkpoints but those of the two newest commits that have one, and the segments that nobody needs.

    A segment that ends after the older of the two may be that of a writer who has not written its manifest yet.
    """
    files = [file.path for file in storage.list("checkpoints")]
    kept: dict[str, Manifest] = {}
    surplus = []
    for path in _manifests(iter(files)):
        if len({manifest.version for manifest in kept.values()} | {version_of(path)}) > _KEPT_VERSIONS:
            surplus.append(path)
            continue
        try:
            manifest = read_manifest(storage, path)
        except CorruptArtifactError:
            continue  # fsck reports it
        if manifest is not None:
            kept[path] = manifest
    newest = max((manifest.version for manifest in kept.values()), default=0)
    for path in receipts(storage):  # of a checkpoint that somebody deleted: the newest takes its place
        if path not in kept and (version_of(path) or 0) < newest:
            storage.delete(receipt_of(path))
    if not surplus:
        return
    oldest = min(manifest.version for manifest in kept.values())
    needed = {segment.file.path for manifest in kept.values() for segment in manifest.segments}
    for path in surplus:
        storage.delete(path)
    for path in files:
        segment = _SEGMENT.fullmatch(path)
        if segment and path not in needed and int(segment[1]) <= oldest:
            storage.delete(path)


def unnamed_segments(storage: Storage) -> list[StoredFile]:
    """Segments that no readable manifest names: a writer is about to name them, or crashed."""
    files = list(storage.list("checkpoints"))
    named = set()
    for path in _manifests(file.path for file in files):
        try:
            manifest = read_manifest(storage, path)
        except CorruptArtifactError:
            continue
        named |= {segment.file.path for segment in manifest.segments} if manifest else set()
    return [file for file in files if is_segment(file.path) and file.path not in named]
