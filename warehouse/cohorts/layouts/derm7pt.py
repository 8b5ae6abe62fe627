"""A cohort from the seven-point checklist data set (Derm7pt, Kawahara et al. 2019) as it is released.

``release_v0/images/<letters>/<name>.jpg``, ``release_v0/meta/meta.csv`` with one row per case, and
``release_v0/meta/{train,valid,test}_indexes.csv``, whose one column ``indexes`` counts the rows of meta.csv from 0.
They make fold 0 of the split ``published``. Of the real release 1,002 of 1,011 cases remain: the others name one file
as both photographs.

A case is called by its ``case_num``, as people's own tables call it. A table that contradicts itself is refused; a
photograph or a class that is missing is an issue, and the rest goes on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.interchange.table import Table, TableRow, read_table
from guidestore.embeddings.types import PARTS, check_name
from guidestore.warehouse.cohorts.cohort import CohortIssue, CohortTables
from guidestore.warehouse.cohorts.images import describe_images
from guidestore.warehouse.cohorts.layout import Layout, Reading

SPLIT = "published"
MODALITIES: Mapping[str, str] = {"clinic": "clinical", "derm": "dermoscopy"}
"""Column of meta.csv -> modality: the inferior photograph, the superior one."""
PHANTOM = "PHANTOM_"
"""What the ids of `warehouse.cohorts.layouts.derm7pt_phantom` begin with."""

TARGET_COLUMNS: Mapping[str, str] = {
    "DIAG": "diagnosis",
    "PN": "pigment_network",
    "BWV": "blue_whitish_veil",
    "VS": "vascular_structures",
    "PIG": "pigmentation",
    "STR": "streaks",
    "DaG": "dots_and_globules",
    "RS": "regression_structures",
}
"""Target -> column of meta.csv."""

CLASSES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "DIAG": {
        "BCC": ("basal cell carcinoma",),
        "NEV": (
            "nevus",
            "blue nevus",
            "clark nevus",
            "combined nevus",
            "congenital nevus",
            "dermal nevus",
            "recurrent nevus",
            "reed or spitz nevus",
        ),
        "MEL": (
            "melanoma",
            "melanoma (in situ)",
            "melanoma (less than 0.76 mm)",
            "melanoma (0.76 to 1.5 mm)",
            "melanoma (more than 1.5 mm)",
            "melanoma metastasis",
        ),
        "MISC": ("dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"),
        "SK": ("seborrheic keratosis",),
    },
    "PN": {"ABS": ("absent",), "TYP": ("typical",), "ATP": ("atypical",)},
    "BWV": {"ABS": ("absent",), "PRS": ("present",)},
    "VS": {
        "ABS": ("absent",),
        "REG": ("arborizing", "comma", "hairpin", "within regression", "wreath"),
        "IR": ("dotted", "linear irregular"),
    },
    "PIG": {
        "ABS": ("absent",),
        "REG": ("diffuse regular", "localized regular"),
        "IR": ("diffuse irregular", "localized irregular"),
    },
    "STR": {"ABS": ("absent",), "REG": ("regular",), "IR": ("irregular",)},
    "DaG": {"ABS": ("absent",), "REG": ("regular",), "IR": ("irregular",)},
    "RS": {"ABS": ("absent",), "PRS": ("blue areas", "white areas", "combinations")},
}
"""Target -> class -> values of the column, classes in the order of the paper's weights."""

INDEX_FILES: Mapping[str, str] = {
    "train": "train_indexes.csv",
    "val": "valid_indexes.csv",
    "test": "test_indexes.csv",
}
_SHOWN = 5


class Derm7pt(Layout):
    """The seven-point checklist data set: two photographs and eight targets per case, and the split `published`.

    $ guidestore cohort add derm7pt skin --source release_v0
    """

    source: Path = Field(description="The folder release_v0, with images/ and meta/.")

    def read(self, reading: Reading) -> CohortTables:
        """Paths are resolved whatever their case. Left out, and counted and named in an issue: cases whose two
        photographs are one file; photographs that are missing, or that a row before names. Issues too: empty labels,
        cases in no part, a target with one class in train, a class that a part lacks.

        Raises InvalidInputError naming file, row and column on a table or column that is missing, a case_num that
        cannot be an id or comes twice, a label outside `CLASSES`, an index outside the table, and a case that is listed
        twice by the split.
        """
        folder = self.source.absolute()
        if not (folder / "meta").is_dir():
            raise InvalidInputError(
                f"{folder} has no folder meta/; name the folder release_v0, which holds meta/ and images/"
            )
        meta = read_table(folder / "meta" / "meta.csv", ("case_num", *TARGET_COLUMNS.values(), *MODALITIES))
        cases = _case_ids(meta)
        labels = {case: _labels(row) for case, row in zip(cases, meta, strict=True)}
        parts = _parts(folder / "meta", cases)
        rows = dict(zip(cases, meta, strict=True))
        kept = {case: row for case, row in rows.items() if row["clinic"].lower() != row["derm"].lower()}
        no_pairs = [f"{case} ({row.where})" for case, row in rows.items() if case not in kept]
        issues = _issue("no pairs", no_pairs, "case", "{n} left out, whose two photographs are one file: {names}")
        images, image_issues = _images(folder / "images", kept, reading)
        labels = {case: labels[case] for case in kept}
        parts = {case: part for case, part in parts.items() if case in kept}
        is_phantom = bool(kept) and all(case.startswith(PHANTOM) for case in kept)
        return CohortTables(
            reading.cohort,
            cohorts=[
                # Drawn photographs must not pass for real ones in a table.
                {
                    "layout": "derm7pt phantom" if is_phantom else "derm7pt",
                    "source": str(folder),
                    "pseudonymized": False,
                    "note": "",
                }
            ],
            targets=[
                {"target": target, "class_index": index, "class": name}
                for target, classes in CLASSES.items()
                for index, name in enumerate(classes)
            ],
            cases=[{"case_id": case} for case in kept],
            labels=[
                {"case_id": case, "target": target, "class": name}
                for case, named in labels.items()
                for target, name in named.items()
            ],
            splits=[
                {"split": SPLIT, "fold": 0, "case_id": case, "part": part, "origin": f"given: {INDEX_FILES[part]}"}
                for case, part in parts.items()
            ],
            images=images,
            issues=tuple(issues + image_issues + _label_issues(kept, labels) + _part_issues(kept, labels, parts)),
        )


_CLASS_OF: Mapping[str, Mapping[str, str]] = {
    target: {value: name for name, values in classes.items() for value in values} for target, classes in CLASSES.items()
}


def _issue(kind: str, items: Sequence[str], noun: str, sentence: str) -> list[CohortIssue]:
    """The issue that counts and names `items`; none for none."""
    if not items:
        return []
    shown = ", ".join(items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
    count = f"{len(items)} {noun}{'s' if len(items) > 1 else ''}"
    return [CohortIssue(kind, sentence.format(n=count, names=shown), tuple(items))]


def _case_ids(meta: Table) -> list[str]:
    """The case_num of each row."""
    first: dict[str, TableRow] = {}
    for row in meta:
        try:
            case = check_name(row["case_num"], "case id")
        except InvalidNameError as error:
            raise InvalidNameError(f"{row.where}, column case_num: {error}") from error
        before = first.setdefault(case, row)
        if before is not row:
            raise InvalidInputError(
                f"{row.where}, column case_num: case {case} stands in row {before.number} already; give each case its "
                "own case_num"
            )
    return list(first)


def _labels(row: TableRow) -> dict[str, str]:
    """Target -> class of one row; empty cells left out."""
    labels = {}
    for target, column in TARGET_COLUMNS.items():
        if not row[column]:
            continue
        name = _CLASS_OF[target].get(row[column].lower())
        if name is None:
            raise InvalidInputError(
                f"{row.where}, column {column}: {row[column]!r} is none of {', '.join(_CLASS_OF[target])}; correct the "
                "value"
            )
        labels[target] = name
    return labels


def _parts(folder: Path, cases: Sequence[str]) -> dict[str, str]:
    """Case -> part of the published split."""
    parts: dict[str, str] = {}
    first: dict[str, TableRow] = {}
    for part in PARTS:
        for row in read_table(folder / INDEX_FILES[part], ("indexes",), may_be_empty=True):
            text = row["indexes"]
            if not (text.isascii() and text.isdigit() and int(text) < len(cases)):
                raise InvalidInputError(
                    f"{row.where}, column indexes: {text!r} is no row of meta.csv, whose {len(cases)} rows count from 0"
                    "; use the index files of the same release"
                )
            case = cases[int(text)]
            before = first.setdefault(case, row)
            if before is not row:
                raise InvalidInputError(
                    f"{row.where}, column indexes: {text} is case {case}, which {before.where} puts in {parts[case]} "
                    "already; list it once"
                )
            parts[case] = part
    return parts


def _images(
    folder: Path, cases: Mapping[str, TableRow], reading: Reading
) -> tuple[list[dict[str, Any]], list[CohortIssue]]:
    """Image rows of the photographs that are there, each file once."""
    files = _files(folder)
    rows: list[dict[str, Any]] = []
    missing, again = [], []
    first: dict[Path, str] = {}
    for case, row in cases.items():
        for column, modality in MODALITIES.items():
            place = f"{row.where}, column {column}"
            # The exact name goes first, where files differ in nothing but case.
            path = files.get(row[column]) or files.get(row[column].lower())
            if path is None:
                missing.append(f"{row[column] or 'no name'} ({place})")
            elif path in first:
                again.append(f"{row[column]} ({place}, and {first[path]})")
            else:
                first[path] = place
                rows.append({"case_id": case, "image_id": case, "modality": modality, "path": str(path), "mpp": None})
    described, gone = describe_images(rows, reading)
    issues = _issue(
        "missing images",
        missing,
        "photograph",
        f"{{n}} missing from {folder} and left out: {{names}}; put them in place and add the cohort again",
    )
    listed_twice = "{n} left out, listed by a row before: {names}; correct the name and add the cohort again"
    return described, issues + gone + _issue("images listed twice", again, "photograph", listed_twice)


def _files(folder: Path) -> dict[str, Path]:
    """Path below `folder` -> file, by its name and by its name in lower case."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.lower(): path for name, path in files.items()} | files


def _label_issues(cases: Mapping[str, TableRow], labels: Mapping[str, Mapping[str, str]]) -> list[CohortIssue]:
    empty = [
        f"{target} of {case} ({row.where}, column {column})"
        for case, row in cases.items()
        for target, column in TARGET_COLUMNS.items()
        if target not in labels[case]
    ]
    return _issue("empty labels", empty, "label", "{n} empty: {names}; the cases stay, unlabelled for these targets")


def _part_issues(
    cases: Iterable[str], labels: Mapping[str, Mapping[str, str]], parts: Mapping[str, str]
) -> list[CohortIssue]:
    """What the split cannot train or score, by target, class and part."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for case, part in parts.items():
        for target, name in labels[case].items():
            counts[target, part][name] += 1
    single = [
        f"{target} (only {next(iter(names))})"
        for (target, part), names in counts.items()
        if part == "train" and len(names) == 1
    ]
    lacking = [
        f"{target} {name} in {part}"
        for target, classes in CLASSES.items()
        for name in classes
        for part in PARTS
        if not counts[target, part][name]
    ]
    loose = [case for case in cases if case not in parts]
    return [
        *_issue(
            "cases in no part", loose, "case", "{n} in no part of the published split: {names}; they stay, unused by it"
        ),
        *_issue(
            "targets with one class in train",
            single,
            "target",
            "{n} with one class in train: {names}; no head can learn it",
        ),
        *_issue(
            "classes missing from a part",
            lacking,
            "pair",
            "{n} of class and part without a case: {names}; scores of that part say nothing of that class",
        ),
    ]
