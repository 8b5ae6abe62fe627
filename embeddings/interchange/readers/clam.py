"""CLAM: ``h5_files/<slide>.h5`` (features and level-0 coords) and ``pt_files/<slide>.pt``; ``patches/<slide>.h5`` says
how tiles were cut. The name of the encoder and the slide's mpp are nowhere.

As CLAM's own ``extract_features_fp.py`` and ``wsi_core/WholeSlideImage.py`` write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, listed, within, without_features
from guidestore.embeddings.interchange.h5 import H5File, opened
from guidestore.embeddings.interchange.layout import NO_IDS, Header, ItemOver, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.plain_bags import TensorBag, values_of
from guidestore.embeddings.interchange.table import read_table
from guidestore.embeddings.interchange.tiles import H5Bag, Tiles, level0_coords, number_of, same_places, tile_edge
from guidestore.embeddings.types import BagStream

_H5, _PT = "h5_files", "pt_files"


class Clam(Reader):
    tool = "CLAM"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        root = folder.parent if folder.name in (_H5, _PT) else folder
        wanted = [folder.name] if folder.name in (_H5, _PT) else [_H5, _PT]
        h5 = {path.name.removesuffix(".h5"): path for path in files_in(root / _H5, ".h5") if _H5 in wanted}
        pt = {path.name.removesuffix(".pt"): path for path in files_in(root / _PT, ".pt") if _PT in wanted}
        if not h5 and not pt:
            return []
        patches = {path.name.removesuffix(".h5"): path for path in files_in(root / "patches", ".h5")}
        items: list[PeerItem] = []
        for name in sorted(h5.keys() | pt.keys()):
            cut = patches.get(name)
            if name in h5:
                bag = H5Bag(name, (h5[name],), "features", "coords", partial(_tiles, cut), places=partial(_places, cut))
                items.append(_Both(bag, pt[name]) if name in pt else bag)
            else:
                items.append(TensorBag(name, (pt[name],), cut, partial(_pt_tiles, cut)))
        uncut = sorted(h5.keys() - patches.keys()) if patches else []
        notes = [*without_features("CLAM's list", _listed_slides(root) - (h5.keys() | pt.keys()))]
        notes += without_features("patches/", patches.keys() - (h5.keys() | pt.keys()) - _listed_slides(root))
        if not patches:
            notes.append(f"{within(folder, root)} has no patches/, so the size of the tiles is not known")
        if uncut:
            notes.append(f"{listed(uncut)}: patches/ lacks them, so the size of their tiles is not known")
        if h5 and pt.keys() - h5.keys():
            notes.append(f"{listed(sorted(pt.keys() - h5.keys()))}: read of {_PT}, for {_H5} lacks them")
        return [PeerSet("clam", within(folder, root), "", "bag", "slide", items, notes=tuple(notes))]


@dataclass(frozen=True, slots=True, eq=False)
class _Both(ItemOver[H5Bag]):
    """A bag that lies there twice, which must be the same: CLAM's trainer reads the .pt, and the .h5 has the places.

    The .pt is no part of what the bag is made from.
    """

    pt: Path

    def read(self, header: Header, mpp: float | None) -> BagStream:
        stream = self.item.read(header, mpp)
        return replace(stream, blocks=self._same(stream.blocks, header.n))

    def _same(self, blocks: Iterable[np.ndarray], n: int) -> Iterator[np.ndarray]:
        """The same blocks, compared with the rows of the .pt, which is mapped. Raises InvalidInputError."""
        values_nd, start = values_of(self.pt), 0
        if len(values_nd) != n:
            raise self._differ(f"{n:,} and {len(values_nd):,} tiles")
        for block in blocks:
            other = values_nd[start : start + len(block)]
            with np.errstate(over="ignore"):
                own = block.astype(other.dtype, copy=False)  # of a .pt in float16, say
            if not np.array_equal(own, other) and not np.array_equal(own, other, equal_nan=True):
                raise self._differ(f"other features from row {start} on")
            start += len(block)
            yield block

    def _differ(self, what: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self.files[0]} and {self.pt} have {what}: they are of two runs; import {_H5} or {_PT} alone, "
            "whichever is right"
        )


def _places(
    cut: Path | None, path: Path, coords: np.ndarray, tiles: Tiles, mpp: float | None
) -> tuple[np.ndarray, Tiles]:
    if cut is not None:
        same_places(path, coords, cut)
    return level0_coords(path, coords, len(coords), tiles), tiles


def _listed_slides(root: Path) -> set[str]:
    """Slides of CLAM's own list: it writes no features of a blank one."""
    table = root / "process_list_autogen.csv"
    if not table.is_file():
        return set()
    ids = [Path(text).stem if "." in text[-6:] else text for text in read_table(table, ("slide_id",)).texts("slide_id")]
    return {name for name in ids if name}


def _pt_tiles(cut: Path | None) -> Tiles:
    return Tiles({"tool": "CLAM"}) if cut is None else _cut(cut)


def _tiles(cut: Path | None, file: H5File) -> Tiles:
    if cut is None:
        return Tiles({"tool": "CLAM"})
    with opened(cut) as patches:
        places, tiles = patches.matrix("coords").shape[0], file.matrix("coords").shape[0]
    if places != tiles:
        raise InvalidInputError(
            f"{cut} has {places:,} places, and {file.path} {tiles:,}: they are of two tilings; take patches/ of the "
            "run that made the features, or leave it out"
        )
    return _cut(cut)


def _cut(path: Path) -> Tiles:
    """What ``patches/<slide>.h5`` says: level-0 tile = patch_size x downsample of its level."""
    with opened(path) as file:
        told = file.attributes("coords")
    px, level = tile_edge(told.get("patch_size")), number_of(told.get("patch_level"))
    scale, scales = number_of(told.get("downsample")), told.get("downsample")
    if isinstance(scales, list) and any(
        abs((number_of(one) or 0) - (scale or 0)) > 0.01 * (scale or 0) for one in scales
    ):
        raise InvalidInputError(f"{path} says downsample {scales}, and tiles that are not square are not read")
    if level is not None and (level < 0 or level != int(level)):
        raise InvalidInputError(f"{path} says patch_level {level:g}, and levels are numbered from 0; copy it again")
    if level is not None and scale is not None and (level == 0) != (scale == 1):
        raise InvalidInputError(
            f"{path} says patch_level {level:g} and downsample {scale:g}, and level 0 alone has 1; copy it again"
        )
    if not px or level is None or scale is None or scale < 1:
        raise InvalidInputError(
            f"{path} lacks patch_size, patch_level or downsample, which say how large CLAM's tiles are; copy it again"
        )
    size = told.get("level_dim")
    level0 = (size[0] * scale, size[1] * scale) if isinstance(size, list) and len(size) == 2 else None
    name, other = path.name.removesuffix(".h5"), told.get("name")
    notes = (f"patches/{path.name} says that it is of slide {other}; it is taken as that of {name}",)
    facts = {"tool": "CLAM", "tile_px": px, "patch_level": int(level)}
    tiles = Tiles(facts, px, px * int(scale), notes=notes if other not in (None, name) else ())
    return replace(tiles, size_px=level0 and (level0[0] + scale, level0[1] + scale))
