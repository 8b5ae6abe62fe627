"""numpy: an .npz per slide, and one per set of case codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from guidestore.embeddings.interchange.outgoing import Outgoing, Writer
from guidestore.embeddings.interchange.writers._plain import FACTS, name_of, write_tables


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
                bag = slide.read(slice(None))
                arrays = {"features": bag.features_nd} | ({} if bag.coords_n2 is None else {"coords": bag.coords_n2})
                facts = {name: np.asarray(np.nan if (value := getattr(bag, name)) is None else value) for name in FACTS}
                np.savez(folder / "bags" / f"{slide.name}.npz", **(arrays | facts))  # pyright: ignore[reportArgumentType]
        for codes in out.codes:
            ids = np.array(codes.codes.case_ids)
            np.savez(folder / f"{name_of(codes)}.npz", case_id=ids, codes=codes.codes.codes_nd)
        write_tables(out, folder, "npz")
