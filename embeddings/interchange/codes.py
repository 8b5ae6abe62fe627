"""Case codes from tables and arrays: which columns are codes, what is missing in them, and what cannot be a code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from guidestore.embeddings import scratch
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.arrays import read_npy, read_npz
from guidestore.embeddings.interchange.dialect import kind_of
from guidestore.embeddings.interchange.limits import check_columns, reason_of
from guidestore.embeddings.interchange.table import (
    ID_COLUMN,
    LARGEST_WHOLE,
    MISSING,
    MISSING_NUMBERS,
    NO_CASE,
    REWRITTEN,
    Table,
    is_rewritten,
    listed,
    pc,
    read_table,
    summary_among,
)
from guidestore.embeddings.remote import fetched
from guidestore.embeddings.types import CaseCodes
from guidestore.embeddings.words import count_of

type NaNPolicy = Literal["refuse", "drop-column", "median"]
NAN_POLICIES: tuple[str, ...] = get_args(NaNPolicy.__value__)
FEWEST_ROWS = 5
"""Below it a column counts up by chance."""
_BLOCK_ROWS = 4096
_WHOLE_FLOAT32 = 2**24
"""Beyond it float32 does not hold every whole number."""
_ROUNDED = 1e-6
"""Of its span: what even steps may differ by."""
_GAPS = 4
"""A row number that lacks more than three of four rows is none."""


@dataclass(frozen=True, slots=True)
class CodeColumns:
    """Which columns of a table are codes, and what becomes of what is missing in them."""

    id_column: str = ID_COLUMN
    taken: tuple[str, ...] = ()
    """Names or patterns of columns; empty: all."""
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING_NUMBERS
    """Words that mean no value, beside a blank."""
    nan: NaNPolicy = "refuse"
    """A missing value among others: refuse the file; leave out its column; keep it, to be filled at training with the
    median of the train cases of each fold. Columns without any value are left out always."""


@dataclass(frozen=True, slots=True, eq=False)
class CodesRead:
    """Case codes from a file, and how they were taken."""

    codes: CaseCodes
    columns: tuple[str, ...]
    """(d,) names; of arrays their numbers, from 0."""
    is_named: bool
    """Whether the file names its columns."""
    notes: tuple[str, ...] = ()


def read_codes(file: Path, *, ids: Path | None = None, how: CodeColumns | None = None) -> CodesRead:
    """The case codes in `file`, one row per case (n, d) float32.

    CSV, Excel, Parquet: a column of ids and either numeric columns, in their order, or one column of lists. npz: arrays
    ``case_id`` (n,) and one of shape (n, d). npy: (n, d), with `ids` a text file or table of n case ids in row order.
    What a file is, its content says; file and ids may be URLs (embeddings.remote). NaN are left only where ``how.nan``
    is median. Raises InvalidInputError.
    """
    with fetched(file) as local, nullcontext() if ids is None else fetched(ids) as local_ids:
        return _read(local, local_ids, how or CodeColumns())


def _read(file: Path, ids: Path | None, how: CodeColumns) -> CodesRead:
    kind = kind_of(file)
    if kind == "npy":
        if ids is None:
            raise InvalidInputError(f"{file} has no case ids: give --ids FILE with one case id per row")
        codes_nd = read_npy(file)
        read = _Raw(_read_ids(ids, how.id_column), *_matrix(file, codes_nd))
    elif ids is not None:
        raise InvalidInputError(f"--ids goes with a .npy file; {file} carries its own case ids")
    elif kind == "npz":
        read = _from_npz(file, how)
    else:
        read = _from_table(read_table(file, (how.id_column,), id_column=how.id_column), how)
    return _checked(file, read, how)


def codes_of(
    values: np.ndarray | pa.Table, ids: Sequence[str], *, name: str, how: CodeColumns | None = None
) -> CodesRead:
    """`read_codes` of what is in memory: an array (n, d), or a table of numeric columns, of n cases in the order of
    `ids`. name: what errors call it. Raises InvalidInputError."""
    file, how = Path(name), how or CodeColumns()
    if isinstance(values, np.ndarray):
        read = _Raw(_checked_ids(file, ids), *_matrix(file, values))
    else:
        data = values.append_column(how.id_column, pa.array(ids, pa.string()))
        read = _from_table(Table(file, data, np.arange(1, len(data) + 1)), how)
    return _checked(file, read, how)


def _checked(file: Path, read: _Raw, how: CodeColumns) -> CodesRead:
    """Raises InvalidInputError where rows and ids do not agree, or a value is no code."""
    if len(read.ids) != len(read.values_nd):
        raise InvalidInputError(
            f"{file}: {count_of(len(read.values_nd), 'code')} for {count_of(len(read.ids), 'case id')}; rows and ids "
            "must agree"
        )
    if not read.ids:
        raise InvalidInputError(f"{file} holds no codes; give a row per case")
    read = _without_missing(file, read, how.nan)
    _check_row_numbers(file, read)
    codes_nd, notes = _as_float32(file, read), read.notes
    rounded = _rounded(read, codes_nd)
    if rounded.any():
        what = "has" if rounded.sum() == 1 else "have"
        notes += (
            f"{_these(read, rounded)} of {file.name} {what} whole numbers beyond 2^24, which codes (float32) round; "
            "leave such columns out with --drop where they are dates or ids",
        )
    return CodesRead(CaseCodes(read.ids, codes_nd), read.columns, read.is_named, notes)


def _as_float32(file: Path, read: _Raw) -> np.ndarray:
    """(n, d). Raises InvalidInputError on a number that float32 does not hold."""
    values_nd = read.values_nd
    if values_nd.dtype == np.float32 and values_nd.flags.c_contiguous:
        return values_nd
    codes_nd = scratch.empty(values_nd.shape, np.float32)
    for (place, block), (_, given) in zip(
        scratch.blocks(codes_nd, _BLOCK_ROWS), scratch.blocks(values_nd, _BLOCK_ROWS), strict=True
    ):
        with np.errstate(over="ignore"):
            block[:] = given
        over = np.isinf(block) & np.isfinite(given)
        if over.any():
            row, d = np.argwhere(over)[0]
            raise InvalidInputError(
                f"{file}, {_column(read, int(over.any(axis=0).argmax()))}: {given[row, d]:g} (case "
                f"{read.ids[place.start + row]}) is more than float32 holds; scale the column"
            )
    return codes_nd


def _rounded(read: _Raw, codes_nd: np.ndarray) -> np.ndarray:
    """(d,) bool: columns with whole numbers that float32 does not hold."""
    found = np.zeros(codes_nd.shape[1], dtype=bool)
    if read.values_nd is codes_nd:
        return found
    for (_, block), (_, given) in zip(
        scratch.blocks(codes_nd, _BLOCK_ROWS), scratch.blocks(read.values_nd, _BLOCK_ROWS), strict=True
    ):
        rows, columns = np.nonzero(np.abs(block) >= _WHOLE_FLOAT32)
        large = given[rows, columns]
        found[columns[(large == np.floor(large)) & (large != block[rows, columns])]] = True
    return found


@dataclass(frozen=True, slots=True)
class _Raw:
    ids: tuple[str, ...]
    values_nd: np.ndarray
    """(n, d) float64 (float32 stays)."""
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    is_named: bool = False


def _from_npz(file: Path, how: CodeColumns) -> _Raw:
    arrays = read_npz(file)
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    if how.id_column not in arrays or len(matrices) != 1:
        raise InvalidInputError(
            f"{file} holds {listed(tuple(arrays)) or 'nothing'}: it must hold `{how.id_column}` (n,) and one array "
            "(n, d) of codes"
        )
    given = arrays[how.id_column]
    if given.ndim != 1 or given.dtype.kind not in "iuUS":
        raise InvalidInputError(
            f"{file}: {how.id_column} is {given.dtype} of shape {given.shape}; it must be text or whole numbers (n,)"
        )
    values = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in given.tolist()]
    return _Raw(_checked_ids(file, [value.strip() for value in values]), *_matrix(file, arrays[matrices[0]]))


def _from_table(table: Table, how: CodeColumns) -> _Raw:
    file, schema = table.file, table.data.schema
    ids = table.ids(how.id_column)
    left_out = [name for name in table.saved_indexes if name not in (how.id_column, *how.dropped, *how.taken)]
    names = table.chosen(how.taken, how.dropped, (how.id_column,))
    notes = list(table.notes)
    if left_out:
        what = "is a saved index or has no name" if len(left_out) == 1 else "are saved indexes or have no name"
        notes.append(f"{_columns(left_out)} of {file.name} {what}, and left out")
    nested = [name for name in names if pa.types.is_nested(schema.field(name).type)]
    if nested:
        if len(names) > 1:
            raise InvalidInputError(
                f"{file}, column {nested[0]}: beside {how.id_column} there must be one list column or numeric columns; "
                "choose with --columns or --drop"
            )
        return _Raw(ids, *_matrix(file, _lists(table, nested[0])), tuple(notes))
    if not names:
        raise InvalidInputError(f"{file} has no code columns beside {how.id_column}; it has {listed(table.columns)}")
    values_nd = table.numbers(names, how.missing)
    sentinels = [name for d, name in enumerate(names) if np.isin(values_nd[:, d], (-999, -9999)).any()]
    if sentinels:
        notes.append(
            f"{_columns(sentinels)} of {file.name} {'has' if len(sentinels) == 1 else 'have'} -999 or -9999, taken as "
            "numbers; where that means no value, give --missing default,-999,-9999"
        )
    return _Raw(ids, values_nd, names, tuple(notes), is_named=True)


def _lists(table: Table, name: str) -> np.ndarray:
    """(n, d) of a column of lists."""
    kind, where = table.data.schema.field(name).type, f"{table.file.name}, column {name}"
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise InvalidInputError(f"{where} is {kind}; a column of codes is a list of numbers, all of one length")
    codes_nd, at, widths = np.empty((len(table), 0)), 0, set[int]()
    for values in table.lists(name):
        if values.null_count:
            raise InvalidInputError(
                f"{table.where(at + pc.index(values.is_null(), True).as_py(), name)} has no code; take the row out"
            )
        widths |= set(pc.unique(pc.list_value_length(values)).to_pylist())
        if len(widths) == 1 and widths != {0}:
            (width,) = widths
            check_columns(table.file, width)
            try:
                flat = values.flatten().cast(pa.float32() if _is_short(kind.value_type) else pa.float64())
            except pa.ArrowInvalid as error:
                raise InvalidInputError(f"{where}: {error}; scale the codes") from error
            if not at:
                codes_nd = scratch.empty((len(table), width), flat.type.to_pandas_dtype())
            codes_nd[at : at + len(values)] = flat.to_numpy(zero_copy_only=False).reshape(-1, width)
        at += len(values)
        scratch.release(codes_nd)
    if widths == {0}:
        raise InvalidInputError(f"{where}: every list is empty, and no code is; give codes")
    if len(widths) != 1:
        raise InvalidInputError(f"{where}: codes have {len(widths)} different lengths; all must have one")
    return codes_nd


def _is_short(kind: pa.DataType) -> bool:
    return pa.types.is_float32(kind) or pa.types.is_float16(kind)


def _matrix(file: Path, codes_nd: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """An array of codes, and its columns' numbers."""
    if codes_nd.dtype.kind in "iu" and any(
        max(int(block.max()), -int(block.min())) > LARGEST_WHOLE for _, block in scratch.blocks(codes_nd) if block.size
    ):
        raise InvalidInputError(
            f"{file}: codes have whole numbers beyond 2^53, which a float does not hold; scale them"
        )
    if codes_nd.ndim != 2 or codes_nd.dtype.kind not in "fiu" or not codes_nd.shape[1]:
        raise InvalidInputError(
            f"{file}: codes are {codes_nd.dtype} of shape {codes_nd.shape}; they must be numeric (n, d)"
        )
    return codes_nd, tuple(map(str, range(codes_nd.shape[1])))


def _read_ids(file: Path, id_column: str) -> tuple[str, ...]:
    """Case ids of a table that has the column, or of a text file with one per line."""
    if kind_of(file) != "text":
        return read_table(file, (id_column,), id_column=id_column).ids(id_column)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{file} cannot be read as text: {reason_of(error)}; save the ids as UTF-8") from error
    if lines and id_column in {name.strip().strip('"') for name in re.split(r"[,;\t|]", lines[0])}:
        return read_table(file, (id_column,), id_column=id_column).ids(id_column)
    given = [line.strip().strip('"') for line in lines if line.strip()]
    several = next((line for line in given if "," in line.rstrip(",")), None)
    if several is not None:
        raise InvalidInputError(
            f"{file}: {several!r} has several fields, and none of the first line is {id_column!r}; give one id a line, "
            "or a table with --id-column"
        )
    return _checked_ids(file, [line.rstrip(",").strip() for line in given])


def _checked_ids(file: Path, ids: Sequence[str]) -> tuple[str, ...]:
    summary = summary_among(ids)
    if summary is not None:
        raise InvalidInputError(f"{file}: the id of row {summary + 1} is {ids[summary]!r}, {NO_CASE}")
    for row, text in enumerate(ids, start=1):
        if not text or text in MISSING:
            raise InvalidInputError(f"{file}: the id of row {row} is {text!r}; give each row the id of its case")
        if is_rewritten(text):
            raise InvalidInputError(f"{file}: the id of row {row} is {text}, {REWRITTEN}; save ids as text")
    return tuple(ids)


def _without_missing(file: Path, read: _Raw, policy: NaNPolicy) -> _Raw:
    """Without columns that are empty, and as `policy` says about others. Raises InvalidInputError."""
    if all(np.isfinite(block).all() for _, block in scratch.blocks(read.values_nd)):
        return read
    lacks = ~np.isfinite(read.values_nd)
    infinite = np.isinf(read.values_nd)
    if infinite.any():
        told = (
            f"{_these(read, infinite.any(axis=0))} of {file.name}: infinite, as of case {_first_case(read, infinite)}"
        )
        if policy == "refuse":
            raise InvalidInputError(
                f"{told}, and no code is; --nan drop-column leaves such columns out, --nan median fills in the median "
                "of the train cases, or correct the numbers"
            )
        read = replace(read, notes=(*read.notes, f"{told}, which is taken for missing"))
    nothing = lacks.all(axis=1)
    if nothing.all():
        raise InvalidInputError(f"{file} has no number in any code column; give codes")
    notes = list(read.notes)
    if nothing.any():
        without = tuple(case for case, gone in zip(read.ids, nothing, strict=True) if gone)
        what = "case has" if len(without) == 1 else "cases have"
        notes.append(f"{len(without)} {what} no value at all, and no code: {listed(without, 5)}")
        ids = tuple(case for case, gone in zip(read.ids, nothing, strict=True) if not gone)
        read, lacks = replace(read, ids=ids, values_nd=read.values_nd[~nothing]), lacks[~nothing]
    n = len(read.ids)
    empty = lacks.all(axis=0)
    kept = ~empty
    if empty.any():
        notes.append(
            f"{_these(read, empty)} {'is' if empty.sum() == 1 else 'are'} empty for all {count_of(n, 'case')}, and "
            "left out"
        )
    some = lacks.any(axis=0) & ~empty
    rows = lacks[:, kept].any(axis=1)
    if not some.any():
        return _of_columns(replace(read, notes=tuple(notes)), kept)
    counts = lacks.sum(axis=0)
    named = ", ".join(f"{read.columns[d]} {counts[d]}" for d in np.flatnonzero(some)[:5])
    where = f"{named}{', …' if some.sum() > 5 else ''}"
    told = f"{some.sum()} of {count_of(int(kept.sum()), 'code column')} lack values (column and cases: {where})"
    if policy == "refuse":
        example = read.ids[int(np.argmax(rows))]
        raise InvalidInputError(
            f"{file}: {told}, in {rows.sum()} of {count_of(n, 'case')} (such as {example}); --nan drop-column leaves "
            "the columns out, --nan median fills in the median of the train cases, or take the cases out"
        )
    if policy == "drop-column":
        if not (kept & ~some).any():
            raise InvalidInputError(f"{file}: every code column lacks a value of some case; use --nan median")
        notes.append(f"{told}, and are left out")
        return _of_columns(replace(read, notes=tuple(notes)), kept & ~some)
    notes.append(f"{told}; training fills in the median of the train cases of its fold")
    values_nd = np.where(lacks, np.nan, read.values_nd)
    return _of_columns(replace(read, values_nd=values_nd, notes=tuple(notes)), kept)


def _of_columns(read: _Raw, kept: np.ndarray) -> _Raw:
    names = tuple(name for name, keep in zip(read.columns, kept, strict=True) if keep)
    return replace(read, values_nd=read.values_nd[:, kept], columns=names)


def _check_row_numbers(file: Path, read: _Raw) -> None:
    """Raises InvalidInputError where a column only numbers the rows: each number once in whatever order, or ascending
    with gaps, as where rows were taken out; also where some numbers are missing, or in even steps (10, 20, 30)."""
    values_nd, n = read.values_nd, len(read.ids)
    if n < FEWEST_ROWS:
        return
    with np.errstate(invalid="ignore", over="ignore"):
        bounds = [(block.min(axis=0), block.max(axis=0)) for _, block in scratch.blocks(values_nd)]
        lowest, highest = (np.stack(ends) for ends in zip(*bounds, strict=True))
        spans = highest.max(axis=0).astype(np.float64) - lowest.min(axis=0)
    candidates = ((spans >= n - 1) & (spans < _GAPS * n)) | np.isnan(spans) | _even(values_nd[[0, 1, 2, -1]], n)
    for d in np.flatnonzero(candidates).tolist():
        column = values_nd[:, d].astype(np.float64)
        if _even(column[:, None], len(column))[0]:
            raise _numbering(file, read, d, column, "in even steps")
        there = np.isfinite(column)
        n = int(there.sum())
        if n < FEWEST_ROWS:
            continue
        column = column[there]
        span = np.ptp(column)
        if not n - 1 <= span < _GAPS * n:
            continue
        steps = np.diff(column)
        if not (steps > 0).all():
            column = np.sort(column)
            steps = np.diff(column) if span == n - 1 else np.zeros(1)
        if (column == np.floor(column)).all() and (steps > 0).all():
            raise _numbering(file, read, d, column, "each once")


def _even(some_kd: np.ndarray, n: int) -> np.ndarray:
    """Which columns go in even steps from the first of n rows to the last, by some rows: first ones and the last."""
    first_d, last_d = some_kd[0].astype(np.float64), some_kd[-1].astype(np.float64)
    span_d = last_d - first_d
    steps_kd = np.arange(len(some_kd) - 1)[:, None] * span_d / (n - 1)
    with np.errstate(invalid="ignore", over="ignore"):
        near_d = (np.abs(some_kd[:-1] - first_d - steps_kd) <= _ROUNDED * np.abs(span_d)).all(axis=0)
    return near_d & (span_d != 0)


def _numbering(file: Path, read: _Raw, d: int, column: np.ndarray, how: str) -> InvalidInputError:
    return InvalidInputError(
        f"{file}, {_column(read, d)} numbers the rows ({column[0]:g} to {column[-1]:g}, {how}): in a sorted table that "
        f"tells the label; leave it out with --drop '{read.columns[d]}'"
    )


def _column(read: _Raw, d: int) -> str:
    return f"column {read.columns[d]}"


def _these(read: _Raw, mask: np.ndarray) -> str:
    return _columns([read.columns[d] for d in np.flatnonzero(mask)])


def _columns(names: Sequence[str]) -> str:
    return f"column {names[0]}" if len(names) == 1 else f"{len(names)} columns ({listed(names, 5)})"


def _first_case(read: _Raw, mask: np.ndarray) -> str:
    return read.ids[int(np.argwhere(mask)[0][0])]
