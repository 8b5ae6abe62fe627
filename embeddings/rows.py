"""Tables of rows that the store keeps beside codes: one schema per kind.

Readers take a column that a file lacks for null, and pass over kinds and columns that they do not know.
"""

from __future__ import annotations

import pyarrow as pa

from guidestore.embeddings.errors import InvalidInputError

_TEXT, _INT, _FLOAT = pa.string(), pa.int32(), pa.float64()
_FILE = pa.struct([("path", _TEXT), ("size", pa.int64()), ("sha256", _TEXT)])

SCHEMAS: dict[str, pa.Schema] = {
    # display_name: what the cohort is shown as, and found by beside its own name, which recipes keep; empty: its own.
    "cohorts": pa.schema(
        [
            ("cohort", _TEXT),
            ("layout", _TEXT),
            ("source", _TEXT),
            ("pseudonymized", pa.bool_()),
            ("note", _TEXT),
            ("display_name", _TEXT),
            ("collection", _TEXT),
        ]
    ),
    # The fixed class order of a target: probabilities are in the order of class_index, which is that of the grades of
    # an ordinal target. kind: null means classes. unit: of a value, or of a survival time.
    "targets": pa.schema(
        [
            ("cohort", _TEXT),
            ("target", _TEXT),
            ("class_index", _INT),
            ("class", _TEXT),
            ("kind", _TEXT),
            ("unit", _TEXT),
        ]
    ),
    "cases": pa.schema([("cohort", _TEXT), ("case_id", _TEXT)]),
    # By the target's kind: class; value; time and event; or, multilabel, class and value (1 has it, 0 has it not).
    "labels": pa.schema(
        [
            ("cohort", _TEXT),
            ("case_id", _TEXT),
            ("target", _TEXT),
            ("class", _TEXT),
            ("value", _FLOAT),
            ("time", _FLOAT),
            ("event", pa.bool_()),
        ]
    ),
    "splits": pa.schema(
        [("cohort", _TEXT), ("split", _TEXT), ("fold", _INT), ("case_id", _TEXT), ("part", _TEXT), ("origin", _TEXT)]
    ),
    # path is '' where the cohort is pseudonymized: places live beside the key, outside the store. size in bytes.
    "images": pa.schema(
        [
            ("cohort", _TEXT),
            ("case_id", _TEXT),
            ("image_id", _TEXT),
            ("modality", _TEXT),
            ("path", _TEXT),
            ("mpp", _FLOAT),
            ("size", pa.int64()),
            ("sha256", _TEXT),
            # What decides the pixels; null where nobody said.
            ("mpp_source", _TEXT),
            ("orientation", _TEXT),
            ("bit_depth", _INT),
            ("scaling", _TEXT),
            ("geometry", _TEXT),
            ("files", pa.list_(_FILE)),
        ]
    ),
    "encoders": pa.schema(
        [
            ("encoder", _TEXT),
            ("encoder_digest", _TEXT),
            ("version", _TEXT),
            ("input_kind", _TEXT),
            ("code_dim", _INT),
            ("weights_sha256", _TEXT),
            ("preprocessing", _TEXT),
            ("trained_on", _TEXT),
            ("config", _TEXT),
        ]
    ),
    "quarantine": pa.schema(
        [
            ("cohort", _TEXT),
            ("case_id", _TEXT),
            ("image_id", _TEXT),
            ("modality", _TEXT),
            ("encoder", _TEXT),
            ("encoder_digest", _TEXT),
            ("reason", _TEXT),
            ("at", _TEXT),
        ]
    ),
    # One row per slide, encoder and branch; attention is in the order of the bag's tiles, and sums to 1 over all slides
    # of the case. bag: artifact id of the slide's patch codes.
    "attention": pa.schema(
        [
            ("cohort", _TEXT),
            ("case_id", _TEXT),
            ("image_id", _TEXT),
            ("modality", _TEXT),
            ("encoder", _TEXT),
            ("encoder_digest", _TEXT),
            ("bag", _TEXT),
            ("branch", _INT),
            ("attention", pa.list_(pa.float32())),
        ]
    ),
    # One row per run whenever somebody is shown test results of a set of runs that nobody saw together before.
    "looks": pa.schema(
        [("cohort", _TEXT), ("target", _TEXT), ("run", _TEXT), ("part", _TEXT), ("why", _TEXT), ("at", _TEXT)]
    ),
    # One row per grid of heads that was run: its file as canonical JSON, and the runs that it means at that snapshot.
    "sweeps": pa.schema(
        [
            ("cohort", _TEXT),
            ("name", _TEXT),
            ("snapshot", pa.int64()),
            ("file", _TEXT),
            ("runs", pa.list_(_TEXT)),
            ("created_at", _TEXT),
        ]
    ),
    # Where the codes of a set lie in a plane: a row per case. method says how, as umap; the recipe has its parameters.
    "maps": pa.schema(
        [
            ("cohort", _TEXT),
            ("modality", _TEXT),
            ("encoder", _TEXT),
            ("encoder_digest", _TEXT),
            ("method", _TEXT),
            ("case_id", _TEXT),
            ("x", _FLOAT),
            ("y", _FLOAT),
        ]
    ),
    "runs": pa.schema(
        [
            ("run", _TEXT),
            ("cohort", _TEXT),
            ("target", _TEXT),
            ("split", _TEXT),
            ("fold", _INT),
            ("snapshot", pa.int64()),
            ("inferior", _TEXT),
            ("superior", _TEXT),
            ("trained_on", _TEXT),
            ("row", _TEXT),
            ("mode", _TEXT),
            ("guidance", _TEXT),
            ("decoder", _TEXT),
            ("control", _TEXT),
            ("permutation", _INT),
            ("seed", _INT),
            ("status", _TEXT),
            ("n_train", _INT),
            ("best_epoch", _INT),
            ("settings", _TEXT),
            ("weights", _TEXT),
            ("versions", _TEXT),
            ("created_at", _TEXT),
        ]
    ),
    "metrics": pa.schema([("run", _TEXT), ("part", _TEXT), ("metric", _TEXT), ("value", _FLOAT)]),
    "predictions": pa.schema(
        [
            ("run", _TEXT),
            ("cohort", _TEXT),
            ("case_id", _TEXT),
            ("part", _TEXT),
            ("label", _TEXT),
            ("predicted", _TEXT),
            ("probabilities", pa.list_(_FLOAT)),
            # By the target's kind, null elsewhere: a value and its interval; a risk; the share that survives each time.
            ("value", _FLOAT),
            ("low", _FLOAT),
            ("high", _FLOAT),
            ("level", _FLOAT),
            ("risk", _FLOAT),
            ("times", pa.list_(_FLOAT)),
            ("survival", pa.list_(_FLOAT)),
        ]
    ),
}
RUN_KINDS = ("runs", "metrics", "predictions")
"""The three files of a batch of runs; an entry of kind ``run`` names all three."""


def as_rows(kind: str, rows: pa.Table | list[dict]) -> pa.Table:
    """`rows` in the schema of `kind`. Raises InvalidInputError on an unknown kind or column."""
    if kind not in SCHEMAS:
        raise InvalidInputError(f"{kind!r} is no kind of rows; the store keeps {', '.join(SCHEMAS)}")
    schema = SCHEMAS[kind]
    if isinstance(rows, list):
        unknown = {name for row in rows for name in row} - set(schema.names)
        if unknown:
            raise InvalidInputError(f"rows of kind {kind} have no column {', '.join(sorted(unknown))}")
        return pa.Table.from_pylist(rows, schema=schema)
    if rows.schema.names != schema.names:
        raise InvalidInputError(f"rows of kind {kind} have columns {schema.names}, not {rows.schema.names}")
    return rows.cast(schema)
