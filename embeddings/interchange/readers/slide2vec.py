"""slide2vec: ``tile_embeddings/<id>.pt`` or ``.npz`` and ``<id>.meta.json``, ``tiles/<id>.coordinates.npz``.

As its ``artifacts.py`` and ``runtime/embedding.py``, and hs2p's ``tiling/io.py``, write them: places are level-0
pixels, and the um per pixel of level 0 stands in ``<id>.coordinates.meta.json``. ``slide_embeddings`` and
``patient_embeddings`` hold codes; ``hierarchical_embeddings`` are not read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, listed, within, without_features
from guidestore.embeddings.interchange.layout import NO_IDS, Header, ItemOver, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.limits import reason_of
from guidestore.embeddings.interchange.plain_bags import TensorBag, TensorCode
from guidestore.embeddings.interchange.tiles import Tiles, mpp_of, number_of, tile_edge
from guidestore.embeddings.types import BagStream

_META = ".meta.json"
_PLACES = ".coordinates"
_MOST_JSON = 2**20
_KINDS = {"tile_embeddings": "tile", "slide_embeddings": "slide", "patient_embeddings": "patient"}


class Slide2vec(Reader):
    tool = "slide2vec"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        places = [folder / name for name in _KINDS if (folder / name).is_dir()]
        places += [folder] if folder.name in _KINDS else []
        return [_set(folder, place) for place in places if files_in(place, _META)]


def _set(folder: Path, place: Path) -> PeerSet:
    kind = _KINDS[place.name]
    items: list[PeerItem] = []
    encoders: set[str] = set()
    for meta in files_in(place, _META):
        name = meta.name.removesuffix(_META)
        said = _json(meta)
        if said.get("artifact_type") != place.name:
            raise InvalidInputError(f"{meta} says artifact_type {said.get('artifact_type')!r} and lies in {place.name}")
        encoders.add(str(said.get("encoder_name") or ""))
        items.append(_item(place, name, meta, said, kind))
    if len(encoders) > 1:
        raise InvalidInputError(
            f"{place} holds features of {' and of '.join(sorted(encoders))}; put each encoder's into a folder of its "
            "own"
        )
    named = {item.name for item in items}
    unsaid = sorted(
        path.name for path in files_in(place, ".pt", ".npz") if path.name.removesuffix(path.suffix) not in named
    )
    notes = (f"{len(unsaid)} files of {place.name} have no {_META}, left out: {listed(unsaid)}",) if unsaid else ()
    if kind == "tile":
        suffix = f"{_PLACES}.npz"
        tiled = {path.name.removesuffix(suffix) for path in files_in(place.parent / "tiles", suffix)}
        notes += without_features("tiles/", tiled - named)
    of: Literal["slide", "case"] = "case" if kind == "patient" else "slide"
    of_what = "bag" if kind == "tile" else "codes"
    return PeerSet("slide2vec", within(folder, place), encoders.pop(), of_what, of, items, notes=notes)


def _item(place: Path, name: str, meta: Path, said: dict[str, Any], kind: str) -> PeerItem:
    file = place / f"{name}.{said.get('format')}"
    if file.suffix not in (".pt", ".npz"):
        raise InvalidInputError(f"{meta} says format {said.get('format')!r}; slide2vec's are pt and npz")
    if kind != "tile":
        _need(file, meta)
        return TensorCode(name, (file,), lambda: Tiles({"tool": "slide2vec"}))
    tiling = place.parent / "tiles"
    coords, geometry = tiling / f"{name}{_PLACES}.npz", tiling / f"{name}{_PLACES}{_META}"
    facts = {"tool": "slide2vec", "tile_px": tile_edge(said.get("requested_tile_size_px")) or None}
    facts |= {"spacing_um": number_of(said.get("requested_spacing_um"))}
    slide, tiles_said = _geometry(geometry)
    level0_px = tile_edge(said.get("tile_size_lv0"))
    _check_same(meta, geometry, said, tiles_said)
    notes = () if coords.is_file() else (f"{name}: there is no {coords.name}, so its tiles have no places",)
    if said.get("sample_id") not in (None, name):
        notes += (f"{meta.name} says that it is of {said['sample_id']}; it is taken as {name}, by its name",)
    if not level0_px:
        notes += (f"{name}: the file does not say the size of its tiles at level 0",)
    px = tile_edge(said.get("requested_tile_size_px"))
    tiles = Tiles(
        {key: value for key, value in facts.items() if value is not None},
        px,
        level0_px,
        mpp=mpp_of(slide.get("base_spacing_um")),
        um=px * (facts["spacing_um"] or 0),
        notes=notes,
    )
    stated = number_of(said.get("num_tiles")), number_of(said.get("feature_dim"))
    if stated[0] == 0 and not file.is_file():
        return Blank(name, (meta,), int(stated[1] or 0))
    _need(file, meta)
    bag = TensorBag(name, (file,), coords if coords.is_file() else None, lambda: tiles)
    return Stated(bag, meta, stated)


def _geometry(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What hs2p says of a slide and of its tiling; {} where it does not."""
    said = _json(file) if file.is_file() else {}
    slide, tiling = (said.get(key) for key in ("slide", "tiling"))
    return slide if isinstance(slide, dict) else {}, tiling if isinstance(tiling, dict) else {}


def _check_same(meta: Path, geometry: Path, said: dict[str, Any], tiling: dict[str, Any]) -> None:
    """Raises InvalidInputError where the features' metadata and those of the tiling say two sizes of a tile."""
    one, two = (number_of(of.get("tile_size_lv0")) for of in (said, tiling))
    if one is not None and two is not None and one != two:
        raise InvalidInputError(
            f"{meta} says tile_size_lv0 {one:g}, and {geometry.name} {two:g}: they are of two tilings; copy the folder "
            "of one run"
        )


def _need(file: Path, meta: Path) -> None:
    if not file.is_file():
        raise InvalidInputError(
            f"{meta} means {file.name}, which is not there; copy the folder again, or make it again"
        )


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MOST_JSON:
            raise ValueError("it is too long")
        said = json.loads(file.read_bytes())
        if not isinstance(said, dict):
            raise ValueError("it holds no names")
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{file} cannot be read ({reason_of(error)}); copy the folder again") from error
    return said


@dataclass(frozen=True, slots=True, eq=False)
class Stated(ItemOver[TensorBag]):
    """A bag that must be as large as its metadata say."""

    meta: Path
    stated: tuple[float | None, float | None]
    """Tiles and dimensions."""

    def look(self) -> Header:
        header = self.item.look()
        for what, said, held in zip(("tiles", "dimensions"), self.stated, (header.n, header.d), strict=True):
            if said is not None and said != held:
                raise InvalidInputError(
                    f"{self.meta} says {said:g} {what}, and {self.files[0].name} holds {held:,}; make it again"
                )
        return header


@dataclass(frozen=True, slots=True, eq=False)
class Blank(PeerItem):
    """A slide without a tile, which has metadata alone."""

    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    files: tuple[Path, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    width: int

    def look(self) -> Header:
        return Header(0, self.width, "", {"tool": "slide2vec"})

    def read(self, header: Header, mpp: float | None) -> BagStream:
        return BagStream((0, header.d), np.dtype(np.float32), iter(()), np.empty((0, 2), np.int32), mpp, 0, 0, None)
