"""What users hand over, whatever library it is of: tables by Arrow's C stream, arrays by numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

type Frame = Any
"""A table: of pandas, polars, Arrow, DuckDB, narwhals, or a mapping of columns."""
type Codes = Any
"""(n, d) numbers: a numpy array, a torch tensor, nested lists, or a Frame of numeric columns."""
type Ids = Any
"""(n,) text or whole numbers: a list, an array, a column of a Frame."""


def arrow_of(frame: Frame, what: str) -> pa.Table:
    """The table as Arrow, whose columns are not copied where pandas, polars or Arrow hold them so. A named index is a
    column, another one is left out; a Series is a table of one column. Raises InvalidInputError."""
    import pyarrow as pa

    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):  # a Series of pandas or polars
        frame = frame.to_frame()
    _check_index(frame, what)
    try:
        if isinstance(frame, pa.Array | pa.ChunkedArray):
            frame = {"codes": frame}
        table = pa.table(dict(frame) if isinstance(frame, Mapping) else frame)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise InvalidInputError(
            f"{what} cannot be read as a table ({str(error).splitlines()[0]}); give a table of pandas, polars or Arrow"
        ) from error
    unnamed = [name for name in table.column_names if name.startswith("__index_level_")]
    return table.drop_columns(unnamed) if unnamed else table


def _check_index(frame: Frame, what: str) -> None:
    """Raises InvalidInputError where a DataFrame has ids as its index and others as a column."""
    index, columns = getattr(frame, "index", None), getattr(frame, "columns", ())
    if "case_id" not in (getattr(index, "names", None) or ()) or "case_id" not in columns:
        return
    if list(index.get_level_values("case_id")) != frame["case_id"].tolist():  # pyright: ignore[reportOptionalMemberAccess]
        raise InvalidInputError(f"{what}: the index and the column case_id say other ids; drop one of them")


def is_frame(values: Any) -> TypeGuard[Frame]:
    """Whether Arrow takes it for a table, or for a column of one."""
    return isinstance(values, Mapping) or any(
        hasattr(values, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "column_names")
    )


def ids_of(ids: Ids, what: str) -> list[str]:
    """As text. Raises InvalidInputError on numbers with a fraction, which are no ids, on gaps, and on a set: it has no
    order."""
    import pyarrow as pa

    if isinstance(ids, set | frozenset | Mapping):
        raise InvalidInputError(f"{what} are a {type(ids).__name__}; give a list of them in the order of the rows")
    values = ids.to_pylist() if hasattr(ids, "to_pylist") else ids.tolist() if hasattr(ids, "tolist") else list(ids)
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidInputError(
                f"{what}: number {place} is a {type(value).__name__}; ids are text or whole numbers, one for each case"
            )
    try:
        return pa.array(map(str, values), pa.string()).to_pylist()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{what}: {error.object!r} is no text that UTF-8 holds; rename it") from error


def array_of(values: Codes, what: str) -> np.ndarray:
    """An array of whatever shape and type, NaN where it is masked; a tensor is fetched from its device. Raises
    InvalidInputError."""
    try:
        if hasattr(values, "detach"):  # torch, whose bfloat16 numpy does not know
            values = values.detach().cpu()
            values = (values.float() if values.is_floating_point() and values.itemsize < 4 else values).numpy()
        if np.ma.is_masked(values):
            values = values.astype(np.float64).filled(np.nan)
        array = np.asarray(values)
        if not array.ndim:
            raise TypeError(f"it is a {type(values).__name__}")
        return array
    except (TypeError, ValueError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise InvalidInputError(f"{what} is no array of numbers ({why}); give one row (d,) for each case") from error


def matrix_of(values: Codes, what: str, width: int, names: Sequence[str] = ()) -> np.ndarray:
    """(n, width) float32; a numpy array of that kind is not copied. Of a Frame its one column of lists, or all columns
    but case_id: in the order of `names`, where the dimensions have such; of columns that are called by numbers, as
    those of `Data.df` and of a DataFrame without names, in that of the numbers. Raises InvalidInputError on another
    shape, another name, and on what is no number."""
    array = _stacked(arrow_of(values, what), what, names) if is_frame(values) else array_of(values, what)
    array = array[None] if array.shape == (width,) else array
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"{what}: {array.dtype} of shape {array.shape}; they must be numbers (n, {width}), a row for each case"
        )
    with np.errstate(over="ignore"):  # what float32 does not hold is infinite, and then refused
        return np.ascontiguousarray(array, dtype=np.float32)


def lists_of(table: pa.Table, name: str) -> np.ndarray:
    """(n, d) of a column of lists of one length. Raises InvalidInputError."""
    import pyarrow as pa

    column = table[name].combine_chunks()
    flat = column.flatten()
    if column.null_count or flat.null_count or not len(column) or len(flat) % len(column):
        raise InvalidInputError(f"column {name}: codes must be lists of numbers, all of one length, none missing")
    if not pa.types.is_fixed_size_list(column.type) and len(set(column.value_lengths().to_pylist())) != 1:
        raise InvalidInputError(f"column {name}: codes have different lengths; all must have one")
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)


def ordered_classes(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Of columns that are ordered categories of text: the classes that occur, in their order."""
    import pyarrow as pa

    found = {}
    for field in table.schema:
        kind = field.type
        if pa.types.is_dictionary(kind) and kind.ordered and _is_text(kind.value_type):
            column = table[field.name].unify_dictionaries()
            names = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
            used = set(column.to_pylist())
            found[field.name] = tuple(name for name in names if name in used)
    return {name: classes for name, classes in found.items() if classes}


def list_columns(table: pa.Table) -> list[str]:
    """The names of its columns of lists."""
    import pyarrow as pa

    return [field.name for field in table.schema if pa.types.is_nested(field.type)]


def _stacked(table: pa.Table, what: str, wanted: Sequence[str]) -> np.ndarray:
    names = [name for name in table.column_names if name != "case_id"]
    nested = [name for name in list_columns(table) if name in names]
    if nested:
        if len(names) > 1:
            raise InvalidInputError(f"column {nested[0]}: beside it there must be no other column of codes")
        return lists_of(table, nested[0])
    if not names:
        raise InvalidInputError("the table has no column of codes")
    return np.column_stack([table[name].to_numpy() for name in _ordered(names, what, wanted)])


def _ordered(names: Sequence[str], what: str, wanted: Sequence[str]) -> Sequence[str]:
    """The columns that are wanted, or all of them by their numbers, or as they are. Raises InvalidInputError."""
    if wanted and set(wanted).issubset(names):
        return wanted
    for prefix in ("", "I_", "S_"):
        numbered = [f"{prefix}{d}" for d in range(len(names))]
        if set(numbered) == set(names):
            return numbered
    if wanted:
        from guidestore.embeddings.interchange.table import listed

        lacking = next(name for name in wanted if name not in names)
        raise InvalidInputError(
            f"{what} has no column {lacking!r}, which the head was fitted on; it has {listed(names)}"
        )
    return names


def given_codes(codes: Codes, ids: Ids | None, what: str) -> tuple[np.ndarray | pa.Table, list[str]]:
    """Codes as an array (n, d) or a table of columns, and the case ids beside them. Raises InvalidInputError."""
    if is_frame(codes):
        table = arrow_of(codes, what)
        if "case_id" in table.column_names:
            if ids is not None:
                raise InvalidInputError(f"{what}: the table has a column case_id, so leave ids out")
            ids, table = table["case_id"], table.drop_columns(["case_id"])
        nested = list_columns(table)
        values = lists_of(table, nested[0]) if nested and table.num_columns == 1 else table
    else:
        values = array_of(codes, what)
    if ids is None:
        raise InvalidInputError(f"{what}: give ids, a case id for each row")
    names = ids_of(ids, f"ids of {what}")
    if len(names) != len(values):
        raise InvalidInputError(f"{what}: {len(values)} rows for {len(names)} case ids; rows and ids must agree")
    return values, names


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
