"""marugoto, before STAMP: ``<slide>.h5`` with ``feats``, ``coords`` and ``augmented``.

As its ``extract/extract.py`` writes them: rows of augmented tiles follow the plain ones, and are left out. The unit of
the coordinates is not stated; where tiles lie 224 apart it is 256/224 um, as STAMP reads such files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, folders_in, listed, within
from guidestore.embeddings.interchange.grids import usual_gap
from guidestore.embeddings.interchange.h5 import H5File, check_none, is_h5, opened
from guidestore.embeddings.interchange.layout import NO_IDS, Header, ItemOver, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.tiles import H5Bag, Tiles, level0_coords
from guidestore.embeddings.types import BagStream

AUGMENTED = "augmented"
_STEP, _TILE_UM = 224, 256.0
"""What lies between two tiles in the unit of the file, and in um."""


class Marugoto(Reader):
    tool = "marugoto"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        return [found for place in [folder, *folders_in(folder)] for found in _sets(folder, place)]


def _sets(folder: Path, place: Path) -> list[PeerSet]:
    by_encoder: defaultdict[str, list[PeerItem]] = defaultdict(list)
    others, broken = [], []
    for path in files_in(place, ".h5"):
        if not is_h5(path):
            broken.append(path)
            continue
        with opened(path) as file:
            if "feats" in file and AUGMENTED in file:
                by_encoder[_encoder(file)].append(MarugotoBag(_bag(path)))
            elif "feats" not in file:
                others.append(path.name)
    if by_encoder:
        check_none(broken)
    if len(by_encoder) > 1:
        named = " and of ".join(sorted(name or "an unnamed encoder" for name in by_encoder))
        raise InvalidInputError(f"{place} holds features of {named}; put each encoder's into a folder of its own")
    at = within(folder, place)
    notes = (f"{len(others)} files of {at} hold no feats, left out: {listed(others)}",) if others else ()
    return [PeerSet("marugoto", at, name, "bag", "slide", of, notes=notes) for name, of in by_encoder.items()]


def _encoder(file: H5File) -> str:
    """``marugoto-extract-v0.8_xiyue-wang-ctranspath-7c998680`` without what extracted."""
    said = str(file.attributes().get("extractor") or "")
    return said.partition("_")[2] if said.startswith("marugoto") else said


def _bag(path: Path) -> H5Bag:
    return H5Bag(path.name.removesuffix(".h5"), (path,), "feats", "coords", _tiles, places=_places)


def _tiles(file: H5File) -> Tiles:
    return Tiles({"tool": "marugoto", "tile_px": 224, "extractor": str(file.attributes().get("extractor") or "")}, 224)


def _places(path: Path, coords: np.ndarray, tiles: Tiles, mpp: float | None) -> tuple[np.ndarray | None, Tiles]:
    """Level-0 pixels; none where the unit, or the um of a pixel, is not known."""
    gap = usual_gap(coords)
    if mpp is None or gap is None or round(gap) != _STEP:
        return None, tiles
    tiles = replace(tiles, level0_px=round(_TILE_UM / mpp))
    return level0_coords(path, np.rint(coords * (_TILE_UM / _STEP / mpp)), len(coords), tiles), tiles


@dataclass(frozen=True, slots=True, eq=False)
class MarugotoBag(ItemOver[H5Bag]):
    """The rows of a bag that are not augmented."""

    def look(self) -> Header:
        header = self.item.look()
        plain, every = self._plain(), header.n
        notes = [f"{self.name}: {every - plain} of {every} rows are of augmented tiles, and left out"]
        return replace(header, n=plain, notes=(*header.notes, *(notes if plain < every else []), self._unit()))

    def read(self, header: Header, mpp: float | None) -> BagStream:
        stream = self.item.read(replace(header, n=self.item.look().n), mpp)
        coords_n2 = None if stream.coords_n2 is None else stream.coords_n2[: header.n]
        blocks = _first(stream.blocks, header.n)
        return replace(stream, shape=(header.n, header.d), blocks=blocks, coords_n2=coords_n2)

    def _unit(self) -> str:
        """What its coordinates are taken for, in words."""
        with opened(self.files[0]) as file:
            gap = usual_gap(file.matrix(self.item.coords).read())
        if gap is not None and round(gap) == _STEP:
            return "the unit of its coordinates is taken from their distance, as STAMP takes it"
        apart = f"tiles lie {gap:g} apart, and not {_STEP}" if gap else "no tiles lie side by side"
        return f"{self.name}: {apart}, so the unit of its coordinates is not known, and its tiles have no places"

    def _plain(self) -> int:
        """How many rows, the first ones, are not augmented. Raises InvalidInputError where they do not come first."""
        path = self.files[0]
        with opened(path) as file:
            n = file.matrix(self.item.features).shape[0]
            matrix = file.matrix(AUGMENTED)
            if matrix.shape != (n,):
                raise InvalidInputError(f"{path}: {AUGMENTED} has the shape {matrix.shape}, and there are {n:,} rows")
            matrix.check_whole()
            augmented = matrix.read().astype(bool)
        plain = int((~augmented).sum())
        if augmented[:plain].any():
            raise InvalidInputError(
                f"{path}: augmented rows lie between others, as marugoto writes none; make it again"
            )
        return plain


def _first(blocks: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    for block in blocks:
        if rows <= 0:
            return
        yield block[:rows]
        rows -= len(block)
