"""The rows in the files that entries of the log name, beside the entries: verified, joined, some at a time."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.storage import Storage
from guidestore.embeddings.tables import read_batches, read_table

ENTRY_COLUMNS = [
    *("cohort", "modality", "encoder", "encoder_digest", "trained_on", "split", "fold", "case_id", "image_id"),
    "artifact",
]
_FILE = "in file"
"""Column of a file's number."""
_STAMPS = ["added_at", "removed_at"]
_BATCH_FILES = 256
"""Files joined at once: 16,384 case codes in files of 64, 17 MB at d = 256; the next are read meanwhile."""
_LARGE_BYTES = 64_000_000
"""A larger file is read in pieces, alone."""
_PIECE_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class EntryFiles:
    """Files that entries name, and which entry names which."""

    log: pa.Table
    refs: tuple[FileRef, ...]
    named: pa.Table
    """``row`` of `log` and the number of the file in `refs`: one for each entry and file of it."""

    @classmethod
    def of(cls, log: pa.Table, kind: str, prefix: str, width: int | None = None) -> EntryFiles:
        """Of the entries of a kind in `log` (of codes those of a width) their files below `prefix`."""
        numbers: dict[FileRef, int] = {}
        pieces = [pa.table({"row": pa.array([], pa.int64()), _FILE: pa.array([], pa.int64())})]
        start = 0
        for batch in log.to_batches():
            wanted = pc.equal(batch["kind"], kind)
            if width is not None:
                wanted = pc.and_(wanted, _first_is(batch["shape"], width))
            rows = pc.indices_nonzero(wanted)
            listed = batch["files"].take(rows)
            files, of_row = listed.flatten(), rows.take(pc.list_parent_indices(listed))
            below = pc.starts_with(files.field("path"), prefix)
            files, of_row = files.filter(below), of_row.filter(below)
            coded = files.field("path").dictionary_encode()
            first = pc.index_in(coded.dictionary, files.field("path"))
            known = [numbers.setdefault(FileRef(**ref), len(numbers)) for ref in files.take(first).to_pylist()]
            of_file = pa.array(known, pa.int64()).take(coded.indices)
            pieces.append(pa.table({"row": pc.add(of_row.cast(pa.int64()), start), _FILE: of_file}))
            start += len(batch)
        return cls(log, tuple(numbers), pa.concat_tables(pieces).combine_chunks())

    def joined(
        self, storage: Storage, match: str | None, known: Callable[[pa.Table], pa.Table], *, counted: bool = True
    ) -> Iterator[pa.Table]:
        """The rows of all files, each beside the columns `ENTRY_COLUMNS`, added_at and removed_at of its entry.

        Of several entries of a file a row goes to that whose artifact is its column `match`; rows of none are left out.
        `known` takes of a file's columns those that we know, so that files of later versions fit to each other.
        counted: each entry has a row. Raises CorruptArtifactError where a file is damaged, or lacks a counted row.
        """
        large = [number for number, ref in enumerate(self.refs) if ref.size > _LARGE_BYTES]
        small = [number for number, ref in enumerate(self.refs) if ref.size <= _LARGE_BYTES]
        groups = [small[start : start + _BATCH_FILES] for start in range(0, len(small), _BATCH_FILES)]

        def read(number: int) -> pa.Table:
            table = known(read_table(storage, self.refs[number]))
            return table.append_column(_FILE, pa.repeat(pa.scalar(number, pa.int64()), len(table)))

        with ThreadPoolExecutor(max_workers=max(2, storage.lanes)) as pool:
            coming: list[list[Future[pa.Table]]] = (
                [[pool.submit(read, number) for number in groups[0]]] if groups else []
            )
            for group, following in itertools.zip_longest(groups, groups[1:], fillvalue=()):
                # One chunk: DuckDB takes a third of the time to scan it that it takes for chunks of 64 rows.
                table = pa.concat_tables([future.result() for future in coming.pop()]).combine_chunks()
                coming.append([pool.submit(read, number) for number in following])  # while the caller inserts
                rows = self._beside(table, self._rows_of(group), match)
                self._check(group, len(rows), counted)
                yield rows
        for number in large:
            named, found, start = self._rows_of([number]), 0, 0
            for piece in read_batches(storage, self.refs[number], _PIECE_ROWS):
                table = known(piece).append_column(_FILE, pa.repeat(pa.scalar(number, pa.int64()), len(piece)))
                rows = self._beside(table, named, match, start)
                start, found = start + len(piece), found + len(rows)
                yield rows
            self._check([number], found, counted)

    def _rows_of(self, files: Sequence[int]) -> pa.Table:
        return self.named.filter(pc.is_in(self.named[_FILE], pa.array(files, pa.int64())))

    def _beside(self, rows: pa.Table, named: pa.Table, match: str | None, start: int = 0) -> pa.Table:
        """`rows` (with their the number of their file) beside the entries in `named` that they belong to."""
        ahead = named.slice(start, len(rows))
        if match and ahead[_FILE].equals(rows[_FILE]):  # as a rule the rows of a file are in the order of its entries
            here = self._entries(ahead["row"])
            if here["artifact"].equals(rows[match]):
                return _side_by_side(rows, here)
        if match:
            ids = self._entries(named["row"])["artifact"]
            wanted = pc.binary_join_element_wise(named[_FILE].cast(pa.string()), ids, " ")
            keys = pc.binary_join_element_wise(rows[_FILE].cast(pa.string()), rows[match], " ")
            at = pc.index_in(keys, wanted)
        else:
            at = pc.index_in(rows[_FILE], named[_FILE])
        if at.null_count:
            rows, at = rows.filter(pc.is_valid(at)), at.drop_null()
        return _side_by_side(rows, self._entries(named["row"].take(at)))

    def _entries(self, rows: pa.ChunkedArray) -> pa.Table:
        """Rows of the log. Those that follow each other are not copied."""
        columns, numbers = self.log.select([*ENTRY_COLUMNS, *_STAMPS]), rows.to_numpy()
        first, last = (numbers.min(), numbers.max()) if len(numbers) else (0, -1)
        window = columns.slice(first, last + 1 - first)
        if len(window) == len(numbers) and np.all(np.diff(numbers) == 1):
            return window
        return window.take(pa.array(numbers - first))

    def _check(self, files: Sequence[int], found: int, counted: bool) -> None:
        wanted = len(self._rows_of(files))
        if counted and found != wanted:
            others = f" and the {len(files) - 1} files read with it" if len(files) > 1 else ""
            raise CorruptArtifactError(
                f"{self.refs[files[0]].path}{others} hold {found} of the {wanted} rows that were committed; run "
                "`guidestore fsck`, then restore them from a copy or write them again"
            )


def _side_by_side(rows: pa.Table, entries: pa.Table) -> pa.Table:
    """Columns of both; of one name, those of the rows."""
    for name in entries.schema.names:
        if name not in rows.schema.names:
            rows = rows.append_column(name, entries[name])
    return rows


def _first_is(shapes: pa.Array, width: int) -> pa.Array:
    """Whether a shape begins with `width`; those of no dimensions do not."""
    long_enough = pc.greater(pc.list_value_length(shapes), 0)
    first = pc.list_element(pc.if_else(long_enough, shapes, pa.scalar([-1], shapes.type)), 0)
    return pc.equal(first, width)
