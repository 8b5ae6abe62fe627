"""eva: ``manifest.csv`` (origin, embeddings, target, split[, wsi_id]) and the .pt files that it names.

A file is a tensor (d,), (1, d) or (n, d), or a list of (d,). Its writer puts later flushes first, so the tiles of a bag
have no places and no order. As ``eva/core/callbacks/writers/embeddings`` writes them.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, listed, within
from guidestore.embeddings.interchange.layout import NO_IDS, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.plain_bags import TensorBag, TensorCode, values_of
from guidestore.embeddings.interchange.table import read_table
from guidestore.embeddings.interchange.tiles import Tiles

_MANIFEST = "manifest.csv"
_COLUMNS = ("origin", "embeddings", "target", "split")


class Eva(Reader):
    tool = "eva"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        return [found for place in [folder, *folders_in(folder)] for found in _sets(folder, place)]


def _sets(folder: Path, place: Path) -> list[PeerSet]:
    manifest = place / _MANIFEST
    if not manifest.is_file():
        return []
    table = read_table(manifest, id_column="origin")
    if not {"origin", "embeddings"} <= set(table.columns):
        return []
    table.check_columns(_COLUMNS)
    files: defaultdict[str, dict[Path, None]] = defaultdict(dict)
    parts: defaultdict[str, set[str]] = defaultdict(set)
    is_bags = "wsi_id" in table.columns
    for row in table:
        name = row["wsi_id"] if is_bags else PurePosixPath(row["origin"]).stem
        if not name or not row["embeddings"]:
            raise InvalidInputError(f"{row.where} names no {'wsi_id' if is_bags else 'origin'} or no embeddings")
        files[name][_inside(place, row["embeddings"], row.where)] = None
        parts[name].add(row["split"])
        if row["split"] not in ("train", "val", "test"):
            raise InvalidInputError(f"{row.where}: split is {row['split']!r}; eva's are train, val and test")
    for name, of in parts.items():
        if len(of) > 1:
            raise InvalidInputError(f"{manifest}: {name} is in {' and in '.join(sorted(of))}; a slide is in one part")
    if not is_bags:
        several = next((name for name, paths in files.items() if len(paths) > 1), None)
        if several:
            raise InvalidInputError(
                f"{manifest}: {several} has several embeddings and no wsi_id; name slides by wsi_id"
            )
        is_bags = any(values_of(path).ndim == 2 and len(values_of(path)) > 1 for path in _some(files))
    items: list[PeerItem] = [
        TensorBag(name, tuple(paths), None, _tiles) if is_bags else TensorCode(name, tuple(paths), _tiles)
        for name, paths in files.items()
    ]
    note = "eva's bags have no places: its writer keeps neither coordinates nor the order of tiles"
    labels = (
        f"the targets and parts of {_MANIFEST} are not imported; `guidestore cohort add manifest` takes them "
        "(--labels, --splits, --id-column), see docs/peers.md"
    )
    notes = (note, labels) if is_bags else (labels,)
    named = {path for paths in files.values() for path in paths}
    unnamed = [path.name for path in files_in(place, ".pt") if path not in named]
    if unnamed:
        notes += (f"{_MANIFEST} does not name {len(unnamed)} .pt files, left out: {listed(unnamed)}",)
    kind = "bag" if is_bags else "codes"
    in_part = {name: next(iter(of)) for name, of in parts.items()}
    return [PeerSet("eva", within(folder, place), "", kind, "slide", items, parts=in_part, notes=notes)]


def _some(files: dict[str, dict[Path, None]]) -> list[Path]:
    return [path for paths in list(files.values())[:20] for path in paths]


def _tiles() -> Tiles:
    return Tiles({"tool": "eva"})


def _inside(place: Path, text: str, where: str) -> Path:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInputError(f"{where}: embeddings {text!r} lies outside of the folder; use paths within it")
    if not (place / path).is_file():
        raise InvalidInputError(f"{where}: there is no file {text}; copy the folder again")
    return place / path
