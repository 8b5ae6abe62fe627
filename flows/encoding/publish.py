"""A snapshot as a data set for the world: Parquet, a card, Croissant. `import_published` takes it back.

| file | what |
|---|---|
| ``codes/<set>.parquet`` | a row per case code: case_id, image_id, artifact, code (fixed-size list of float32) |
| ``bags/<set>.parquet`` | a row per tile: case_id, image_id, x, y (level-0 pixels), features; row groups of one slide |
| ``<kind>.parquet`` | rows of cohorts, targets, cases, labels, splits, images, encoders; `artifact` is their table |
| ``artifacts.parquet`` | what each bag and code was made from, and in which row groups a bag lies |
| ``README.md``, ``croissant.json`` | for people and Hugging Face; for machines, with the sha256 of every file |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidestore.embeddings.bags import CHUNK_ROWS, read_bag
from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.log_table import entry_of
from guidestore.embeddings.records import Entry
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.scratch import blocks
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.tables import read_table
from guidestore.embeddings.transaction import content_artifact
from guidestore.embeddings.types import CodeSetKey
from guidestore.embeddings.vectors import vector_field, vectors
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.croissant import croissant
from guidestore.flows.encoding.data_card import data_card
from guidestore.flows.encoding.data_set import DataSet, PublishedSet
from guidestore.flows.encoding.licences import licence_behind
from guidestore.flows.encoding.seen import seen_notes
from guidestore.flows.work.new_folder import new_folder
from guidestore.flows.work.reporting import Progress, counted, no_progress

KINDS = ("cohorts", "targets", "cases", "labels", "splits", "images", "encoders")
"""Of rows that go out; runs, looks and predictions stay."""
ARTIFACTS = "artifacts.parquet"
CROISSANT = "croissant.json"
CARD = "README.md"
ARTIFACT_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("artifact", "kind", "cohort", "case_id", "image_id", "modality", "encoder")),
        *((name, pa.string()) for name in ("encoder_digest", "trained_on", "dtype", "file")),
        ("n", pa.int64()),
        ("d", pa.int32()),
        ("inputs", pa.list_(pa.string())),
        ("pixels", pa.string()),
        ("row_group", pa.int32()),
        ("row_groups", pa.int32()),
        ("has_places", pa.bool_()),
        ("mpp", pa.float64()),
        ("tile_size_px", pa.int32()),
        ("tile_size_level0_px", pa.int32()),
        ("magnification", pa.float64()),
    ]
)
_GROUP_VALUES = 1 << 24
_GROUP_TILES = 4 * CHUNK_ROWS
"""Of a slide in a row group: 42 MB at d = 2,560 float32, a few times of which are in memory."""
LEAVES = "the pseudonyms of {cases}, their codes, labels and splits, and the sha256 of their image files"


@dataclass(frozen=True, slots=True)
class Published:
    """What was written."""

    folder: Path
    data: DataSet
    notes: tuple[str, ...]


def publish(
    snapshot: Snapshot,
    output: Path,
    *,
    cohorts: Sequence[str] = (),
    licence: str = "",
    url: str = "",
    creator: str = "",
    with_pseudonymized: bool = False,
    progress: Progress = no_progress,
) -> Published:
    """Writes the new folder `output`; it appears whole or not at all, and one slide's part is in memory at a time.

    cohorts: by their names in the store; () means all. No path of an image, no key, weight, run or prediction goes out.
    Raises NotFoundInStoreError, and InvalidInputError where a cohort is pseudonymized, unless `with_pseudonymized`.
    """
    chosen = _chosen(snapshot, cohorts, with_pseudonymized)
    keys = [key for key in snapshot.code_sets if key.cohort in chosen]
    if not keys:
        raise NotFoundInStoreError(f"snapshot {snapshot.version} has no codes of {', '.join(chosen) or 'any cohort'}")
    with new_folder(output) as folder:
        tables = _write_tables(snapshot, chosen, keys, folder)
        encoders = {row["encoder_digest"]: row for row in snapshot.rows("encoders").to_pylist()}
        sets: list[PublishedSet] = []
        with pq.ParquetWriter(
            folder / ARTIFACTS, ARTIFACT_SCHEMA, compression="ZSTD", write_page_checksum=True
        ) as told:
            for key in counted(keys, len(keys), "code sets", progress):
                encoder = encoders.get(key.encoder_digest, {})
                sets.append(_write_set(snapshot, key, encoder, folder, told, progress))
        tables[Path(ARTIFACTS).stem] = ARTIFACT_SCHEMA
        files = {
            file.relative_to(folder).as_posix(): (file.stat().st_size, _sha256(file))
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        data = DataSet(
            name=" and ".join(chosen),
            snapshot=snapshot.version,
            commit=_commit(snapshot),
            cohorts=tuple(chosen),
            sets=tuple(sets),
            tables=tables,
            files=files,
            licence=licence,
            url=url,
            creator=creator,
            pseudonymized=with_pseudonymized and bool(_pseudonymized(snapshot, chosen)),
        )
        (folder / CROISSANT).write_text(json.dumps(croissant(data), indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(data_card(data), encoding="utf-8")
    notes = [] if licence else ["no licence was stated: say it with --licence, or nobody may use the data"]
    unknown = sorted({str(item.key) for item in sets if item.key.trained_on.kind == "unknown"})
    notes += [f"what the encoders of {', '.join(unknown)} were trained on is unknown"] if unknown else []
    notes += dict.fromkeys(note for item in sets for note in item.seen)
    return Published(output, data, tuple(notes))


def _chosen(snapshot: Snapshot, cohorts: Sequence[str], with_pseudonymized: bool) -> list[str]:
    known = sorted({key.cohort for key in snapshot.code_sets})
    chosen = sorted(set(cohorts)) or known
    missing = [cohort for cohort in chosen if cohort not in known]
    if missing:
        raise NotFoundInStoreError(
            f"snapshot {snapshot.version} has no codes of cohort {missing[0]}; it has {', '.join(known) or 'none'}"
        )
    hidden = _pseudonymized(snapshot, chosen)
    if hidden and not with_pseudonymized:
        cases = {
            (cohort, case) for cohort in hidden for case in snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist()
        }
        raise InvalidInputError(
            f"cohort {hidden[0]} is pseudonymized, and published would be "
            f"{LEAVES.format(cases=count_of(len(cases), 'case'))}, which others may link to what they know; say "
            "--with-pseudonymized where that may leave, or choose others with --cohort"
        )
    return chosen


def _pseudonymized(snapshot: Snapshot, cohorts: Sequence[str]) -> list[str]:
    rows = snapshot.rows("cohorts").to_pylist()
    return sorted({row["cohort"] for row in rows if row["pseudonymized"] and row["cohort"] in cohorts})


def _write_tables(
    snapshot: Snapshot, cohorts: Sequence[str], keys: Sequence[CodeSetKey], folder: Path
) -> dict[str, pa.Schema]:
    """A file per kind of rows, with a column that names the artifact of each. Returns their columns by stem."""
    digests = {key.encoder_digest for key in keys}
    written = {}
    for kind in KINDS:
        schema = SCHEMAS[kind].append(pa.field("artifact", pa.string()))
        pieces: dict[str, pa.Table] = {}
        for entry in sorted(snapshot.entries(kind=f"rows:{kind}"), key=lambda entry: entry.artifact):
            if kind != "encoders" and entry.cohort not in cohorts:
                continue
            (file,) = entry.files
            table = without_places(kind, as_schema(read_table(snapshot.storage, file), SCHEMAS[kind]))
            if kind == "encoders":
                table = table.filter(pc.field("encoder_digest").isin(sorted(digests)))
            # Of rows that lost a path, or that an older guidestore wrote with fewer columns, another than the store's.
            artifact = entry.artifact if kind == "encoders" else content_artifact(kind, table, entry.cohort)
            pieces[artifact] = table.append_column("artifact", pa.array([artifact] * table.num_rows, pa.string()))
        table = pa.concat_tables(pieces.values()) if pieces else schema.empty_table()
        if table.num_rows:
            pq.write_table(table.cast(schema), folder / f"{kind}.parquet", compression="ZSTD", write_page_checksum=True)
            written[kind] = schema
    return written


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`; null where `table` has none."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.schema.names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def without_places(kind: str, table: pa.Table) -> pa.Table:
    """Without paths of this machine, which are no part of what a cohort is."""
    blank = pa.array([""] * table.num_rows, pa.string())
    if kind == "cohorts":
        return table.set_column(table.schema.get_field_index("source"), table.schema.field("source"), blank)
    if kind != "images":
        return table
    rows = [
        row | {"path": "", "files": None if row["files"] is None else [file | {"path": ""} for file in row["files"]]}
        for row in table.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)


def _write_set(
    snapshot: Snapshot,
    key: CodeSetKey,
    encoder: Mapping[str, Any],
    folder: Path,
    told: pq.ParquetWriter,
    progress: Progress,
) -> PublishedSet:
    kind = "bags" if key.kind == "bag" else "codes"
    place = f"{kind}/{key.cohort}_{key.modality}_{key.encoder}_{key.encoder_digest[:8]}.parquet"
    (folder / kind).mkdir(exist_ok=True)
    entries = snapshot.select(
        kind=key.kind, cohort=key.cohort, modality=key.modality, encoder_digest=key.encoder_digest
    ).sort_by([("case_id", "ascending"), ("image_id", "ascending"), ("artifact", "ascending")])
    given = (snapshot, key, entries, folder / place, place, told)
    rows = _write_bags(*given, progress) if key.kind == "bag" else _write_codes(*given)
    schema = pq.read_schema(folder / place)
    seen = tuple(seen_notes(snapshot, key.cohort, [key.name]))
    return PublishedSet(key, place, rows, entries.num_rows, encoder, licence_behind(snapshot, key), schema, seen)


def _write_codes(
    snapshot: Snapshot, key: CodeSetKey, entries: pa.Table, file: Path, place: str, told: pq.ParquetWriter
) -> int:
    codes = snapshot.codes(key)
    texts = [(name, pa.string()) for name in ("case_id", "image_id", "artifact")]
    schema = pa.schema([*texts, vector_field("code", np.dtype(np.float32), key.code_dim)])
    ids = entries["artifact"].to_pylist()
    with _writer(file, schema, "code") as writer:
        for rows, block_nd in blocks(codes.codes_nd, _GROUP_VALUES // key.code_dim or 1):
            columns = [pa.array(values[rows], pa.string()) for values in (codes.case_ids, codes.image_ids, ids)]
            writer.write_table(pa.table([*columns, vectors(block_nd)], schema=schema))
    n = entries.num_rows
    same = {name: entries[name] for name in ARTIFACT_SCHEMA.names if name in entries.schema.names}
    pixels = [_pixels(meta) for meta in entries["meta"].to_pylist()]
    own = {"file": [place] * n, "n": [1] * n, "d": [key.code_dim] * n, "pixels": pixels, "has_places": [False] * n}
    made = {name: pa.array(values, ARTIFACT_SCHEMA.field(name).type) for name, values in own.items()}
    told.write_table(as_schema(pa.table({**same, **made}), ARTIFACT_SCHEMA))
    return n


def _pixels(meta: str) -> str | None:
    pixels = json.loads(meta).get("pixels")
    return canonical_json(pixels) if pixels else None


def _write_bags(
    snapshot: Snapshot,
    key: CodeSetKey,
    entries: pa.Table,
    file: Path,
    place: str,
    told: pq.ParquetWriter,
    progress: Progress,
) -> int:
    shapes = zip(entries["dtype"].to_pylist(), entries["shape"].to_pylist(), strict=True)
    dtypes = {dtype for dtype, (n, _) in shapes if n}
    dtype = np.dtype("float32" if len(dtypes) > 1 else min(dtypes, default="float16"))
    texts = [(name, pa.string()) for name in ("case_id", "image_id")]
    places = [(name, pa.int32()) for name in ("x", "y")]
    schema = pa.schema([*texts, *places, vector_field("features", dtype, key.code_dim)])
    tiles = groups = 0
    rows = []
    with _writer(file, schema, "features") as writer:
        for row in counted(entries.to_pylist(), entries.num_rows, f"slides of {key.name.within}", progress):
            entry = entry_of(row)
            n, d = entry.shape
            first = groups
            facts = read_bag(snapshot.storage, entry, slice(0, 0))
            for piece in _pieces(snapshot, entry, schema, dtype):
                writer.write_table(piece)
                groups += 1
            tiles += n
            rows.append(
                {
                    **{name: row[name] for name in ARTIFACT_SCHEMA.names if name in row},
                    "file": place,
                    "n": n,
                    "d": d,
                    "pixels": _pixels(row["meta"]),
                    "row_group": first,
                    "row_groups": groups - first,
                    "has_places": facts.coords_n2 is not None,
                    **{name: getattr(facts, name) for name in ARTIFACT_SCHEMA.names[-4:]},
                }
            )
    told.write_table(pa.Table.from_pylist(rows, schema=ARTIFACT_SCHEMA))
    return tiles


def _pieces(snapshot: Snapshot, entry: Entry, schema: pa.Schema, dtype: np.dtype) -> Iterator[pa.Table]:
    for start in range(0, entry.shape[0], _GROUP_TILES):
        bag = read_bag(snapshot.storage, entry, slice(start, start + _GROUP_TILES))
        n = len(bag)
        places = [pa.nulls(n, pa.int32())] * 2 if bag.coords_n2 is None else [pa.array(xy) for xy in bag.coords_n2.T]
        texts = [pa.array([text] * n, pa.string()) for text in (entry.case_id, entry.image_id)]
        yield pa.table([*texts, *places, vectors(bag.features_nd.astype(dtype, copy=False))], schema=schema)


def _writer(file: Path, schema: pa.Schema, vector: str) -> pq.ParquetWriter:
    """Vectors as they are: they hardly shrink, and are read most."""
    names = [name for name in schema.names if name != vector]
    compression = {**dict.fromkeys(names, "ZSTD"), f"{vector}.list.element": "NONE"}
    return pq.ParquetWriter(
        file,
        schema,
        compression=compression,  # pyright: ignore[reportArgumentType]
        use_dictionary=names,  # pyright: ignore[reportArgumentType]
        write_statistics=names,  # pyright: ignore[reportArgumentType]
        write_page_checksum=True,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _commit(snapshot: Snapshot) -> dict[str, Any]:
    """Of the snapshot: what its lineage hangs on."""
    metas = (json.loads(meta) for meta in snapshot.select(kind="commit")["meta"].to_pylist())
    newest = max(metas, key=lambda meta: meta["version"])
    environment = newest["actor"].get("environment", {})
    return {name: newest[name] for name in ("version", "sha256", "created_at")} | {"environment": environment}
