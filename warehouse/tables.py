"""Fills a catalog from the folded log: base tables with added_at and removed_at, and the views of ``sql/`` over them.

Base tables, in the schema ``base``: ``log`` (one row per artifact, commit and alias move), one table per kind in
`embeddings.rows.SCHEMAS`, and ``codes_<d>`` per width of case codes. Growing and building afresh are the same call.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidestore.embeddings.case_codes import code_matrix
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.log_table import LOG_SCHEMA
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.rows import RUN_KINDS, SCHEMAS
from guidestore.embeddings.storage import Storage
from guidestore.embeddings.tables import conformed, read_verified

_SQL = Path(__file__).parent / "sql"
_LAYOUT = 3
"""Raise it when the base tables change; changes of the SQL files count by themselves."""
_VIEWS = [
    *("live", "cohorts", "cases", "labels", "splits", "images", "encoders", "code_sets", "bags", "codes", "runs"),
    *("snapshots", "lineage", "weights", "quarantine", "attention", "looks", "sweeps", "neighbours"),
    *("best_runs", "paper_table"),
]
"""Files of ``sql/`` in the order in which they build on each other."""
_LOG_COLUMNS = [name for name in LOG_SCHEMA.names if name != "files"]
_ENTRY_COLUMNS = [
    *("cohort", "modality", "encoder", "encoder_digest", "trained_on", "split", "fold", "case_id", "image_id"),
    "artifact",
]
_GROUP_ROWS = 16_384
"""Rows that DuckDB writes as one group. With its default, 122,880, it writes vectors twice, and one core scans all."""
_BATCH_FILES = 256
"""Files inserted by one statement: 16,384 case codes in files of 64, 17 MB at d = 256; the next are read meanwhile."""


def layout_digest() -> str:
    """Digest of the tables and views that this version makes."""
    texts = [path.read_text() for path in sorted(_SQL.glob("*.sql"))]
    return hashlib.sha256("\0".join([str(_LAYOUT), *texts]).encode()).hexdigest()[:16]


def open_to_fill(file: Path) -> duckdb.DuckDBPyConnection:
    """A connection that writes the catalog `file`, new or not."""
    con = duckdb.connect(config={"python_enable_replacements": "false", "temp_directory": ""})
    con.execute(f"ATTACH {_quoted(file)} AS filling (ROW_GROUP_SIZE {_GROUP_ROWS})")
    con.execute("USE filling")
    return con


def _quoted(file: Path) -> str:
    return "'{}'".format(str(file).replace("'", "''"))


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """The empty base tables."""
    con.execute("CREATE SCHEMA base")
    log = pa.schema([LOG_SCHEMA.field(name) for name in _LOG_COLUMNS])
    _create(con, "base.log", log)
    stamps = [("artifact", pa.string()), ("added_at", pa.int64()), ("removed_at", pa.int64())]
    for kind, schema in SCHEMAS.items():
        _create(con, f"base.{kind}", pa.schema([*schema, *pa.schema(stamps)]))


def _create(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    con.register("empty", schema.empty_table())
    con.execute(f"CREATE TABLE {name} AS FROM empty")
    con.unregister("empty")


def apply_log(con: duckdb.DuckDBPyConnection, storage: Storage, log: pa.Table, since: int) -> None:
    """Brings a catalog that knows the commits up to `since` up to date with the folded `log`.

    Every file is verified on the way. Raises CorruptArtifactError where one is damaged, missing, or lacks rows that
    were committed: a case never vanishes from the index in silence.
    """
    _mark_removed(con, log.filter((pc.field("added_at") <= since) & (pc.field("removed_at") > since)))
    # Tombstones stay out: they hold the ids of withdrawn cases.
    new = log.filter((pc.field("added_at") > since) & (pc.field("kind") != "tombstone"))
    # Compressed floats cost a scan of 1 M x 256 half a second and save 4 % of the file; compressing the digests of
    # 100,000 artifacts costs half a second.
    con.execute("SET force_compression = 'uncompressed'")
    by_kind = new.select([*_ENTRY_COLUMNS, "kind", "shape", "files", "added_at", "removed_at"])
    present = set(pc.unique(new["kind"]).to_pylist())
    if "codes" in present:
        _load_codes(con, storage, by_kind.filter(pc.field("kind") == "codes"))
    for kind in SCHEMAS:
        # Metrics and predictions come with their run, or later.
        for entry_kind in ("run", f"rows:{kind}") if kind in RUN_KINDS else (f"rows:{kind}",):
            if entry_kind in present:
                _load_rows(con, storage, kind, by_kind.filter(pc.field("kind") == entry_kind), entry_kind == "run")
    con.register("new_log", new.select(_LOG_COLUMNS))
    con.execute("INSERT INTO base.log FROM new_log")
    con.unregister("new_log")


def create_views(con: duckdb.DuckDBPyConnection) -> None:
    """The views and macros over the base tables that are there; replaces older ones."""
    for name in _VIEWS:
        text = (_SQL / f"{name}.sql").read_text()
        if name == "codes":
            widths = _widths(con)
            template = Template((_SQL / "codes_width.sql").read_text())
            for width in widths:
                con.execute(template.substitute(d=width))
            union = "UNION ALL SELECT * REPLACE (code::FLOAT[] AS code, unit::FLOAT[] AS unit) FROM codes_{}\n"
            text += "".join(union.format(width) for width in widths)
        con.execute(text)


def _widths(con: duckdb.DuckDBPyConnection) -> list[int]:
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() "
        "WHERE schema_name = 'base' AND regexp_matches(table_name, '^codes_\\d+$')"
    ).fetchall()
    return sorted(int(name.removeprefix("codes_")) for (name,) in rows)


def _mark_removed(con: duckdb.DuckDBPyConnection, removed: pa.Table) -> None:
    if not removed.num_rows:
        return
    con.register("removed", removed.select(["artifact", "added_at", "removed_at"]))
    for table in ("log", *SCHEMAS, *(f"codes_{width}" for width in _widths(con))):
        con.execute(
            f"UPDATE base.{table} t SET removed_at = r.removed_at FROM removed r "
            "WHERE t.artifact = r.artifact AND t.added_at = r.added_at"
        )
    con.unregister("removed")


def _load_codes(con: duckdb.DuckDBPyConnection, storage: Storage, entries: pa.Table) -> None:
    widths = pc.list_element(entries["shape"], 0)
    for width in sorted(pc.unique(widths).to_pylist()):
        con.execute(
            f"CREATE TABLE IF NOT EXISTS base.codes_{width} (code_set VARCHAR, cohort VARCHAR, modality VARCHAR, "
            "encoder VARCHAR, encoder_digest VARCHAR, trained_on VARCHAR, split VARCHAR, fold INTEGER, "
            f"case_id VARCHAR, image_id VARCHAR, artifact VARCHAR, code FLOAT[{width}], unit FLOAT[{width}], "
            "added_at BIGINT, removed_at BIGINT)"
        )
        located = _located(entries.filter(pc.equal(widths, width)), "objects/codes/")
        for refs, batch in _batches(storage, located, lambda table: table.select(["artifact", "code"])):
            rows = _with_units(_joined(batch, located, "artifact"))
            _check_count(rows, located, refs)
            con.register("rows", rows)
            con.execute(
                f"INSERT INTO base.codes_{width} SELECT "
                "cohort || '/' || modality || '/' || encoder || '@' || left(encoder_digest, 12), "
                f"{', '.join(_ENTRY_COLUMNS)}, code::FLOAT[{width}], unit::FLOAT[{width}], added_at, removed_at "
                "FROM rows"
            )
            con.unregister("rows")


def _load_rows(con: duckdb.DuckDBPyConnection, storage: Storage, kind: str, entries: pa.Table, of_runs: bool) -> None:
    located = _located(entries, f"objects/rows/{kind}/")
    names = SCHEMAS[kind].names
    for refs, batch in _batches(storage, located, lambda table: conformed(table, SCHEMAS[kind])):
        # A file of runs may hold one that another writer committed first, so runs are joined by their id too.
        rows = _joined(batch, located, "run" if of_runs else None, names)
        if kind == "runs":
            _check_count(rows, located, refs)
        con.register("rows", rows.select([*names, "artifact", "added_at", "removed_at"]))
        con.execute(f"INSERT INTO base.{kind} FROM rows")
        con.unregister("rows")


def _located(entries: pa.Table, prefix: str) -> pa.Table:
    """One row per entry and file of it below `prefix`: the entry's columns, and path, size and sha256 of the file."""
    column = entries["files"].combine_chunks()
    files = pc.list_flatten(column)
    table = entries.drop_columns(["files", "shape", "kind"]).take(pc.list_parent_indices(column))
    for name, field in (("file_path", "path"), ("file_size", "size"), ("file_sha256", "sha256")):
        table = table.append_column(name, pc.struct_field(files, field))
    return table.filter(pc.starts_with(table["file_path"], prefix))


def _batches(
    storage: Storage, located: pa.Table, known: Callable[[pa.Table], pa.Table]
) -> Iterator[tuple[list[FileRef], pa.Table]]:
    """Files of `located`, some hundred at a time, and their rows, verified, with their file as column ``file_path``.

    `known`: takes of a file's columns those that we know, so that files of later versions fit to each other.
    """
    columns = ["file_path", "file_size", "file_sha256"]
    refs = [FileRef(*row.values()) for row in located.select(columns).group_by(columns).aggregate([]).to_pylist()]

    def read(ref: FileRef) -> pa.Table:
        # ParquetFile.read takes a third of the time of read_table on files of 64 rows.
        table = pq.ParquetFile(pa.BufferReader(read_verified(storage, ref))).read(use_threads=False)
        return known(table).append_column("file_path", pa.repeat(pa.scalar(ref.path), table.num_rows))

    batches = [refs[start : start + _BATCH_FILES] for start in range(0, len(refs), _BATCH_FILES)]
    with ThreadPoolExecutor(max_workers=max(2, storage.lanes)) as pool:
        coming = [pool.map(read, batch) for batch in batches[:1]]
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            # One chunk: DuckDB takes a third of the time to scan it that it takes for chunks of 64 rows.
            table = pa.concat_tables(coming.pop()).combine_chunks()
            coming.append(pool.map(read, following))  # read while the caller inserts
            yield batch, table


def _joined(batch: pa.Table, located: pa.Table, name: str | None, keep: Sequence[str] = ("code",)) -> pa.Table:
    """Columns `keep` of the rows that an entry names, beside all columns of that entry.

    Rows are matched by file and, with `name`, by that column being the entry's artifact.
    """
    near = located.filter(pc.is_in(located["file_path"], pc.unique(batch["file_path"])))
    if name is None:
        rows, wanted = batch["file_path"], near["file_path"]
    else:
        rows = pc.binary_join_element_wise(batch["file_path"], batch[name], " ")
        wanted = pc.binary_join_element_wise(near["file_path"], near["artifact"], " ")
    entry_rows = pc.index_in(rows, wanted)
    batch = batch.select(list(keep))
    if entry_rows.null_count:
        batch, entry_rows = batch.filter(pc.is_valid(entry_rows)), entry_rows.drop_null()
    entries = near.drop_columns([column for column in keep if column in near.schema.names]).take(entry_rows)
    for column in keep:
        entries = entries.append_column(column, batch[column])
    return entries


def _check_count(rows: pa.Table, located: pa.Table, refs: Sequence[FileRef]) -> None:
    wanted = pc.sum(pc.is_in(located["file_path"], pa.array([ref.path for ref in refs]))).as_py()
    if rows.num_rows != wanted:
        raise CorruptArtifactError(
            f"{refs[0].path} and the {len(refs) - 1} files read with it hold {rows.num_rows} of the {wanted} rows that "
            "were committed; run `guidestore fsck`, then restore them from a copy or write them again"
        )


def _with_units(table: pa.Table) -> pa.Table:
    """`table` and ``unit``: its code at length 1, zeros where it is zeros, null where it is not finite."""
    codes_nd = code_matrix(table)
    largest_n1 = np.abs(codes_nd).max(axis=1, initial=0, keepdims=True)
    finite_n1 = np.isfinite(largest_n1)
    # Divided by the largest value first, so that no square over- or underflows.
    units_nd = codes_nd / np.where(finite_n1 & (largest_n1 > 0), largest_n1, 1)
    if not finite_n1.all():
        units_nd[~finite_n1[:, 0]] = 0
    norms_n1 = np.sqrt(np.einsum("nd,nd->n", units_nd, units_nd))[:, None]
    units_nd /= np.where(norms_n1 > 0, norms_n1, 1)
    unit = pa.FixedSizeListArray.from_arrays(
        pa.array(units_nd.reshape(-1)), codes_nd.shape[1], mask=pa.array(~finite_n1[:, 0])
    )
    return table.append_column("unit", unit)
