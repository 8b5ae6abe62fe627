"""Fills a catalog from the folded log: tables with added_at and removed_at, and the views of ``sql/`` over them.

A catalog is one file, or several: large ones stay as they are, and what is new comes into a part after them. The tables
of a part are in its schema ``part``: ``log`` (one row per artifact, commit and alias move), one table per kind in
`embeddings.rows.SCHEMAS`, ``codes_<d>`` per width of case codes, and ``removed``: what it takes from earlier parts. The
newest part has views over all of them, in the schema ``base``, the same with cohorts as they are called now in
``shown``, and those of ``sql/`` over these. A reader attaches the earlier ones as ``part_0``, ``part_1``, … Growing and
building afresh are the same call.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.case_codes import code_matrix
from guidestore.embeddings.commit_log import LogSince
from guidestore.embeddings.log_table import LOG_SCHEMA
from guidestore.embeddings.rows import RUN_KINDS, SCHEMAS
from guidestore.embeddings.storage import Storage
from guidestore.embeddings.tables import conformed
from guidestore.warehouse.entry_files import ENTRY_COLUMNS, EntryFiles
from guidestore.warehouse.run_columns import DERIVED, with_derived

_SQL = Path(__file__).parent / "sql"
_LAYOUT = 6
"""Raise it when the base tables change; changes of the SQL files count by themselves."""
_VIEWS = [
    *("live", "cohorts", "cases", "labels", "splits", "images", "encoders", "code_sets", "bags", "codes", "runs"),
    *("snapshots", "lineage", "weights", "quarantine", "attention", "looks", "sweeps", "maps", "neighbours"),
    *("best_runs", "paper_table"),
]
"""Files of ``sql/`` in the order in which they build on each other."""
_LOG_COLUMNS = [name for name in LOG_SCHEMA.names if name != "files"]
_PATHS = ("code_set", "trained_on", "inferior", "superior")
"""Columns of texts that begin with the name of a cohort."""
_GROUP_ROWS = 16_384
"""Rows that DuckDB writes as one group. With its default, 122,880, it writes vectors twice, and one core scans all."""
_MEMORY = "512MiB"
"""Of DuckDB's buffers: what was inserted is on disk by then."""
_STAMPED = [("artifact", pa.string()), ("added_at", pa.int64()), ("removed_at", pa.int64())]


def layout_digest() -> str:
    """Digest of the tables and views that this version makes."""
    texts = [path.read_text() for path in sorted(_SQL.glob("*.sql"))]
    return hashlib.sha256("\0".join([str(_LAYOUT), *texts]).encode()).hexdigest()[:16]


def open_to_fill(file: Path, earlier: Sequence[Path] = ()) -> duckdb.DuckDBPyConnection:
    """A connection that writes the catalog `file`, new or not, beside the `earlier` parts."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "python_enable_replacements": "false",
        "temp_directory": "",
        "memory_limit": _MEMORY,
    }
    con = duckdb.connect(config=config)
    for number, part in enumerate(earlier):
        con.execute(f"ATTACH {_quoted(part)} AS part_{number} (READ_ONLY)")
    con.execute(f"ATTACH {_quoted(file)} AS filling (ROW_GROUP_SIZE {_GROUP_ROWS})")
    con.execute("USE filling")
    return con


def _quoted(file: Path) -> str:
    return "'{}'".format(str(file).replace("'", "''"))


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """The empty tables of a part."""
    con.execute("CREATE SCHEMA part")
    con.execute("CREATE SCHEMA base")
    log = pa.schema([LOG_SCHEMA.field(name) for name in _LOG_COLUMNS])
    _create(con, "part.log", log)
    _create(con, "part.removed", pa.schema([("is_alias", pa.bool_()), *_STAMPED[::2]]))
    for kind, schema in SCHEMAS.items():
        derived = DERIVED if kind == "runs" else ()
        _create(con, f"part.{kind}", pa.schema([*schema, *derived, *_STAMPED]))


def _create(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    con.register("empty", schema.empty_table())
    con.execute(f"CREATE TABLE {name} AS FROM empty")
    con.unregister("empty")


Progress = Callable[[int, int], None]
"""Called with the number of artifacts that are in the index now, of those that are to come into it."""


def silent(done: int, total: int) -> None:
    """For callers that want none."""


def apply_log(con: duckdb.DuckDBPyConnection, storage: Storage, since: LogSince, progress: Progress = silent) -> None:
    """Brings a catalog up to date with what the log says beyond the commit that it ends at.

    Every file is verified on the way. Raises CorruptArtifactError where one is damaged, missing, or lacks rows that
    were committed: a case never vanishes from the index in silence.
    """
    _mark_removed(con, since.removed)
    # Tombstones stay out: they hold the ids of withdrawn cases.
    new = since.added
    present = set(pc.unique(new["kind"]).to_pylist())
    if "tombstone" in present:
        new = new.filter(pc.field("kind") != "tombstone")
    # Compressed floats cost a scan of 1 M x 256 half a second and save 4 % of the file; compressing the digests of
    # 100,000 artifacts costs half a second.
    con.execute("SET force_compression = 'uncompressed'")
    counts = {row["values"]: row["counts"] for row in pc.value_counts(new["kind"]).to_pylist()}
    done, total = 0, sum(counts.get(kind, 0) for kind in ("codes", "run", *(f"rows:{kind}" for kind in SCHEMAS)))
    progress(0, total)
    if "codes" in present:
        for loaded in _load_codes(con, storage, new):
            done += loaded
            progress(done, total)
    for kind in SCHEMAS:
        # Metrics and predictions come with their run, or later.
        for entry_kind in ("run", f"rows:{kind}") if kind in RUN_KINDS else (f"rows:{kind}",):
            if entry_kind in present:
                _load_rows(con, storage, kind, new, entry_kind)
                done += counts[entry_kind] if entry_kind != "run" or kind == RUN_KINDS[-1] else 0
                progress(min(done, total), total)
    con.register("new_log", new.select(_LOG_COLUMNS))
    con.execute("INSERT INTO part.log FROM new_log")
    con.unregister("new_log")


def create_views(con: duckdb.DuckDBPyConnection, earlier: int = 0) -> None:
    """The views and macros over the tables of this part and of the `earlier` ones; replaces older ones."""
    parts = [f"part_{number}." for number in range(earlier)] + [""]
    tables: dict[str, list[str]] = {}
    for part in parts:
        of = (part or "filling.").removesuffix(".")
        rows = con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'part' AND database_name = ? ORDER BY 1", [of]
        ).fetchall()
        for (table,) in rows:
            tables.setdefault(table, []).append(part)
    lacking = [_removed_later(con, parts, number) for number in range(earlier)]
    for table, holders in tables.items():
        selects = [_standing_rows(table, part, lacking[parts.index(part)] if part else "") for part in holders]
        con.execute(f"CREATE OR REPLACE VIEW base.{table} AS {' UNION ALL '.join(selects)}")
    widths = sorted(int(table.removeprefix("codes_")) for table in tables if table.startswith("codes_"))
    for name in _VIEWS:
        if name == _VIEWS[1]:
            _create_shown(con)  # by the macros of the first
        text = (_SQL / f"{name}.sql").read_text()
        if name == "codes":
            template = Template((_SQL / "codes_width.sql").read_text())
            for width in widths:
                con.execute(template.substitute(d=width))
            union = "UNION ALL SELECT * REPLACE (code::FLOAT[] AS code, unit::FLOAT[] AS unit) FROM codes_{}\n"
            text += "".join(union.format(width) for width in widths)
        con.execute(text)


def _create_shown(con: duckdb.DuckDBPyConnection) -> None:
    """Views of those in ``base`` with cohorts as they are shown. Where none was renamed they cost nothing."""
    con.execute("CREATE SCHEMA IF NOT EXISTS shown")
    tables = con.execute(
        "SELECT table_name, list(column_name) FROM duckdb_columns() "
        "WHERE schema_name = 'base' AND database_name = 'filling' GROUP BY table_name"
    ).fetchall()
    for table, columns in tables:
        also = ", cohort AS first_name" if table == "cohorts" else ""
        named = [f"shown_path({column}) AS {column}" for column in _PATHS if column in columns]
        named += ["shown_cohort(cohort) AS cohort"] * ("cohort" in columns)
        replaced = f" REPLACE ({', '.join(named)})" if named else ""
        con.execute(f"CREATE OR REPLACE VIEW shown.{table} AS SELECT *{replaced}{also} FROM base.{table}")


def _removed_later(con: duckdb.DuckDBPyConnection, parts: Sequence[str], number: int) -> str:
    """The table of what the parts after `number` take away from it; '' where that is nothing."""
    name = f"base.removed_from_{number}"
    later = " UNION ALL ".join(f"FROM {part}part.removed" for part in parts[number + 1 :])
    con.execute(
        f"CREATE OR REPLACE TABLE {name} AS "
        f"SELECT is_alias, artifact, min(removed_at) AS removed_at FROM ({later}) GROUP BY ALL"
    )
    return name if con.execute(f"SELECT count(*) FROM {name}").fetchall() != [(0,)] else ""


def _standing_rows(table: str, part: str, removed: str) -> str:
    """A SELECT of all rows of a table in a part, with what later ones removed."""
    if not removed or table == "removed":
        return f"FROM {part}part.{table}"
    is_alias = "t.kind = 'alias'" if table == "log" else "false"
    return (
        "SELECT t.* REPLACE (coalesce(t.removed_at, r.removed_at) AS removed_at) "
        f"FROM {part}part.{table} t LEFT JOIN {removed} r ON r.artifact = t.artifact AND r.is_alias = ({is_alias})"
    )


def _mark_removed(con: duckdb.DuckDBPyConnection, removed: pa.Table) -> None:
    """Sets removed_at in the rows of this part, and notes it for those of earlier ones."""
    if not removed.num_rows:
        return
    con.register("gone", removed)
    tables = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'part' AND database_name = 'filling'"
    ).fetchall()
    for (table,) in tables:
        if table == "removed":
            continue
        is_alias = "t.kind = 'alias'" if table == "log" else "false"
        con.execute(
            f"UPDATE part.{table} t SET removed_at = g.removed_at FROM gone g "
            f"WHERE t.artifact = g.artifact AND t.removed_at IS NULL AND g.is_alias = ({is_alias})"
        )
    con.execute("INSERT INTO part.removed BY NAME FROM gone")
    con.unregister("gone")


def _load_codes(con: duckdb.DuckDBPyConnection, storage: Storage, new: pa.Table) -> Iterator[int]:
    """How many at a time."""
    shapes = new.select(["kind", "shape"]).filter(pc.field("kind") == "codes")["shape"]
    for width in sorted(pc.unique(pc.list_element(shapes, 0)).to_pylist()):
        con.execute(
            f"CREATE TABLE IF NOT EXISTS part.codes_{width} (code_set VARCHAR, cohort VARCHAR, modality VARCHAR, "
            "encoder VARCHAR, encoder_digest VARCHAR, trained_on VARCHAR, split VARCHAR, fold INTEGER, "
            f"case_id VARCHAR, image_id VARCHAR, artifact VARCHAR, code FLOAT[{width}], unit FLOAT[{width}], "
            "added_at BIGINT, removed_at BIGINT)"
        )
        files = EntryFiles.of(new, "codes", "objects/codes/", width)
        for table in files.joined(storage, "artifact", lambda table: table.select(["artifact", "code"])):
            con.register("rows", _with_units(table))
            con.execute(
                f"INSERT INTO part.codes_{width} SELECT "
                "cohort || '/' || modality || '/' || encoder || '@' || left(encoder_digest, 12), "
                f"{', '.join(ENTRY_COLUMNS)}, code::FLOAT[{width}], unit::FLOAT[{width}], added_at, removed_at "
                "FROM rows"
            )
            con.unregister("rows")
            yield table.num_rows


def _load_rows(con: duckdb.DuckDBPyConnection, storage: Storage, kind: str, new: pa.Table, entry_kind: str) -> None:
    names = SCHEMAS[kind].names
    files = EntryFiles.of(new, entry_kind, f"objects/rows/{kind}/")
    # A file of runs may hold one that another writer committed first, so runs are joined by their id too.
    match = "run" if entry_kind == "run" else None
    for rows in files.joined(storage, match, lambda table: conformed(table, SCHEMAS[kind]), counted=kind == "runs"):
        rows = rows.select([*names, "artifact", "added_at", "removed_at"])
        con.register("rows", with_derived(rows) if kind == "runs" else rows)
        con.execute(f"INSERT INTO part.{kind} BY NAME FROM rows")
        con.unregister("rows")


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
