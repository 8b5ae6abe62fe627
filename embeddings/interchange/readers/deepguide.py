"""DeepGuide: ``{part}_{fold}.npy``, ``{part}_{fold}_{modality}.npy``, ``features_…_{part}.npy``: rows without ids.

Which case a row is, nothing in the files says. The ids must be given with their order, and the counts must agree.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.arrays import read_npy
from guidestore.embeddings.interchange.folders import files_in, listed, within
from guidestore.embeddings.interchange.layout import NO_IDS, Header, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.table import read_table
from guidestore.embeddings.interchange.tiles import finite_code, form_of
from guidestore.embeddings.types import PARTS

_PART = re.compile(r"(?:(?<=\A)|(?<=_))(train|val|test)(?=_|\Z)")
_PART_COLUMNS = ("part", "split")
_FILE_ORDER = "ids"


def _of_part(rows: RowIds, part: str, folder: Path) -> tuple[str, ...]:
    """Raises InvalidInputError where it is not said, or a part has no ids."""
    if rows.table is None or not rows.order:
        raise InvalidInputError(
            f"{folder} holds rows without ids, as DeepGuide saves them: give --ids TABLE (its name may have {{part}} "
            f"in it) with --id-column, and the order of the rows: --order {_FILE_ORDER} as in the table, or --order "
            "TABLE as in another, filtered by the part (slides follow CLAM's dataset)"
        )
    if "{part}" in rows.table.name:
        ids = _ids(rows.table.with_name(rows.table.name.replace("{part}", part)), rows.id_column)
    else:
        read = read_table(rows.table, (rows.id_column,), id_column=rows.id_column)
        column = next((name for name in _PART_COLUMNS if name in read.columns), None)
        if column is None:
            raise InvalidInputError(
                f"{rows.table} has no column part, which says the part of each case; or give a table for each part, "
                "with {part} in the name"
            )
        ids = tuple(id_ for id_, of in zip(read.ids(rows.id_column), read.texts(column), strict=True) if of == part)
    if rows.order == _FILE_ORDER:
        return ids
    ordered = [id_ for id_ in _ids(Path(rows.order), rows.id_column) if id_ in set(ids)]
    if len(ordered) != len(ids):
        raise InvalidInputError(
            f"{rows.order} has {len(ordered)} of the {len(ids)} cases of {part}; it must have each of them once"
        )
    return tuple(ordered)


def _ids(file: Path, column: str) -> tuple[str, ...]:
    return read_table(file, (column,), id_column=column).ids(column)


class Deepguide(Reader):
    tool = "DeepGuide"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        found: defaultdict[str, dict[str, Path]] = defaultdict(dict)
        for path in files_in(folder, ".npy"):
            stem = path.name.removesuffix(".npy")
            part = _PART.search(stem)
            if part is None:
                return []
            label = "_".join(filter(None, [*stem[: part.start()].split("_"), *stem[part.end() :].split("_")]))
            other = found[label].setdefault(part[1], path)
            if other != path:
                raise InvalidInputError(f"{other} and {path} are both {part[1]} of {label}; leave one of them out")
        return [_set(folder, label, parts, ids) for label, parts in found.items()]


def _set(folder: Path, label: str, parts: Mapping[str, Path], row_ids: RowIds) -> PeerSet:
    items: list[PeerItem] = []
    for part in PARTS:
        if part not in parts:
            continue
        path = parts[part]
        ids, rows_nd = _of_part(row_ids, part, folder), read_npy(path)
        form_of(path, "the array", rows_nd.shape, rows_nd.dtype)
        if len(ids) != len(rows_nd):
            raise InvalidInputError(
                f"{path} has {len(rows_nd)} rows, and {part} {len(ids)} cases; they must agree: another split, or "
                "another "
                "set of cases, made it"
            )
        items += [_Row(name, path, row_nd) for name, row_nd in zip(ids, rows_nd, strict=True)]
    encoder = "" if label.isdigit() else label
    lacking = [part for part in PARTS if part not in parts]
    notes = (f"{label}: there is no file of {listed(lacking)}",) if lacking else ()
    return PeerSet("deepguide", within(folder, folder), encoder, "codes", "case", items, notes=notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Row(PeerItem):
    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    path: Path
    row_d: np.ndarray

    @property
    def files(self) -> Sequence[Path]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self.path,)

    def look(self) -> Header:
        return Header(1, len(self.row_d), "float32", {"tool": "DeepGuide"})

    def read(self, header: Header, mpp: float | None) -> np.ndarray:
        return finite_code(self.path, self.row_d)
