"""TRIDENT: ``<job>/<mag>x_<px>px_<overlap>px_overlap/features_<encoder>/<slide>.h5``, and ``slide_features_<encoder>``.

Keys, attributes and traps are those of TRIDENT's own writers (``trident/IO.py``, ``trident/wsi_objects/WSI.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, listed, within, without_features
from guidestore.embeddings.interchange.h5 import H5File
from guidestore.embeddings.interchange.layout import NO_IDS, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.tiles import (
    H5Bag,
    H5Code,
    Tiles,
    level0_coords,
    mpp_of,
    number_of,
    same_places,
    tile_edge,
)

_PATCHES, _SLIDES, _CUT = "features_", "slide_features_", "_patches.h5"
_SETTING = re.compile(r"(?P<magnification>[\d.]+)x_(?P<px>\d+)px_(?P<overlap>\d+)px_overlap\Z")
_NUMBERS = ("patch_size", "patch_size_level0", "level0_magnification", "target_magnification")
_STATE_BYTES = 4 * 2**20


class Trident(Reader):
    tool = "TRIDENT"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        folders = [folder, *folders_in(folder), *[inner for one in folders_in(folder) for inner in folders_in(one)]]
        found, pickled = [], []
        for place in folders:
            prefix = next((prefix for prefix in (_SLIDES, _PATCHES) if place.name.startswith(prefix)), "")
            if not prefix:
                continue
            if files_in(place, ".h5"):
                found.append(self._set(folder, place, prefix))
            elif files_in(place, ".pt"):
                pickled.append(within(folder, place))
        if not pickled:
            return found
        said = (
            f"{listed(pickled)} holds .pt files, which TRIDENT pickles, without coordinates: they are not read; let it "
            "save .h5, its default"
        )
        if not found:
            raise InvalidInputError(f"{folder}: {said}")
        return [replace(found[0], notes=(*found[0].notes, said)), *found[1:]]

    def _set(self, folder: Path, place: Path, prefix: str) -> PeerSet:
        encoder = place.name.removeprefix(prefix)
        mpps = _mpps(place.parent.parent / "wsi_states")
        items: list[PeerItem] = []
        for path in files_in(place, ".h5"):
            name = path.name.removesuffix(".h5")
            tiles = partial(_tiles, place, name, encoder if prefix == _PATCHES else "", mpps.get(name))
            if prefix == _PATCHES:
                own = place.parent / "patches" / f"{name}{_CUT}"
                places = partial(_places, own) if own.is_file() else None
                items.append(H5Bag(name, (path,), "features", "coords", tiles, places=places))
            else:
                items.append(H5Code(name, (path,), "features", tiles))
        kind = "bag" if prefix == _PATCHES else "codes"
        names = {item.name for item in items}
        cut = {path.name.removesuffix(_CUT) for path in files_in(place.parent / "patches", _CUT)}
        notes = without_features("patches/", cut - names) if kind == "bag" else ()
        others = [path.name for path in files_in(place, ".hdf5", ".pt", ".npy", ".npz")]
        notes += (f"{listed(others)}: not read, for TRIDENT's features end with .h5",) if others else ()
        return PeerSet("trident", within(folder, place), encoder, kind, "slide", items, notes=notes)


def _tiles(place: Path, name: str, encoder: str, mpp: float | None, file: H5File) -> Tiles:
    """encoder: that the folder names and the file must not contradict; '' where files never say it."""
    says = file.attributes("features")
    told = file.attributes("coords") if "coords" in file else {}
    notes = []
    if encoder and says.get("encoder") not in (None, encoder):
        raise InvalidInputError(
            f"{file.path} says that its encoder is {says['encoder']}, and lies in {place.name}; features of two "
            "encoders "
            "do not mix: put it where it belongs"
        )
    other = next((said for said in (told.get("name"), says.get("name")) if said not in (None, name)), None)
    if other is not None:
        notes.append(f"{file.path.name} says that it is slide {other}; it is taken as {name}, by its name")
    notes += [
        f"{name}: {key} is {told[key]!r}, which is no such number, and is passed over"
        for key in _NUMBERS
        if told.get(key) is not None and not (number_of(told[key]) or 0) > 0
    ]
    px, magnification, overlap = (number_of(told.get(key)) for key in ("patch_size", "target_magnification", "overlap"))
    setting = _SETTING.match(place.parent.name)
    if setting:
        wanted = {key: float(text) for key, text in setting.groupdict().items()}
        given = {"magnification": magnification, "px": px, "overlap": overlap}
        for key, number in given.items():
            if number is not None and number != wanted[key] and file.matrix("coords").shape[:1] != (0,):
                raise InvalidInputError(
                    f"{file.path} says {key} {number:g}, and lies in {place.parent.name}; tiles of two settings do not "
                    "mix: put it where it belongs"
                )
        px, magnification, overlap = wanted["px"], wanted["magnification"], wanted["overlap"]
    level0_px, scanned_at = tile_edge(told.get("patch_size_level0")), number_of(told.get("level0_magnification"))
    if not level0_px:
        notes.append(f"{name}: the file does not say the size of its tiles at level 0")
    width, height = number_of(told.get("level0_width")), number_of(told.get("level0_height"))
    facts: dict[str, Any] = {"tool": "TRIDENT"}
    facts |= {
        key: number
        for key, number in (("tile_px", px), ("magnification", magnification), ("overlap_px", overlap))
        if number is not None
    }
    size = (width, height) if width and height else None
    return Tiles(facts, tile_edge(px), level0_px, scanned_at, size, mpp, notes=tuple(notes))


def _places(patches: Path, path: Path, coords: np.ndarray, tiles: Tiles, mpp: float | None) -> tuple[np.ndarray, Tiles]:
    same_places(path, coords, patches)
    return level0_coords(path, coords, len(coords), tiles), tiles


def _mpps(folder: Path) -> Mapping[str, float]:
    """Slide -> um per level-0 pixel, as TRIDENT read it of the slide: ``meta.mpp`` of ``<slide>__<hash>.json``."""
    found: dict[str, float] = {}
    unclear: set[str] = set()
    for path in files_in(folder, ".json"):
        try:
            state = json.loads(path.read_bytes()) if path.stat().st_size <= _STATE_BYTES else {}
            name, mpp = state["slide"]["name"], mpp_of(state["meta"]["mpp"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(name, str) and mpp is not None and found.setdefault(name, mpp) != mpp:
            unclear.add(name)
    return {name: mpp for name, mpp in found.items() if name not in unclear}
