"""numpy: an .npz per slide, and one per set of case codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from guidestore.embeddings.interchange.outgoing import Outgoing, OutgoingSlide, Writer
from guidestore.embeddings.interchange.writers._plain import FACTS, name_of, write_tables
from guidestore.embeddings.interchange.writers._zip import NpzArray, write_npz


class Npz(Writer):
    """Arrays without pickle."""

    tool = "numpy"
    keeps_nan = True

    def write(self, out: Outgoing, folder: Path) -> None:
        """``bags/<slide>.npz`` with ``features`` (n, d), ``coords`` (n, 2) int32 level-0 pixels and the slide's facts.

        ``<modality>_<encoder>.npz`` with ``case_id`` (n,) and ``codes`` (n, d) float32.
        """
        if out.bags is not None:
            (folder / "bags").mkdir()
            for slide in out.bags.slides:
                write_npz(folder / "bags" / f"{slide.name}.npz", _arrays(slide))
        for codes in out.codes:
            ids = np.array(codes.codes.case_ids)
            np.savez(folder / f"{name_of(codes)}.npz", case_id=ids, codes=codes.codes.codes_nd)
        write_tables(out, folder, "npz")


def _arrays(slide: OutgoingSlide) -> Iterator[NpzArray]:
    coords_n2 = np.empty((slide.tiles, 2), np.int32)

    def features() -> Iterator[np.ndarray]:
        for part, bag in slide.parts():
            if bag.coords_n2 is not None:
                coords_n2[part] = bag.coords_n2
            yield bag.features_nd

    yield NpzArray("features", (slide.tiles, slide.code_dim), slide.dtype, features())
    if slide.has_places:
        yield NpzArray("coords", coords_n2.shape, coords_n2.dtype, [coords_n2])
    facts = slide.read(slice(0, 0))
    for name in FACTS:
        value = np.asarray(np.nan if (said := getattr(facts, name)) is None else said)
        yield NpzArray(name, (), value.dtype, [value])
