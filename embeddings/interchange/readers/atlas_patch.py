"""AtlasPatch: ``patches/<slide>.h5`` with ``features/<encoder>`` and ``coords`` (n, 5) of level 0;
``slide_features/<encoder>``.

As its own ``services/storage.py`` and ``utils/feature_h5.py`` write them; sizes and the mpp are attributes of the file.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import files_in, within
from guidestore.embeddings.interchange.h5 import H5File, check_none, is_h5, opened
from guidestore.embeddings.interchange.layout import NO_IDS, PeerItem, PeerSet, Reader, RowIds
from guidestore.embeddings.interchange.tiles import H5Bag, H5Code, Tiles, level0_coords, mpp_of, number_of, tile_edge

_PATCHES, _SLIDES = "features", "slide_features"
_COLUMNS = 5
"""x, y, width and height as read, level."""


class AtlasPatch(Reader):
    tool = "AtlasPatch"

    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        by_encoder: defaultdict[tuple[str, str], list[PeerItem]] = defaultdict(list)
        place = folder / _PATCHES_FOLDER if (folder / _PATCHES_FOLDER).is_dir() else folder
        without, broken = [], []
        for path in files_in(place, ".h5"):
            if not is_h5(path):
                broken.append(path)
                continue
            name = path.name.removesuffix(".h5")
            with opened(path) as file:
                groups = [group for group in (_PATCHES, _SLIDES) if group in file and file.is_group(group)]
                if "coords" in file and not any(file.names(group) for group in groups):
                    without.append(name)
                for group in groups:
                    for encoder in file.names(group):
                        key = f"{group}/{encoder}"
                        item = (
                            H5Bag(name, (path,), key, "coords", _tiles, _COLUMNS, _places)
                            if group == _PATCHES
                            else H5Code(name, (path,), key, _tiles)
                        )
                        by_encoder[group, encoder].append(item)
        if by_encoder:
            check_none(broken)
        lacking = (
            f"{len(without)} files of {within(folder, place)} hold places and no features (such as {without[0]})"
            if without
            else ""
        )
        return [
            PeerSet(
                "atlas-patch",
                within(folder, place),
                encoder,
                "bag" if group == _PATCHES else "codes",
                "slide",
                items,
                notes=(lacking,) if lacking else (),
            )
            for (group, encoder), items in sorted(by_encoder.items())
        ]


_PATCHES_FOLDER = "patches"


def _tiles(file: H5File) -> Tiles:
    says = file.attributes()
    px, magnification, overlap = (number_of(says.get(key)) for key in ("patch_size", "target_magnification", "overlap"))
    facts = {"tool": "AtlasPatch"} | {
        key: number
        for key, number in (("tile_px", px), ("magnification", magnification), ("overlap_px", overlap))
        if number is not None
    }
    width, height = number_of(says.get("level0_width")), number_of(says.get("level0_height"))
    level0_px = tile_edge(says.get("patch_size_level0"))
    name = file.path.name.removesuffix(".h5")
    notes = () if level0_px else (f"{name}: the file does not say the size of its tiles at level 0",)
    mpp = next((mpp_of(says[key]) for key in ("mpp", "level0_mpp", "slide_mpp") if key in says), None)
    return Tiles(
        facts,
        tile_edge(px),
        level0_px,
        number_of(says.get("level0_magnification")) or None,
        (width, height) if width and height else None,
        mpp,
        notes=notes,
    )


def _places(path: Path, coords: np.ndarray, tiles: Tiles, mpp: float | None) -> tuple[np.ndarray, Tiles]:
    """Raises InvalidInputError where the tiles are not of one size and level, or not of the size that the file says."""
    if len(coords) and (coords[:, 2:] != coords[0, 2:]).any():
        raise InvalidInputError(f"{path}: coords say tiles of several sizes or levels; features of these do not mix")
    if len(coords) and coords[0, 4] == 0 and tiles.level0_px and (coords[0, 2:4] != tiles.level0_px).any():
        raise InvalidInputError(
            f"{path}: coords say tiles of {coords[0, 2]:g} x {coords[0, 3]:g} level-0 pixels, and patch_size_level0 is "
            f"{tiles.level0_px}; they are of two tilings"
        )
    return level0_coords(path, coords[:, :2], len(coords), tiles), tiles
