"""A cohort from a folder in the layout of the RadPath challenge (CPM-RadPath 2019 and 2020).

``Radiology/<ID>/<ID>_{t1,t1ce,t2,flair}.nii.gz``, ``Pathology/<ID>.tiff``, label tables
``CPM_RadPath_20xx_ID,class,age_in_days``; those called ``split_<k>_{train,val,test}.csv`` make fold k - 1 of the split
``published``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from embeddings.errors import InvalidInputError
from embeddings.types import check_name
from warehouse.cohorts.cohort import CohortTables
from warehouse.cohorts.images import Progress, describe_images
from warehouse.cohorts.sources import SourceTable, read_source

SEQUENCES = ("t1", "t1ce", "t2", "flair")
CLASSES = ("G", "O", "A")
"""Glioblastoma, oligodendroglioma, astrocytoma, in the order of the paper's label codes."""
SPLIT = "published"
_ID_COLUMNS = ("CPM_RadPath_2019_ID", "CPM_RadPath_2020_ID")
_SPLIT_FILE = re.compile(r"split_(\d+)_(train|val|test)\.csv")


def read_radpath(
    folder: Path | str, *, cohort: str = "radpath", labels: Path | str | None = None, progress: Progress | None = None
) -> CohortTables:
    """The tables of the cohort; every image file that is there is hashed, the missing ones are an issue.

    `labels`: the folder of the label and split tables, or one label table; None: `folder` itself. Raises
    InvalidInputError on a folder of another layout and on tables that contradict each other.
    """
    folder = Path(folder).absolute()
    if not ((folder / "Radiology").is_dir() or (folder / "Pathology").is_dir()):
        raise InvalidInputError(f"{folder} has neither Radiology/ nor Pathology/; name the folder that holds them")
    place = Path(labels).absolute() if labels else folder
    files = sorted(place.glob("*.csv")) if place.is_dir() else [place]
    tables = {file: _read(file) for file in files}
    if not tables:
        raise InvalidInputError(f"{place} has no label table (*.csv with the column {_ID_COLUMNS[0]} and class)")
    classes, splits = _labels(tables), _splits(tables)
    imaged = {path.name for path in (folder / "Radiology").glob("*") if path.is_dir()}
    slides = {path.stem for path in (folder / "Pathology").glob("*.tiff")}
    cases = sorted(imaged | slides | set(classes))
    for case_id in cases:
        check_name(case_id, "case id")
    described, issues = describe_images([image for case_id in cases for image in _images(folder, case_id)], progress)
    return CohortTables(
        cohort,
        cohorts=[{"layout": "radpath", "source": str(folder), "pseudonymized": False, "note": ""}],
        targets=[{"target": "class", "class_index": index, "class": name} for index, name in enumerate(CLASSES)],
        cases=[{"case_id": case_id} for case_id in cases],
        labels=[{"case_id": case_id, "target": "class", "class": name} for case_id, name in sorted(classes.items())],
        splits=splits,
        images=described,
        issues=tuple(issues),
    )


def _images(folder: Path, case_id: str) -> list[dict[str, Any]]:
    files = {f"mri_{name}": folder / "Radiology" / case_id / f"{case_id}_{name}.nii.gz" for name in SEQUENCES}
    files["histology"] = folder / "Pathology" / f"{case_id}.tiff"
    return [
        {"case_id": case_id, "image_id": case_id, "modality": modality, "path": str(file), "mpp": None}
        for modality, file in files.items()
    ]


def _read(file: Path) -> tuple[str, SourceTable]:
    """The id column and the table."""
    table = read_source(file, ("class",))
    for column in _ID_COLUMNS:
        if column in table.columns:
            return column, table
    raise InvalidInputError(f"{file} has neither the column {' nor '.join(_ID_COLUMNS)}; it is no RadPath label table")


def _labels(tables: dict[Path, tuple[str, SourceTable]]) -> dict[str, str]:
    classes: dict[str, str] = {}
    for column, table in tables.values():
        for row in table:
            if row["class"] not in CLASSES:
                raise InvalidInputError(f"{row.where}, column class: {row['class']!r} is none of {', '.join(CLASSES)}")
            if classes.setdefault(row[column], row["class"]) != row["class"]:
                raise InvalidInputError(
                    f"{row.where}, column class: case {row[column]} is {row['class']} here and "
                    f"{classes[row[column]]} in an earlier table; correct one of them"
                )
    return classes


def _splits(tables: dict[Path, tuple[str, SourceTable]]) -> list[dict[str, Any]]:
    rows, parts = [], {}
    for file, (column, table) in tables.items():
        match = _SPLIT_FILE.fullmatch(file.name)
        if not match:
            continue
        fold, part = int(match[1]) - 1, match[2]
        for row in table:
            case_id = row[column]
            before = parts.setdefault((fold, case_id), part)
            if before != part:
                raise InvalidInputError(
                    f"{row.where}, column {column}: case {case_id} is in {part} here and in {before} of the same "
                    "split; a case has one part"
                )
            rows.append(
                {"split": SPLIT, "fold": fold, "case_id": case_id, "part": part, "origin": f"given: {file.name}"}
            )
    return rows
