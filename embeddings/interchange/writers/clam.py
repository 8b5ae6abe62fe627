"""CLAM: ``pt_files`` that its trainer reads, ``h5_files`` with places, ``dataset.csv`` and ``splits_<k>.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.interchange.halves import as_float32
from guidestore.embeddings.interchange.outgoing import (
    Outgoing,
    OutgoingSlide,
    Writer,
    check_ids,
    part_counts,
    write_csv,
)
from guidestore.embeddings.interchange.writers._h5 import dataset, new_h5
from guidestore.embeddings.interchange.writers._zip import write_tensor
from guidestore.embeddings.types import PARTS

K_SAMPLE = 8
"""Tiles that CLAM's instance loss takes from each end of a bag: one of fewer stops its training."""


class Clam(Writer):
    """What CLAM's trainer reads."""

    tool = "CLAM"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Features in float32, coordinates in int32 level-0 pixels. Splits are lists of slide ids."""
        bags = out.need_bags("clam")
        out.left_out("slide", "without a tile", (slide.name for slide in bags.slides if not slide.tiles))
        small = [slide.name for slide in bags.filled if slide.tiles < K_SAMPLE]
        out.left_out("slide", f"of fewer than {K_SAMPLE} tiles, which CLAM cannot train on", small)
        slides = [slide for slide in bags.slides if slide.tiles >= K_SAMPLE]
        classes, label_of = out.need_classes("clam")
        check_ids((slide.name for slide in slides), "slide id", "CLAM", "no numbers")
        check_ids((slide.case_id for slide in slides), "case id", "CLAM", "numbers")
        check_ids(classes, "class", "CLAM")
        out.left_out("case", "without a label", (slide.case_id for slide in slides if slide.case_id not in label_of))
        slides = [slide for slide in slides if slide.case_id in label_of]
        rows = [(slide.case_id, slide.name, label_of[slide.case_id]) for slide in slides]
        write_csv(folder / "dataset.csv", ("case_id", "slide_id", "label"), rows)
        for fold, parts in out.folds.items():
            _write_split(folder / f"splits_{fold}.csv", slides, parts)
        part_counts(out, out.folds, {slide.case_id for slide in slides})
        if not out.folds:
            out.notes.append("no splits_<k>.csv: name a split with --split")
        _write_bags(out, slides, folder)


def _write_split(file: Path, slides: Iterable[OutgoingSlide], parts: Mapping[str, str]) -> None:
    columns = [[slide.name for slide in slides if parts.get(slide.case_id) == part] for part in PARTS]
    rows = ((number, *row) for number, row in enumerate(zip_longest(*columns, fillvalue="")))
    write_csv(file, ("", *PARTS), rows)


def _write_bags(out: Outgoing, slides: Iterable[OutgoingSlide], folder: Path) -> None:
    pt_files, h5_files = folder / "pt_files", folder / "h5_files"
    pt_files.mkdir()
    h5_files.mkdir()
    placeless = []
    for slide in slides:
        tensor = pt_files / f"{slide.name}.pt"
        if not slide.has_places:
            placeless.append(slide.name)
            write_tensor(tensor, (slide.tiles, slide.code_dim), (bag.features_nd for _, bag in slide.parts()))
            continue
        with new_h5(h5_files / f"{slide.name}.h5") as opened:
            write_tensor(tensor, (slide.tiles, slide.code_dim), _into_h5(slide, opened))
    if placeless:
        out.left_out("file of h5_files", "since the bag has no coordinates", placeless)


def _into_h5(slide: OutgoingSlide, opened: Any) -> Iterator[np.ndarray]:
    """Writes the bag as it is read, and yields its features in float32."""
    features = dataset(opened, "features", (slide.tiles, slide.code_dim), np.float32, {})
    coords = dataset(opened, "coords", (slide.tiles, 2), np.int32, {})
    for part, bag in slide.parts():
        features_nd = as_float32(bag.features_nd)
        features[part], coords[part] = features_nd, bag.coords_n2
        yield features_nd
