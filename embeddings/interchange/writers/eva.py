"""eva: ``bags/`` and ``codes/``, each with ``manifest.csv`` and tensors in ``.pt``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from guidestore.embeddings.interchange.halves import as_float32
from guidestore.embeddings.interchange.outgoing import (
    CaseMeans,
    Outgoing,
    OutgoingSlide,
    Writer,
    check_ids,
    part_counts,
    write_csv,
)
from guidestore.embeddings.interchange.writers._zip import write_tensor
from guidestore.embeddings.types import PARTS

_COLUMNS = ("origin", "embeddings", "target", "split", "wsi_id")


class Eva(Writer):
    """Embeddings of eva, of slides and of cases."""

    tool = "eva"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Tensors in float32; the target is the class's place in the target's order, which ``classes.csv`` says.

        ``manifest.csv`` is of the first fold, ``manifest_<k>.csv`` of each other. Bags have no places there.
        """
        classes, label_of = out.need_classes("eva")
        folds = out.need_folds("eva")
        means = CaseMeans()
        bags: list[tuple[str, str, str]] = []  # origin, file, case
        if out.bags is not None:
            out.left_out("slide", "without a tile", (slide.name for slide in out.bags.slides if not slide.tiles))
            bags = [(slide.name, f"{slide.name}.pt", slide.case_id) for slide in out.bags.filled]
            _write_bags(out, folder / "bags", means)
            if any(slide.has_places for slide in out.bags.filled):
                out.notes.append("coordinates are left out: eva's bags have none")
        pooled = out.pooled(means, "the codes in codes/")
        codes = [(case_id, f"{case_id}.pt", case_id) for case_id in pooled]
        _write_codes(folder / "codes", pooled)
        cases = {case for _, _, case in (*bags, *codes)}
        check_ids(cases, "case id", "eva", "numbers")
        out.left_out("case", "without a label", cases - set(label_of))
        for number, parts in enumerate(folds.values()):
            name = f"manifest_{number}.csv" if number else "manifest.csv"
            for place, rows in (("bags", bags), ("codes", codes)):
                if rows:
                    write_csv(folder / place / name, _COLUMNS, _manifest(rows, classes, label_of, parts))
        out.left_out(
            "case", f"that split {out.split} does not assign", cases - {case for p in folds.values() for case in p}
        )
        part_counts(out, folds, cases & set(label_of))
        write_csv(folder / "classes.csv", ("target", "class"), enumerate(classes))


def _manifest(
    rows: Iterable[tuple[str, str, str]],
    classes: tuple[str, ...],
    label_of: Mapping[str, str],
    parts: Mapping[str, str],
) -> Iterable[tuple[object, ...]]:
    for origin, file, case in rows:
        if case in label_of and parts.get(case) in PARTS:
            yield origin, file, classes.index(label_of[case]), parts[case], case


def _write_bags(out: Outgoing, folder: Path, means: CaseMeans) -> None:
    folder.mkdir()
    for slide in out.need_bags("eva").filled:
        write_tensor(folder / f"{slide.name}.pt", (slide.tiles, slide.code_dim), _summed(slide, means))


def _summed(slide: OutgoingSlide, means: CaseMeans) -> Iterator[np.ndarray]:
    """The features in float32, each part of which goes into the mean of the case as it is read."""
    for _, bag in slide.parts():
        features_nd = as_float32(bag.features_nd)
        means.add(slide.case_id, features_nd)
        yield features_nd


def _write_codes(folder: Path, codes: Mapping[str, np.ndarray]) -> None:
    folder.mkdir()
    for case_id, code_d in codes.items():
        write_tensor(folder / f"{case_id}.pt", code_d.shape, [code_d])
