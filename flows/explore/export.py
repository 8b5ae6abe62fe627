"""The cases of a cohort as one Parquet file that embedding-atlas opens: a row per case, its facts and its places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.storage import disk_errors
from guidestore.flows.explore.explored import View
from guidestore.flows.explore.facts import facts_of
from guidestore.flows.explore.maps import chosen_sets, places_of

_BATCH = 65_536


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    file: Path
    rows: int
    maps: dict[str, str]
    """Name of a map, as its columns `projection_NAME_x` and `…_y` have it -> its code set."""

    @property
    def command(self) -> str:
        """How embedding-atlas is to be started on it."""
        first = next(iter(self.maps), "")
        places = f" --x projection_{first}_x --y projection_{first}_y" if first else ""
        return f"embedding-atlas {self.file.name}{places} --text case_id"


def export(view: View, cohort: str, file: Path) -> Exported:
    """Writes the cohort to `file`, whole or not at all: every column of its facts, and for the newest run's pair of
    code sets (or all, where nothing was trained) the places on the map. An earlier file is replaced.

    Raises NotFoundInStoreError, and InvalidInputError where it cannot be written.
    """
    facts = facts_of(view, cohort)
    if file.suffix.lower() != ".parquet":
        raise InvalidInputError(f"{file.name} is no name for a Parquet file; end it in .parquet")
    maps = _named(chosen_sets(view, cohort))
    table = view.table(f"SELECT * FROM {facts.table} ORDER BY i").drop_columns(["i"])
    for name, code_set in maps.items():
        places_n2 = places_of(view, cohort, code_set).places_n2
        for axis, values in zip("xy", places_n2.T, strict=True):
            column = pa.array(values, mask=values != values)  # NaN is null: a case without a code has no place
            table = table.append_column(f"projection_{name}_{axis}", column)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with disk_errors("write", file):
            pq.write_table(table, temporary, row_group_size=_BATCH)
            temporary.replace(file)
    finally:
        with suppress(OSError):  # a disk that is read-only refuses that too
            temporary.unlink()
    return Exported(file, table.num_rows, maps)


def _named(code_sets: Sequence[str]) -> dict[str, str]:
    """The modality, with encoder and digest where several sets would share it, in the letters of a column's name."""
    stems = [name.split("/")[1] for name in code_sets]
    return {
        _letters(stem if stems.count(stem) == 1 else name.partition("/")[2]): name
        for stem, name in zip(stems, code_sets, strict=True)
    }


def _letters(name: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in name)
