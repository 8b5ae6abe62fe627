"""Plain tables and arrays of case codes: CSV, Parquet, npy and npz, each with case ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import CaseCodes, as_float32_codes

ID_COLUMN = "case_id"


def read_case_codes(path: Path, *, ids: Path | None = None) -> CaseCodes:
    """The case codes in `path`, one row per case (n, d) float32; NaN stays NaN, pairing names it.

    CSV and Parquet: a column ``case_id`` and either numeric columns, in their order, or one list column. npz: arrays
    ``case_id`` (n,) and one of shape (n, d). npy: (n, d), with `ids` a text or CSV file of n case ids in row order.
    Raises InvalidInputError.
    """
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        if ids is None:
            raise InvalidInputError(f"{path} has no case ids: give --ids FILE with one case id per row")
        return _checked(path, _read_ids(ids), _load(path))
    if ids is not None:
        raise InvalidInputError(f"--ids goes with a .npy file; {path} carries its own case ids")
    if suffix == ".npz":
        return _from_npz(path)
    if suffix in (".csv", ".parquet", ".pq"):
        return _from_table(path, suffix)
    raise InvalidInputError(f"{path} is of no kind that can be read: use .csv, .parquet, .npz or .npy with --ids")


def _load(path: Path) -> Any:
    """An array, or an archive of arrays, never unpickled."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInputError(f"{path} cannot be read as a numeric array: {error}; save it without pickle") from error


def _from_npz(path: Path) -> CaseCodes:
    archive = _load(path)
    if not hasattr(archive, "files"):
        raise InvalidInputError(f"{path} is a single array, not an npz archive; rename it to .npy and give --ids")
    with archive:
        try:
            arrays = {name: archive[name] for name in archive.files}
        except ValueError as error:
            raise InvalidInputError(f"{path} holds pickled objects, which are not read; save plain arrays") from error
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    if ID_COLUMN not in arrays or len(matrices) != 1:
        raise InvalidInputError(
            f"{path} holds {', '.join(arrays)}: it must hold `{ID_COLUMN}` (n,) and one array (n, d) of codes"
        )
    return _checked(path, [str(value) for value in arrays[ID_COLUMN].tolist()], arrays[matrices[0]])


def _from_table(path: Path, suffix: str) -> CaseCodes:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        if suffix == ".csv":
            # Ids stay text: "007" is a name, not seven.
            options = pyarrow.csv.ConvertOptions(column_types={ID_COLUMN: pa.string()})
            table = pyarrow.csv.read_csv(path, convert_options=options)
        else:
            table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}".splitlines()[0]) from error
    if ID_COLUMN not in table.schema.names:
        raise InvalidInputError(f"{path} has no column {ID_COLUMN}; it has {', '.join(table.schema.names[:10])}")
    case_ids = [str(value) for value in table[ID_COLUMN].cast(pa.string()).to_pylist()]
    columns = [field for field in table.schema if field.name != ID_COLUMN]
    lists = [field for field in columns if pa.types.is_nested(field.type)]
    if lists:
        if len(columns) > 1:
            raise InvalidInputError(f"{path}: beside {ID_COLUMN} there must be one list column or numeric columns")
        rows = table[lists[0].name].to_pylist()
        widths = {len(row) if row is not None else 0 for row in rows}
        if len(widths) > 1:
            raise InvalidInputError(f"{path}, column {lists[0].name}: codes have {len(widths)} different lengths")
        return _checked(path, case_ids, np.array(rows, dtype=np.float64))
    for field in columns:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_null(field.type)):
            raise InvalidInputError(
                f"{path}, column {field.name}: {field.type} is not numeric; leave only {ID_COLUMN} and code columns"
            )
    if not columns:
        raise InvalidInputError(f"{path} has no code columns beside {ID_COLUMN}")
    stacked = [table[field.name].cast(pa.float64()).to_numpy(zero_copy_only=False) for field in columns]
    return _checked(path, case_ids, np.stack(stacked, axis=1))


def _read_ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read as text: {error}") from error
    ids = [line.split(",")[0].strip() for line in lines if line.strip()]
    return ids[1:] if ids and ids[0] == ID_COLUMN else ids


def _checked(path: Path, case_ids: list[str], codes: np.ndarray) -> CaseCodes:
    if codes.ndim != 2 or codes.dtype.kind not in "fiu":
        raise InvalidInputError(f"{path}: codes are {codes.dtype} of shape {codes.shape}; they must be numeric (n, d)")
    if len(codes) != len(case_ids):
        raise InvalidInputError(f"{path}: {len(codes)} codes for {len(case_ids)} case ids; rows and ids must agree")
    return CaseCodes(tuple(case_ids), as_float32_codes(codes))
