"""STAMP: ``<extractor>-<hash>/<slide>.h5`` with ``feats`` and ``coords`` in um; codes of slides and patients likewise.

Attributes are those that STAMP 2.5 writes (``stamp/preprocessing/__init__.py``,
``stamp/encoding/encoder/__init__.py``)."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, listed, within
from guidestore.embeddings.interchange.grids import usual_gap
from guidestore.embeddings.interchange.h5 import H5File, check_none, is_h5, opened
from guidestore.embeddings.interchange.layout import NO_IDS, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.readers.marugoto import AUGMENTED
from guidestore.embeddings.interchange.tiles import (
    FEWEST_TILES,
    OFF,
    H5Bag,
    H5Code,
    Tiles,
    level0_coords,
    number_of,
    tile_edge,
)

NEWEST = (2, 5)
"""Version of STAMP whose files are known; what later ones change is not."""
_FOLDER = re.compile(r"(.+)-[0-9a-f]{8}\Z")
"""As STAMP names the folder of an extractor's features: with the start of its code's hash."""
_VERSION = re.compile(r"(\d+)\.(\d+)")


class Stamp(Reader):
    tool = "STAMP"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        found = []
        for place in [folder, *folders_in(folder)]:
            by_kind: defaultdict[tuple[str, str], list[Path]] = defaultdict(list)
            others: list[str] = []
            broken: list[Path] = []
            for path in files_in(place, ".h5"):
                if not is_h5(path):
                    broken.append(path)
                    continue
                with opened(path) as file:
                    if "feats" in file and AUGMENTED not in file:
                        by_kind[_kind_of(file)].append(path)
                    else:
                        others.append(path.name)
            if by_kind:
                check_none(broken)
            kinds = sorted({kind for kind, _ in by_kind})
            if len(kinds) > 1:
                raise InvalidInputError(
                    f"{place} holds codes of {' and of '.join(f'{kind}s' for kind in kinds)} together; put each kind "
                    "into a folder of its own, as STAMP does"
                )
            encoders = sorted({encoder for _, encoder in by_kind})
            if len(encoders) > 1:
                raise InvalidInputError(
                    f"{place} holds features of {' and of '.join(name or 'an unnamed encoder' for name in encoders)}; "
                    "they do not mix: put each encoder's into a folder of its own"
                )
            for (kind, encoder), paths in by_kind.items():
                found.append(_set(within(folder, place), kind, encoder, paths, others))
        return found


def _set(place: str, kind: str, encoder: str, paths: list[Path], others: list[str]) -> PeerSet:
    notes = (f"{len(others)} files of {place} hold no feats, left out: {listed(others)}",) if others else ()
    of_folder = _FOLDER.match(paths[0].parent.name)
    if kind == "tile" and of_folder and encoder and of_folder[1] != encoder:
        notes += (f"{paths[0].parent.name} holds features of {encoder}, as its files say, and not of {of_folder[1]}",)
    items: list[PeerItem] = []
    for path in paths:
        name = path.name.removesuffix(".h5")
        if kind == "tile":
            items.append(H5Bag(name, (path,), "feats", "coords", _tiles, places=_places))
        else:
            items.append(H5Code(name, (path,), "feats", _codes))
    if kind == "tile":
        return PeerSet("stamp", place, encoder, "bag", "slide", items, needs_mpp=True, notes=notes)
    return PeerSet("stamp", place, encoder, "codes", "case" if kind == "patient" else "slide", items, notes=notes)


def _kind_of(file: H5File) -> tuple[str, str]:
    """tile, slide or patient, and the name of the encoder."""
    says = file.attributes()
    kind = says.get("feat_type") or "tile"
    if kind not in ("tile", "slide", "patient"):
        raise InvalidInputError(
            f"{file.path} says feat_type {kind!r}, which STAMP {NEWEST[0]}.{NEWEST[1]} does not know"
        )
    return kind, str(says.get("extractor" if kind == "tile" else "encoder") or "")


def _checked(file: H5File) -> dict[str, Any]:
    says = file.attributes()
    version = _VERSION.match(str(says.get("stamp_version") or ""))
    if not version and says.get("stamp_version"):
        raise InvalidInputError(
            f"{file.path} says stamp_version {says['stamp_version']!r}, which is none; preprocess the slide again"
        )
    if version and tuple(map(int, version.groups())) > NEWEST:
        raise InvalidInputError(
            f"{file.path} is of STAMP {says['stamp_version']}, newer than {NEWEST[0]}.{NEWEST[1]}, whose files are "
            "known; "
            "a newer guidestore may read it"
        )
    return says


def _facts(says: dict[str, Any], **more: Any) -> dict[str, Any]:
    code_hash = says.get("code_hash")
    facts = {"tool": "STAMP", "code_hash": str(code_hash) if code_hash else None, **more}
    return {key: value for key, value in facts.items() if value is not None}


def _codes(file: H5File) -> Tiles:
    says = _checked(file)
    return Tiles(_facts(says, precision=str(says["precision"]) if says.get("precision") else None))


def _tiles(file: H5File) -> Tiles:
    says = _checked(file)
    unit = says.get("unit")
    tile_um = number_of(says.get("tile_size_um")) or number_of(says.get("tile_size"))
    if unit != "um" or not tile_um or tile_um < 0:
        raise InvalidInputError(
            f"{file.path} says unit {unit!r} and a tile of {tile_um or 'no'} um; STAMP of 2024 and later writes um "
            "and the "
            "size: preprocess the slides again"
        )
    px = tile_edge(says.get("tile_size_px"))
    name = file.path.name.removesuffix(".h5")
    notes = () if px else (f"{name}: the file does not say tile_size_px",)
    kind = file.matrix("coords").dtype
    if kind.kind != "f":
        notes += (f"{name}: coords are {kind}, where STAMP writes float32, so they may have been rounded",)
    return Tiles(_facts(says, tile_um=tile_um, tile_px=px or None), px, notes=notes)


def _places(path: Path, coords: np.ndarray, tiles: Tiles, mpp: float | None) -> tuple[np.ndarray, Tiles]:
    """um -> level-0 pixels; a tile is `tile_um`, rounded up to whole pixels, as STAMP cuts it."""
    assert mpp is not None  # noqa: S101  (a set that needs an mpp is not read without)
    tile_um = float(tiles.facts["tile_um"])
    _check_um(path, coords, tile_um)
    tiles = replace(tiles, level0_px=math.ceil(tile_um / mpp - 1e-9))
    return level0_coords(path, np.rint(coords.astype(np.float64) / mpp), len(coords), tiles), tiles


def _check_um(path: Path, coords: np.ndarray, tile_um: float) -> None:
    """Raises InvalidInputError where tiles lie apart as they do not in um."""
    if not np.isfinite(coords).all():
        raise InvalidInputError(f"{path}: a coordinate is not finite")
    gap = usual_gap(coords) or tile_um
    if gap < tile_um * (1 - OFF) or (len(coords) >= FEWEST_TILES and gap > tile_um * (1 + OFF)):
        raise InvalidInputError(
            f"{path}: tiles lie {gap:g} apart, and they are {tile_um:g} um wide: coordinates are in pixels or "
            "another unit, "
            "though the file says um"
        )
