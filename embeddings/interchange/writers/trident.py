"""TRIDENT: ``<mag>x_<px>px_<ov>px_overlap/features_<encoder>/<slide>.h5`` and ``slide_features_<encoder>/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.interchange.outgoing import Outgoing, OutgoingBags, OutgoingSlide, Writer, need_places
from guidestore.embeddings.interchange.writers._h5 import dataset, new_h5
from guidestore.embeddings.types import Bag

_UNSAID = "None"
"""How TRIDENT writes an attribute that it does not know."""


class Trident(Writer):
    """Feature files as TRIDENT writes them."""

    tool = "TRIDENT"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Features in the dtype of the store, coordinates in int64 level-0 pixels; a blank slide is (0, D).

        The mpp lies in ``wsi_states/``, where TRIDENT keeps it.
        """
        grid = folder / (grid_name(out.bags) if out.bags else "case_codes")
        if out.bags is not None:
            write_bags(out.bags, grid, folder / "wsi_states")
        for codes in out.codes:
            place = grid / f"slide_features_{codes.key.encoder}"
            place.mkdir(parents=True)
            out.notes.append(f"{place.name} holds codes of cases, named by case; TRIDENT's own are of slides")
            for case_id, code_d in codes.by_case().items():
                with new_h5(place / f"{case_id}.h5") as opened:
                    dataset(opened, "features", code_d.shape, np.float32, {"name": case_id})[:] = code_d


def write_bags(bags: OutgoingBags, grid: Path, states: Path | None) -> Path:
    """The bags below `grid`; returns their folder. states: where the mpp of each slide goes."""
    place = grid / f"features_{bags.key.encoder}"
    place.mkdir(parents=True)
    if states is not None:
        states.mkdir()
    for slide in bags.slides:
        need_places(slide, "trident")
        with new_h5(place / f"{slide.name}.h5") as opened:
            features = dataset(
                opened,
                "features",
                (slide.tiles, slide.code_dim),
                slide.dtype,
                {"encoder": bags.key.encoder, "name": slide.name},
            )
            coords = dataset(opened, "coords", (slide.tiles, 2), np.int64, {})
            for part, bag in slide.parts():
                features[part], coords[part] = bag.features_nd, bag.coords_n2
                if not part.start:
                    coords.attrs.update(_facts(bags, slide, bag))
                    if states is not None and bag.mpp:
                        state = {"slide": {"name": slide.name}, "meta": {"mpp": bag.mpp}}
                        (states / f"{slide.name}__{bags.key.encoder_digest[:8]}.json").write_text(json.dumps(state))
    return place


def grid_name(bags: OutgoingBags) -> str:
    """As TRIDENT names the folder of a tiling."""
    tile_px = bags.slides[0].read(slice(0, 0)).tile_size_px
    magnification = target_magnification(bags.preprocessing)
    said = f"{magnification:g}x_" if magnification else ""
    return f"{said}{tile_px}px_{overlap_px(bags.preprocessing)}px_overlap"


def target_magnification(preprocessing: Mapping[str, Any]) -> float | None:
    """Of the tiles: what an import said, or 10 / mpp (20x is 0.5 um); None where neither is known."""
    said = preprocessing.get("magnification")
    if said:
        return float(said)
    mpp = preprocessing.get("target_mpp")
    return round(10 / mpp, 3) if mpp else None


def overlap_px(preprocessing: Mapping[str, Any]) -> int:
    """Of neighbouring tiles, in pixels of the tiles."""
    return int(preprocessing.get("overlap_px") or 0)


def _facts(bags: OutgoingBags, slide: OutgoingSlide, bag: Bag) -> dict[str, Any]:
    magnification = target_magnification(bags.preprocessing)
    return {
        "patch_size": bag.tile_size_px or _UNSAID,
        "patch_size_level0": bag.tile_size_level0_px or _UNSAID,
        "level0_magnification": _whole(bag.magnification),
        "target_magnification": _whole(magnification),
        "overlap": overlap_px(bags.preprocessing),
        "name": slide.name,
        "level0_width": _UNSAID,
        "level0_height": _UNSAID,
    }


def _whole(value: float | None) -> float | int | str:
    if value is None:
        return _UNSAID
    return int(value) if value == int(value) else value
