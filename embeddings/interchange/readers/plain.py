"""Files that no tool's layout explains: one .h5, .pt, .npy or .npz of each slide, with coordinates or without.

HDF5 holds ``features`` (or feats, embeddings) and ``coords``; beside ``<slide>.npy`` or ``.pt`` may lie
``<slide>_coords.npy``. Coordinates are level-0 pixels, x and y of each tile's upper left corner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, listed, within
from guidestore.embeddings.interchange.h5 import H5File, first_of, opened
from guidestore.embeddings.interchange.layout import NO_IDS, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.plain_bags import TensorBag, TensorCode, values_of
from guidestore.embeddings.interchange.tiles import H5Bag, H5Code, Tiles, mpp_of, number_of, tile_edge

_SUFFIXES = (".h5", ".hdf5", ".pt", ".pth", ".npy", ".npz")
_FEATURES, _COORDS = ("features", "feats", "embeddings", "embedding"), ("coords", "coordinates")
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
        shape = file.matrix(features).shape
    if (len(shape) == 1 and (shape[0] or coords is None)) or (len(shape) == 2 and shape[0] == 1 and coords is None):
        return H5Code(name, (path,), features, partial(_tiles, features))
    return H5Bag(name, (path,), features, coords or "", partial(_tiles, features))


def _tiles(features: str, file: H5File) -> Tiles:
    """With the attributes that TRIDENT's and AtlasPatch's files have, where these are there."""
    says = file.attributes() | file.attributes(features)
    says |= file.attributes("coords") if "coords" in file else {}
    px = tile_edge(says.get("patch_size"))
    facts = {"tool": "plain"} | ({"tile_px": px} if px else {})
    magnification = number_of(says.get("level0_magnification")) or None
    return Tiles(facts, px, tile_edge(says.get("patch_size_level0")), magnification, mpp=mpp_of(says.get("mpp")))


def _tensor(path: Path) -> PeerItem:
    name = path.name.removesuffix(path.suffix)
    if values_of(path).ndim == 1:
        return TensorCode(name, (path,), _said)
    coords = path.with_name(f"{name}{_PLACES}")
    is_npz = path.suffix == ".npz"
    return TensorBag(
        name, (path,), path if is_npz and _has_coords(path) else coords if coords.is_file() else None, _said
    )


def _has_coords(path: Path) -> bool:
    from guidestore.embeddings.interchange.arrays import read_npz

    return "coords" in read_npz(path)


def _said() -> Tiles:
    return Tiles({"tool": "plain"})
