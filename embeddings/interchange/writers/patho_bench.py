"""Patho-Bench: TRIDENT's features, ``pooled/<case>.h5``, ``k=all.tsv`` and ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.outgoing import (
    CaseMeans,
    Outgoing,
    Writer,
    check_ids,
    part_counts,
    write_csv,
)
from guidestore.embeddings.interchange.writers import trident
from guidestore.embeddings.interchange.writers._h5 import dataset, new_h5
from guidestore.embeddings.types import PARTS

TASK = "task"
"""The column of the labels, whatever the target is called: its readers ask for it by name."""
_UNUSED = "unused"
"""Of a case that a fold does not assign."""


class PathoBench(Writer):
    """A task of Patho-Bench."""

    tool = "Patho-Bench"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Cases with tiles (or a code), a label and a part are in the split; ``config.yaml`` names the target."""
        import yaml

        classes, label_of = out.need_classes("patho-bench")
        folds = out.need_folds("patho-bench")
        slides_of: dict[str, list[str]] = {}
        means = CaseMeans()
        if out.bags is not None:
            trident.write_bags(out.bags, folder / trident.grid_name(out.bags), None)
            out.left_out("slide", "without a tile", (slide.name for slide in out.bags.slides if not slide.tiles))
            _check_tile_sizes(out)
            for slide in out.bags.filled:
                slides_of.setdefault(slide.case_id, []).append(slide.name)
                if not out.codes:
                    for _, bag in slide.parts():
                        means.add(slide.case_id, bag.features_nd)
        pooled = out.pooled(means, "the codes in pooled/")
        (folder / "pooled").mkdir()
        for case_id, code_d in pooled.items():
            with new_h5(folder / "pooled" / f"{case_id}.h5") as opened:
                dataset(opened, "features", (1, len(code_d)), np.float32, {})[0] = code_d
        cases = sorted(slides_of or pooled)
        out.left_out("case", "without a label", (case for case in cases if case not in label_of))
        unassigned = [case for case in cases if not any(case in parts for parts in folds.values())]
        out.left_out("case", f"that split {out.split} does not assign", unassigned)
        cases = [case for case in cases if case in label_of and case not in unassigned]
        part_counts(out, folds, set(cases))
        check_ids(cases, "case id", "Patho-Bench")
        check_ids((label_of[case] for case in cases), "class", "Patho-Bench")
        rows = [
            (case, slide, label_of[case], *(parts.get(case, _UNUSED) for parts in folds.values()))
            for case in cases
            for slide in slides_of.get(case, [case])
        ]
        columns = ("case_id", "slide_id", TASK, *(f"fold_{number}" for number in range(len(folds))))
        write_csv(folder / "k=all.tsv", columns, rows, delimiter="\t")
        config = {
            "sample_col": "case_id",
            "extra_cols": [],
            "task_col": TASK,
            "label_dict": dict(enumerate(_as_read(classes))),
            "metrics": ["bacc", "macro-ovr-auc"],
            "target": out.labels.target if out.labels else "",
            "parts": list(PARTS),
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _as_read(classes: Sequence[str]) -> list[Any]:
    """Class names as pandas reads a column of them: digits become numbers."""
    try:
        return [int(name) for name in classes]
    except ValueError:
        return list(classes)


def _check_tile_sizes(out: Outgoing) -> None:
    """Raises InvalidInputError where slides of one case differ in it: Patho-Bench combines them."""
    sizes: dict[str, Mapping[int, str]] = {}
    for slide in out.need_bags("patho-bench").filled:
        size = slide.read(slice(0, 0)).tile_size_level0_px
        seen = sizes.setdefault(slide.case_id, {size: slide.name})
        if size not in seen:
            other, name = next(iter(seen.items()))
            raise InvalidInputError(
                f"case {slide.case_id}: tiles are {other} level-0 pixels on slide {name} and {size} on {slide.name}"
                ", and Patho-Bench refuses a case of both; export as trident"
            )
