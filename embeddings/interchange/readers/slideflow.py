"""slideflow: ``<slide>.pt``, ``<slide>.index.npz`` with the centres of the tiles, ``bags_config.json``.

As its own ``model/features.py`` writes them; that a place is the tile's centre in level-0 pixels, its ``tile_worker``
says."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, within, without_features
from guidestore.embeddings.interchange.layout import NO_IDS, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.plain_bags import TensorBag
from guidestore.embeddings.interchange.tiles import Tiles, level0_coords, number_of, tile_edge

_CONFIG, _INDEX = "bags_config.json", ".index.npz"


class Slideflow(Reader):
    tool = "slideflow"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        return [
            _set(folder, place)
            for place in [folder, *folders_in(folder)]
            if (place / _CONFIG).is_file() and files_in(place, ".pt")
        ]


def _set(folder: Path, place: Path) -> PeerSet:
    try:
        config: dict[str, Any] = json.loads((place / _CONFIG).read_bytes()[: 2**20])
        extractor = str(config["extractor"]["class"]).rpartition(".")[2]
        px = tile_edge(config["tile_px"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInputError(
            f"{place / _CONFIG} lacks extractor.class or tile_px, or is no JSON; copy the folder again"
        ) from error
    um = number_of(config.get("tile_um"))
    facts = {"tool": "slideflow", "tile_px": px, "tile_um": um if um is not None else str(config.get("tile_um"))}
    if config.get("normalizer"):
        facts["normalizer"] = sha256_of(json.loads(json.dumps(config["normalizer"])))[:12]
    tiles = Tiles(facts, px)
    items = [_bag(path, tiles, partial(_corners, um)) for path in files_in(place, ".pt")]
    notes = (
        () if um else (f"{place.name}: tile_um is {config.get('tile_um')!r}, no um, so the tiles' places are left out",)
    )
    indexed = {path.name.removesuffix(_INDEX) for path in files_in(place, _INDEX)}
    notes += without_features(f"*{_INDEX}", indexed - {item.name for item in items})
    return PeerSet("slideflow", within(folder, place), extractor, "bag", "slide", items, notes=notes)


def _bag(path: Path, tiles: Tiles, places: Any) -> TensorBag:
    name = path.name.removesuffix(".pt")
    index = path.with_name(f"{name}{_INDEX}")
    if index.is_file():
        return TensorBag(name, (path,), index, lambda: tiles, places)
    note = f"{name}: there is no {index.name}, so its tiles have no places"
    return TensorBag(name, (path,), None, lambda: replace(tiles, notes=(note,)))


def _corners(
    um: float | None, path: Path, centres: np.ndarray, tiles: Tiles, mpp: float | None
) -> tuple[np.ndarray | None, Tiles]:
    """Upper left corners, which take the size of a tile in level-0 pixels; none where that is not known."""
    if um is None or mpp is None:
        return None, tiles
    edge = int(um / mpp)
    corners = np.floor(centres[:, :2].astype(np.float64) - edge / 2 + 0.5)
    return level0_coords(path, corners, len(centres), replace(tiles, level0_px=edge)), replace(tiles, level0_px=edge)
