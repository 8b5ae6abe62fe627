"""Files that no tool's layout explains: one .h5, .pt, .npy or .npz of each slide, with coordinates or without.

HDF5 holds ``features`` (or feats, embeddings) and ``coords``; beside ``<slide>.npy`` or ``.pt`` may lie
``<slide>_coords.npy``. Coordinates are level-0 pixels, x and y of each tile's upper left corner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.arrays import read_npz
from guidestore.embeddings.interchange.folders import files_in, folders_in, listed, within
from guidestore.embeddings.interchange.h5 import H5File, first_of, opened
from guidestore.embeddings.interchange.layout import NO_IDS, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.plain_bags import NPZ_FEATURES, TensorBag, TensorCode, values_of
from guidestore.embeddings.interchange.tiles import H5Bag, H5Code, Tiles, mpp_of, number_of, tile_edge

_SUFFIXES = (".h5", ".hdf5", ".pt", ".pth", ".npy", ".npz")
_FEATURES, _COORDS = ("features", "feats", "embeddings", "embedding"), ("coords", "coordinates")
_PIXELS = ("px", "pixel", "pixels")
_PLACES = "_coords.npy"
_TABLES = (".csv", ".tsv", ".xlsx", ".parquet", ".json", ".yaml")


class Plain(Reader):
    tool = "plain files"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        return [_set(folder, place) for place in [folder, *folders_in(folder)] if _files(place)]


def _files(place: Path) -> list[Path]:
    return [path for path in files_in(place, *_SUFFIXES) if not path.name.endswith(_PLACES)]


def _set(folder: Path, place: Path) -> PeerSet:
    paths = _files(place)
    suffixes = Counter(path.suffix for path in paths)
    if len(suffixes) > 1:
        mixed = " and ".join(f"{count} {suffix}" for suffix, count in suffixes.items())
        raise InvalidInputError(f"{place} mixes {mixed} files; put those of one kind into a folder of their own")
    h5 = suffixes.keys() <= {".h5", ".hdf5"}
    items = [(_h5 if h5 else _tensor)(path) for path in paths]
    kinds = {isinstance(item, H5Bag | TensorBag) for item in items}
    if len(kinds) > 1:
        codes = [item.name for item in items if not isinstance(item, H5Bag | TensorBag)]
        raise InvalidInputError(
            f"{place} mixes bags of tiles with codes of slides (such as {listed(codes)}); put each into a folder of "
            "its own"
        )
    kind = "bag" if kinds == {True} else "codes"
    return PeerSet("plain", within(folder, place), "", kind, "slide", items, notes=tuple(_passed_over(place, items)))


def _passed_over(place: Path, items: Sequence[PeerItem]) -> Iterator[str]:
    """Notes on what lies there and is not read."""
    names = {item.name for item in items}
    stale = [path.name for path in files_in(place, _PLACES) if path.name.removesuffix(_PLACES) not in names]
    if stale:
        yield f"{listed(stale)}: places of slides that have no features, left out"
    tables = [path.name for path in files_in(place, *_TABLES)]
    if tables:
        yield f"{listed(tables)}: not read; name a table of slides with --slides"
    placeless = [item.name for item in items if isinstance(item, H5Bag | TensorBag) and not item.coords]
    if placeless:
        yield f"{listed(placeless)}: no coordinates are there, so the tiles have no places"


def _h5(path: Path) -> PeerItem:
    name = path.name.removesuffix(path.suffix)
    with opened(path) as file:
        features, coords = first_of(_FEATURES, file), first_of(_COORDS, file)
        if features is None or file.is_group(features):
            raise InvalidInputError(
                f"{path} holds {listed(file.names()) or 'nothing'}, and no array called {', '.join(_FEATURES)}; "
                "save the "
                "features under one of these names"
            )
        notes = [*_second(name, file.names(), _FEATURES), *_second(name, file.names(), _COORDS)]
        shape = file.matrix(features).shape
    if (len(shape) == 1 and (shape[0] or coords is None)) or (len(shape) == 2 and shape[0] == 1 and coords is None):
        return H5Code(name, (path,), features, partial(_tiles, features, notes))
    return H5Bag(name, (path,), features, coords or "", partial(_tiles, features, notes))


def _second(name: str, held: Collection[str], meant: Sequence[str]) -> list[str]:
    """A note where a file holds two arrays of one meaning, of which the first is read."""
    found = [one for one in meant if one in held]
    return [f"{name}: {found[0]} is read, and {listed(found[1:])} not"] if found[1:] else []


def _tiles(features: str, notes: Sequence[str], file: H5File) -> Tiles:
    """With the attributes that TRIDENT's and AtlasPatch's files have, where these are there.

    Raises InvalidInputError where the file says that its places are of another unit than pixels.
    """
    says = file.attributes() | file.attributes(features)
    coords = first_of(_COORDS, file)
    says |= file.attributes(coords) if coords else {}
    unit = str(says.get("unit") or says.get("units") or "px")
    if coords and unit.lower() not in _PIXELS:
        raise InvalidInputError(
            f"{file.path} says unit {unit!r}, and coords of plain files are level-0 pixels; divide them by the um per "
            "pixel, or import with the --layout of the tool"
        )
    px = tile_edge(says.get("patch_size"))
    facts = {"tool": "plain"} | ({"tile_px": px} if px else {})
    magnification = number_of(says.get("level0_magnification")) or None
    level0_px = tile_edge(says.get("patch_size_level0"))
    return Tiles(facts, px, level0_px, magnification, mpp=mpp_of(says.get("mpp")), notes=tuple(notes))


def _tensor(path: Path) -> PeerItem:
    name = path.name.removesuffix(path.suffix)
    if values_of(path).ndim == 1:
        return TensorCode(name, (path,), _said)
    coords, held = path.with_name(f"{name}{_PLACES}"), read_npz(path).keys() if path.suffix == ".npz" else ()
    places = path if "coords" in held else coords if coords.is_file() else None
    return TensorBag(name, (path,), places, partial(_said, tuple(_second(name, held, NPZ_FEATURES))))


def _said(notes: tuple[str, ...] = ()) -> Tiles:
    return Tiles({"tool": "plain"}, notes=notes)
