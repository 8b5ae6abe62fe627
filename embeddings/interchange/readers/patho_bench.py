"""Patho-Bench: pooled ``<sample>.h5`` with ``features`` (d,) or (1, d) alone; ``k=all.tsv`` and ``config.yaml`` of a
task.

As its own ``Pooler.py`` writes them; what a sample is, ``sample_col`` of config.yaml says: a case unless it is
slide_id."""

from __future__ import annotations

from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, within
from guidestore.embeddings.interchange.h5 import H5File, is_h5, opened
from guidestore.embeddings.interchange.layout import NO_IDS, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.table import read_table
from guidestore.embeddings.interchange.tiles import H5Code, Tiles

_CONFIG_BYTES = 2**20


class PathoBench(Reader):
    tool = "Patho-Bench"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        return [_set(folder, place) for place in [folder, *folders_in(folder)] if _is_pooled(place)]


def _is_pooled(place: Path) -> bool:
    """By one file: features of one code and nothing else, as its pooler writes; TRIDENT keeps coordinates beside."""
    path = next((path for path in files_in(place, ".h5") if is_h5(path)), None)
    if path is None or place.name.startswith("slide_features_"):
        return False
    with opened(path) as file:
        if file.names() != ("features",) or file.is_group("features") or file.attributes():
            return False
        shape = file.matrix("features").shape
        return len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)


def _set(folder: Path, place: Path) -> PeerSet:
    task = next((near for near in (place, place.parent, folder) if (near / "config.yaml").is_file()), None)
    of_slides = task is not None and _is_of_slides(task / "config.yaml")
    cases: dict[str, str] = {}
    table = task and next(iter(files_in(task, ".tsv")), None)
    if of_slides and table:
        read = read_table(table, ("case_id", "slide_id"))
        for row in read:
            if cases.setdefault(row["slide_id"], row["case_id"]) != row["case_id"]:
                raise InvalidInputError(f"{row.where}: slide {row['slide_id']} is of two cases")
    items = [H5Code(path.name.removesuffix(".h5"), (path,), "features", _tiles) for path in files_in(place, ".h5")]
    return PeerSet("patho-bench", within(folder, place), "", "codes", "slide" if of_slides else "case", items, cases)


def _tiles(file: H5File) -> Tiles:
    return Tiles({"tool": "Patho-Bench"})


def _is_of_slides(path: Path) -> bool:
    """Whether a sample is a slide and no case. Raises InvalidInputError where it is something else."""
    import yaml

    try:
        with path.open("rb") as handle:
            said = yaml.safe_load(handle.read(_CONFIG_BYTES))
    except (OSError, yaml.YAMLError, RecursionError, UnicodeError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML; copy the folder again") from error
    column = said.get("sample_col", "case_id") if isinstance(said, dict) else None
    if column not in ("case_id", "slide_id"):
        raise InvalidInputError(
            f"{path} says sample_col {column!r}, and samples of case_id and slide_id are known; pool by one of these"
        )
    return column == "slide_id"
