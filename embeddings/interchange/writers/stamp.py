"""STAMP: ``feats/<slide>.h5`` with places in um, ``patients/<patient>.h5``, ``slides.csv`` and ``clini.csv``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from guidestore.embeddings.interchange.outgoing import (
    CaseMeans,
    Outgoing,
    Writer,
    check_ids,
    need_mpp,
    need_places,
    write_csv,
)
from guidestore.embeddings.interchange.writers._h5 import dataset, new_h5


class Stamp(Writer):
    """Tile and patient features of STAMP 2, and its two tables."""

    tool = "STAMP"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Tile codes as the store has them (STAMP writes float16 and reads both), coordinates in float32 um.

        Slides of one patient stand side by side in the table: STAMP passes over others.

        A column ``label`` of ``clini.csv`` is the target; ``time`` and ``event`` that of survival.
        """
        means = CaseMeans()
        cases = {case_id for codes in out.codes for case_id in codes.codes.case_ids}
        if out.bags is not None:
            cases |= {slide.case_id for slide in out.bags.slides}
            check_ids((slide.name for slide in out.bags.slides), "slide id", "STAMP")
            out.left_out("slide", "without a tile", (slide.name for slide in out.bags.slides if not slide.tiles))
            _write_tiles(out, folder / "feats", means)
            rows = sorted((slide.case_id, f"{slide.name}.h5") for slide in out.bags.filled)
            write_csv(folder / "slides.csv", ("PATIENT", "FILENAME"), rows)
        check_ids(cases, "case id", "STAMP")
        _write_patients(out, folder / "patients", means)
        dotted = [case_id for case_id in sorted(cases) if "." in case_id]
        if dotted:
            out.notes.append(f"STAMP cuts a patient id at its dot when it encodes patients (such as {dotted[0]})")
        if out.labels is None:
            out.notes.append("no clini.csv: name a target with --target")
            return
        columns = out.labels.columns
        check_ids((str(value) for values in columns.values() for value in values.values()), "label", "STAMP")
        labelled = sorted(case for case in cases if any(case in values for values in columns.values()))
        out.left_out("case", "without a label (of clini.csv)", cases - set(labelled))
        rows = ([case, *(_cell(values.get(case)) for values in columns.values())] for case in labelled)
        write_csv(folder / "clini.csv", ("PATIENT", *columns), rows)


def _cell(value: object) -> object:
    return "" if value is None else int(value) if isinstance(value, bool) else value


def _write_tiles(out: Outgoing, folder: Path, means: CaseMeans) -> None:
    bags = out.need_bags("stamp")
    folder.mkdir()
    for slide in bags.filled:
        need_places(slide, "stamp")
        with new_h5(folder / f"{slide.name}.h5") as opened:
            feats = dataset(opened, "feats", (slide.tiles, slide.code_dim), slide.dtype, {})
            coords = dataset(opened, "coords", (slide.tiles, 2), np.float32, {})
            for part, bag in slide.parts():
                mpp = need_mpp(slide, bag, "stamp")
                feats[part] = bag.features_nd
                coords[part] = np.asarray(bag.coords_n2, np.float64) * mpp
                means.add(slide.case_id, bag.features_nd)
                if not part.start:
                    opened.attrs.update(
                        stamp_version=out.stamp_version,
                        extractor=bags.key.encoder,
                        unit="um",
                        tile_size_um=bag.tile_size_level0_px * mpp,
                        tile_size_px=bag.tile_size_px,
                        code_hash=bags.key.encoder_digest[:8],
                        feat_type="tile",
                    )


def _write_patients(out: Outgoing, folder: Path, means: CaseMeans) -> None:
    folder.mkdir()
    key = out.codes[0].key if out.codes else out.need_bags("stamp").key
    version = out.codes[0].version if out.codes else out.need_bags("stamp").version
    for case_id, code_d in out.pooled(means, "the codes in patients/").items():
        with new_h5(folder / f"{case_id}.h5") as opened:
            dataset(opened, "feats", (1, len(code_d)), np.float32, {})[0] = code_d
            opened.attrs.update(
                stamp_version=out.stamp_version,
                version=version,
                encoder=key.encoder if out.codes else f"mean_of_{key.encoder}",
                precision="torch.float32",
                code_hash=key.encoder_digest[:8],
                feat_type="patient",
            )
