"""A cohort from plain tables: a manifest of images, labels, splits; CSV, Excel or Parquet.

manifest: ``case_id, modality, path[, image_id, mpp]``, paths relative to the manifest's folder, mpp in um per pixel.
labels: ``case_id, <target>…``, an empty cell is an unlabelled case; several columns may be one target.
splits: ``case_id, split, fold, part``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.interchange.table import ID_COLUMN, MISSING, Table, TableRow, read_table, words
from guidestore.embeddings.pretraining import check_collection
from guidestore.embeddings.remote import FileOrURL, on_this_machine, shown, url_of
from guidestore.embeddings.types import PARTS, check_name
from guidestore.warehouse.cohorts.cohort import CohortIssue, CohortTables
from guidestore.warehouse.cohorts.images import describe_images
from guidestore.warehouse.cohorts.label_cells import LabelsRead
from guidestore.warehouse.cohorts.label_rules import LabelRules
from guidestore.warehouse.cohorts.labels import read_labels
from guidestore.warehouse.cohorts.layout import HidingLayout, Reading, slide_mpp_field

_IMAGE_COLUMNS = (ID_COLUMN, "modality", "path", "image_id", "mpp")
_MOST_ZEROS = 10
ONLY_SPLIT = "given"
"""Name of the split of a table that says of each case its part alone."""


class Manifest(HidingLayout):
    """A cohort from tables: images, labels and splits, each a CSV, Excel or Parquet file.

    $ guidestore cohort add manifest glioma --images images.csv --labels labels.csv
    """

    images: Path | None = Field(default=None, description="Table: case_id, modality, path[, image_id, mpp].")
    labels: FileOrURL = Field(default=None, description="Table: case_id and a column per target.")
    splits: FileOrURL = Field(
        default=None,
        description="Table: case_id, split, fold, part; or case_id and split, which is train, val or test.",
    )
    classes: tuple[str, ...] = Field(
        default=(),
        description="TARGET=A,B,C fixes the class order, TARGET=@FILE takes it from a file, a class a line; repeat per "
        "target, or per class. Others are sorted.",
    )
    merge: tuple[str, ...] = Field(
        default=(), description="TARGET=NAME,WORD,… makes words one class; TARGET alone all that are alike."
    )
    kind: tuple[str, ...] = Field(
        default=(),
        description="TARGET=KIND, or KIND of all labels: classes, ordinal (grades), multilabel (several labels in a "
        "cell) or value (a measurement).",
    )
    order: tuple[str, ...] = Field(default=(), description="TARGET=A,B,C are grades, the lowest first.")
    survival: tuple[str, ...] = Field(
        default=(), description="TARGET=TIME_COLUMN,EVENT_COLUMN: a time, and whether it ended in the event (1, 0)."
    )
    event: tuple[str, ...] = Field(
        default=(), description="TARGET=WORD,… of its event column mean the event; the others are censored."
    )
    multilabel: tuple[str, ...] = Field(
        default=(), description="TARGET=COLUMN,COLUMN or 'x_*': of each column a case has the label (1), or not (0)."
    )
    separator: str = Field(
        default="", description="Between the labels of a cell; default: the one of ; | , that is there."
    )
    unit: tuple[str, ...] = Field(default=(), description="TARGET=UNIT of a value, or of a survival time.")
    missing: tuple[str, ...] = Field(
        default=MISSING,
        description="Words that are no label: A,B; default: NA, nan, NULL, -, ?, -999 and the like, "
        "which `default,A` keeps.",
    )
    id_column: str = Field(default=ID_COLUMN, description="Column of the case ids, where a table has it.")
    columns: tuple[str, ...] = Field(default=(), description="Columns of the labels that are targets: A,B or 'x_*'.")
    drop: tuple[str, ...] = Field(default=(), description="Columns of the labels that are not: A,B or 'x_*'.")
    slide_mpp: float | None = slide_mpp_field()
    note: str = Field(default="", description="A sentence about the cohort, to be kept with it.")
    source: str = Field(
        default="",
        description="Public collection that the cases are of (tcga, cptac, gtex, panda, …): encoders that were "
        "pretrained on "
        "it are then named.",
    )

    def read(self, reading: Reading) -> CohortTables:
        given = self.images or self.labels or self.splits
        if not given:
            raise InvalidInputError(f"nothing to add to cohort {reading.cohort}: give a manifest, labels or splits")
        rules = LabelRules.of(
            classes=self.classes,
            merged=self.merge,
            kinds=self.kind,
            missing=words(self.missing),
            order=self.order,
            survival=self.survival,
            event=self.event,
            multilabel=self.multilabel,
            separator=self.separator,
            unit=self.unit,
        )
        images = self._images(self.images) if self.images else []
        cases = {row["case_id"] for row in images}

        def known(row: TableRow) -> str:
            case_id = _name(row, "case_id", "case id")
            if case_id not in cases and not reading.is_known(case_id):
                if near := _near(case_id, reading.is_known):
                    raise InvalidInputError(
                        f"{row.where}, column case_id: {case_id} is no case of cohort {reading.cohort}, and {near} is "
                        "one; write an id alike in all tables, as text"
                    )
                raise InvalidInputError(
                    f"{row.where}, column case_id: {case_id} is no case of cohort {reading.cohort}; add its images to "
                    "the manifest, bring its codes by `guidestore import`, or take the row out"
                )
            return case_id

        labels = self._labels(self.labels, rules, reading, known) if self.labels else LabelsRead()
        splits = _splits(self._table(self.splits, "split"), known) if self.splits else []
        described, issues = describe_images(images, reading, self.slide_mpp)
        if images and not described:
            named = "its image file" if len(images) == 1 else f"any of its {len(images)} image files"
            raise InvalidInputError(
                f"{self.images} does not find {named}, such as {images[0]['path']}; correct the paths, which start "
                "from the table's folder, or put the files in place"
            )
        return CohortTables(
            reading.cohort,
            cohorts=[
                {
                    "layout": "manifest",
                    "source": shown(given) if url_of(given) else str(given.absolute()),
                    "pseudonymized": False,
                    "note": self.note,
                    "collection": self.source and check_collection(self.source),
                }
            ],
            targets=labels.targets,
            cases=[{"case_id": case_id} for case_id in sorted(cases)],
            labels=labels.labels,
            unlabelled=labels.unlabelled,
            splits=splits,
            images=described,
            issues=(*issues, *labels.issues),
        )

    def _images(self, file: Path) -> list[dict[str, Any]]:
        file = on_this_machine(file, "a table of images, whose paths start from its folder,")
        return _images(self._table(file, "modality", "path"))

    def _labels(self, file: Path, rules: LabelRules, reading: Reading, known: Callable[[TableRow], str]) -> LabelsRead:
        table = self._table(file)
        names = table.chosen(words(self.columns), words(self.drop), (ID_COLUMN,))
        read = read_labels(table, names, known, rules, reading)
        left_out = [name for name in table.saved_indexes if name not in names]
        notes = [
            *table.notes,
            *(f"column {name} of {table.file.name} is a saved index, and left out" for name in left_out),
        ]
        read.issues[:0] = [CohortIssue("table", note, ()) for note in notes]
        return read

    def _table(self, file: Path, *required: str) -> Table:
        """The table in a file, its ids in the column case_id."""
        table = read_table(file, id_column=self.id_column, may_be_empty=True)
        if self.id_column in table.columns and self.id_column != ID_COLUMN:
            table = table.renamed(self.id_column, ID_COLUMN)
        table.check_columns((ID_COLUMN, *required))
        table.check_rows()
        return table


def _near(case_id: str, is_known: Callable[[str], bool]) -> str:
    """The id of a case that this one may be, written otherwise or rewritten by a program; '' where there is none."""
    whole = case_id.removesuffix(".0")
    padded = (whole.zfill(len(whole) + more) for more in range(1, _MOST_ZEROS)) if whole.isdecimal() else ()
    forms = (whole, whole.upper(), whole.lower(), whole.lstrip("0"), *padded)
    return next((form for form in forms if form not in ("", case_id) and is_known(form)), "")


def _name(row: TableRow, column: str, what: str) -> str:
    try:
        return check_name(row[column], what)
    except InvalidNameError as error:
        raise InvalidNameError(f"{row.where}, column {column}: {error}") from error


def _images(table: Table) -> list[dict[str, Any]]:
    for column in table.columns:
        name = column.casefold()
        if column != name and name in _IMAGE_COLUMNS:  # passed over, it would say nothing
            raise InvalidInputError(
                f"{table.file} has the column {column!r}; call it {name}, as it is read by that name"
            )
    folder = table.file.absolute().parent
    seen: dict[tuple[str, str, str], TableRow] = {}
    images = []
    for row in table:
        case_id, modality = _name(row, "case_id", "case id"), _name(row, "modality", "modality")
        image_id = _name(row, "image_id", "image id") if row.values.get("image_id") else case_id
        if not row["path"] or "\0" in row["path"]:
            raise InvalidInputError(f"{row.where}, column path: case {case_id} has no usable path; give the image file")
        path = _place(folder, str(on_this_machine(row["path"], f"{row.where}, column path: an image")))
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
                "path": str(path),
                "mpp": _mpp(row),
            }
        )
    return images


def _place(folder: Path, text: str) -> Path:
    """The file that a table in `folder` names. ``~`` and Windows' separators count where no file has that name."""
    path = folder / text
    if os.path.lexists(path):
        return path
    if text.startswith("~"):
        return folder / os.path.expanduser(text)  # noqa: PTH111 - Path's raises for a user that is not there
    as_here = folder / text.replace("\\", "/")
    return as_here if os.path.lexists(as_here) else path


def _mpp(row: TableRow) -> float | None:
    text = row.values.get("mpp", "")
    if not text or text in MISSING:
        return None
    try:
        mpp = float(text.replace(",", "."))  # a comma never means thousands of um
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        raise InvalidInputError(
            f"{row.where}, column mpp: {text!r} is no number of um per pixel; leave it empty if unknown"
        )
    return mpp


def _splits(table: Table, known: Callable[[TableRow], str]) -> list[dict[str, Any]]:
    parts: dict[tuple[str, int, str], tuple[str, TableRow]] = {}
    is_only_one = not {"fold", "part"} & set(table.columns)  # as in eva's manifest, whose column split holds the part
    if not is_only_one:
        table.check_columns((ID_COLUMN, "split", "fold", "part"))
    of_part = "split" if is_only_one else "part"
    for row in table:
        case_id, split = known(row), ONLY_SPLIT if is_only_one else _name(row, "split", "split")
        fold_text, part = "0" if is_only_one else row["fold"], row[of_part]
        if not fold_text.isdecimal():
            raise InvalidInputError(f"{row.where}, column fold: {fold_text!r} is no fold; folds count from 0")
        if part not in PARTS:
            raise InvalidInputError(f"{row.where}, column {of_part}: {part!r} is no part; use {', '.join(PARTS)}")
        fold = int(fold_text)
        before, where = parts.setdefault((split, fold, case_id), (part, row))
        if before != part:
            raise InvalidInputError(
                f"{row.where}, column {of_part}: case {case_id} is in {part} here and in {before} in row "
                f"{where.number} of {split}/{fold}; a case has one part in a fold"
            )
    origin = f"given: {table.file.name}"
    return [
        {"split": split, "fold": fold, "case_id": case_id, "part": part, "origin": origin}
        for (split, fold, case_id), (part, _) in parts.items()
    ]
