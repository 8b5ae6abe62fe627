"""A cohort from plain tables: a manifest of images, labels, splits; CSV or Parquet.

manifest: ``case_id, modality, path[, image_id, mpp]``, paths relative to the manifest's folder, mpp in um per pixel.
labels: ``case_id, <target>…``, an empty cell is an unlabelled case. splits: ``case_id, split, fold, part``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import PARTS, check_name
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.images import Progress, describe_images
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.cohorts.sources import SourceRow, SourceTable, read_source


def add_manifest(
    store: EmbeddingStore,
    cohort: str,
    *,
    manifest: Path | str | None = None,
    labels: Path | str | None = None,
    splits: Path | str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    note: str = "",
    pseudonyms: Pseudonyms | None = None,
    progress: Progress | None = None,
) -> CohortReport:
    """Reads the tables that are given and commits them as `cohort`, or adds them to it, all or nothing.

    Raises InvalidInputError naming file, row and column. Missing image files are issues of the report.
    """
    rows = store.snapshot().rows("cases", cohort=check_name(cohort, "cohort"))
    cases = frozenset(rows["case_id"].to_pylist())
    name_of = pseudonyms.case if pseudonyms else str
    tables = read_manifest(
        cohort,
        manifest=manifest,
        labels=labels,
        splits=splits,
        classes=classes,
        note=note,
        is_known=lambda case_id: name_of(case_id) in cases,
        progress=progress,
    )
    return add_cohort(store, pseudonyms.hide(store, tables) if pseudonyms else tables)


def read_manifest(
    cohort: str,
    *,
    manifest: Path | str | None = None,
    labels: Path | str | None = None,
    splits: Path | str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    note: str = "",
    is_known: Callable[[str], bool] = lambda case_id: False,
    progress: Progress | None = None,
) -> CohortTables:
    """The tables of a cohort, checked; every image file that is there is hashed.

    `classes`: target -> its classes in their fixed order; other targets get theirs sorted, as numbers where all are.
    `is_known`: whether a case is in the store already. `progress`: called with files done and all files.
    """
    if not (manifest or labels or splits):
        raise InvalidInputError(f"nothing to add to cohort {cohort}: give a manifest, labels or splits")
    check_name(cohort, "cohort")
    images = _images(read_source(manifest, ("case_id", "modality", "path"))) if manifest else []
    cases = {row["case_id"] for row in images}

    def known(row: SourceRow) -> str:
        case_id = _name(row, "case_id", "case id")
        if case_id not in cases and not is_known(case_id):
            raise InvalidInputError(
                f"{row.where}, column case_id: {case_id} is no case of cohort {cohort}; add its images to the "
                "manifest, or take the row out"
            )
        return case_id

    label_rows, targets = _labels(read_source(labels, ("case_id",)), known, classes or {}) if labels else ([], [])
    split_rows = _splits(read_source(splits, ("case_id", "split", "fold", "part")), known) if splits else []
    described, issues = describe_images(images, progress)
    source = Path(manifest or labels or splits or "").absolute()
    return CohortTables(
        cohort,
        cohorts=[{"layout": "manifest", "source": str(source), "pseudonymized": False, "note": note}],
        targets=targets,
        cases=[{"case_id": case_id} for case_id in sorted(cases)],
        labels=label_rows,
        splits=split_rows,
        images=described,
        issues=tuple(issues),
    )


def _name(row: SourceRow, column: str, what: str) -> str:
    try:
        return check_name(row[column], what)
    except InvalidNameError as error:
        raise InvalidNameError(f"{row.where}, column {column}: {error}") from error


def _images(table: SourceTable) -> list[dict[str, Any]]:
    folder = table.file.absolute().parent
    seen: dict[tuple[str, str, str], SourceRow] = {}
    images = []
    for row in table:
        case_id, modality = _name(row, "case_id", "case id"), _name(row, "modality", "modality")
        image_id = _name(row, "image_id", "image id") if row.values.get("image_id") else case_id
        if not row["path"] or "\0" in row["path"]:
            raise InvalidInputError(f"{row.where}, column path: case {case_id} has no usable path; give the image file")
        before = seen.setdefault((case_id, modality, image_id), row)
        if before is not row:
            raise InvalidInputError(
                f"{row.where}, column {'image_id' if 'image_id' in table.columns else 'case_id'}: image {image_id} "
                f"({modality}) of case {case_id} stands in row {before.number} already; give each image of a case and "
                "modality its own image_id"
            )
        images.append(
            {
                "case_id": case_id,
                "modality": modality,
                "image_id": image_id,
                "path": str(folder / row["path"]),
                "mpp": _mpp(row),
            }
        )
    return images


def _mpp(row: SourceRow) -> float | None:
    text = row.values.get("mpp", "")
    if not text:
        return None
    try:
        mpp = float(text)
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        raise InvalidInputError(
            f"{row.where}, column mpp: {text!r} is no number of um per pixel; leave it empty if unknown"
        )
    return mpp


def _labels(
    table: SourceTable, known: Callable[[SourceRow], str], classes: Mapping[str, Sequence[str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of kinds labels and targets."""
    names = [name for name in table.columns if name != "case_id"]
    for name in names:
        check_name(name, f"target (a column of {table.file.name})")
    for name in classes:
        if name not in names:
            raise InvalidInputError(
                f"{table.file} has no column {name!r}, whose classes were given; it has {', '.join(names)}"
            )
    labels: dict[tuple[str, str], tuple[str, SourceRow]] = {}
    for row in table:
        case_id = known(row)
        for name in names:
            text = row[name]
            if not text:
                continue
            if name in classes and text not in classes[name]:
                raise InvalidInputError(
                    f"{row.where}, column {name}: {text!r} is none of the classes {', '.join(classes[name])}"
                )
            before, where = labels.setdefault((case_id, name), (text, row))
            if before != text:
                raise InvalidInputError(
                    f"{row.where}, column {name}: case {case_id} is {text!r} here and {before!r} in row "
                    f"{where.number}; give it one label"
                )
    targets = []
    for name in names:
        order = list(classes.get(name) or sorted_classes({text for (_, n), (text, _) in labels.items() if n == name}))
        targets += [{"target": name, "class_index": index, "class": text} for index, text in enumerate(order)]
    rows = [
        {"case_id": case, "target": name, "class": text}
        for (case, name), (text, _) in sorted(labels.items(), key=_first)
    ]
    return rows, targets


def _first(item: tuple[tuple[str, str], Any]) -> tuple[str, str]:
    return item[0]


def sorted_classes(names: set[str]) -> list[str]:
    """Class names in order: as numbers where all are numbers, so that 10 comes after 9."""
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def _splits(table: SourceTable, known: Callable[[SourceRow], str]) -> list[dict[str, Any]]:
    parts: dict[tuple[str, int, str], tuple[str, SourceRow]] = {}
    for row in table:
        case_id, split = known(row), _name(row, "split", "split")
        if not row["fold"].isdecimal():
            raise InvalidInputError(f"{row.where}, column fold: {row['fold']!r} is no fold; folds count from 0")
        if row["part"] not in PARTS:
            raise InvalidInputError(f"{row.where}, column part: {row['part']!r} is no part; use {', '.join(PARTS)}")
        fold = int(row["fold"])
        before, where = parts.setdefault((split, fold, case_id), (row["part"], row))
        if before != row["part"]:
            raise InvalidInputError(
                f"{row.where}, column part: case {case_id} is in {row['part']} here and in {before} in row "
                f"{where.number} of {split}/{fold}; a case has one part in a fold"
            )
    origin = f"given: {table.file.name}"
    return [
        {"split": split, "fold": fold, "case_id": case_id, "part": part, "origin": origin}
        for (split, fold, case_id), (part, _) in parts.items()
    ]
