"""A cohort from plain tables: a manifest of images, labels, splits; CSV or Parquet.

manifest: ``case_id, modality, path[, image_id, mpp]``, paths relative to the manifest's folder, mpp in um per pixel.
labels: ``case_id, <target>…``, an empty cell is an unlabelled case. splits: ``case_id, split, fold, part``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.interchange.table import Table, TableRow, read_table
from guidestore.embeddings.types import PARTS, check_name
from guidestore.warehouse.cohorts.cohort import CohortTables
from guidestore.warehouse.cohorts.images import describe_images
from guidestore.warehouse.cohorts.layout import HidingLayout, Reading


class Manifest(HidingLayout):
    """A cohort from tables: images, labels and splits, each a CSV or Parquet file."""

    images: Path | None = Field(default=None, description="CSV/Parquet: case_id, modality, path[, image_id, mpp].")
    labels: Path | None = Field(default=None, description="CSV/Parquet: case_id and a column per target.")
    splits: Path | None = Field(default=None, description="CSV/Parquet: case_id, split, fold, part.")
    classes: tuple[str, ...] = Field(
        default=(), description="TARGET=A,B,C fixes the class order; repeat per target. Others are sorted."
    )

    note: str = Field(default="", description="A sentence about the cohort, to be kept with it.")

    def read(self, reading: Reading) -> CohortTables:
        given = self.images or self.labels or self.splits
        if not given:
            raise InvalidInputError(f"nothing to add to cohort {reading.cohort}: give a manifest, labels or splits")
        images = _images(read_table(self.images, ("case_id", "modality", "path"))) if self.images else []
        cases = {row["case_id"] for row in images}

        def known(row: TableRow) -> str:
            case_id = _name(row, "case_id", "case id")
            if case_id not in cases and not reading.is_known(case_id):
                raise InvalidInputError(
                    f"{row.where}, column case_id: {case_id} is no case of cohort {reading.cohort}; add its images to "
                    "the manifest, or take the row out"
                )
            return case_id

        orders = _class_orders(self.classes)
        labels, targets = _labels(read_table(self.labels, ("case_id",)), known, orders) if self.labels else ([], [])
        splits = _splits(read_table(self.splits, ("case_id", "split", "fold", "part")), known) if self.splits else []
        described, issues = describe_images(images, reading.progress)
        return CohortTables(
            reading.cohort,
            cohorts=[
                {"layout": "manifest", "source": str(given.absolute()), "pseudonymized": False, "note": self.note}
            ],
            targets=targets,
            cases=[{"case_id": case_id} for case_id in sorted(cases)],
            labels=labels,
            splits=splits,
            images=described,
            issues=tuple(issues),
        )


def _class_orders(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Target -> its classes, of TARGET=A,B,C."""
    orders = {}
    for text in texts:
        target, equals, names = text.partition("=")
        if not equals or not names:
            raise InvalidInputError(f"--classes {text!r}: write TARGET=CLASS,CLASS,…")
        orders[target] = tuple(names.split(","))
    return orders


def _name(row: TableRow, column: str, what: str) -> str:
    try:
        return check_name(row[column], what)
    except InvalidNameError as error:
        raise InvalidNameError(f"{row.where}, column {column}: {error}") from error


def _images(table: Table) -> list[dict[str, Any]]:
    folder = table.file.absolute().parent
    seen: dict[tuple[str, str, str], TableRow] = {}
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


def _mpp(row: TableRow) -> float | None:
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
    table: Table, known: Callable[[TableRow], str], classes: Mapping[str, Sequence[str]]
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
    labels: dict[tuple[str, str], tuple[str, TableRow]] = {}
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


def _splits(table: Table, known: Callable[[TableRow], str]) -> list[dict[str, Any]]:
    parts: dict[tuple[str, int, str], tuple[str, TableRow]] = {}
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
