"""A cohort from a folder in the layout of the RadPath challenge (CPM-RadPath 2019 and 2020).

``Radiology/<ID>/<ID>_{t1,t1ce,t2,flair}.nii.gz``; slides ``Pathology/<ID>.tiff``, several of a case as ``<ID>_<k>`` or
``<ID>-<k>`` or in a folder ``Pathology/<ID>/``; label tables ``CPM_RadPath_20xx_ID,class,age_in_days``. Those called
``split_<k>_{train,val,test}.csv`` make fold k - 1 of the split ``radpath``; other folds of it can be drawn.

A challenge folder is seldom complete. What is missing or contradicts itself is an issue, and the rest goes on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.interchange.table import Table, TableRow, read_table
from guidestore.embeddings.types import PARTS, check_name
from guidestore.warehouse.cohorts.cohort import CohortIssue, CohortTables
from guidestore.warehouse.cohorts.images import MISSING, describe_images
from guidestore.warehouse.cohorts.layout import HidingLayout, Reading, slide_mpp_field
from guidestore.warehouse.cohorts.splits import draw_fixed_splits

SEQUENCES = ("t1", "t1ce", "t2", "flair")
SLIDE_SUFFIXES = (".tiff", ".tif", ".svs", ".ndpi", ".mrxs")
CLASSES = ("G", "O", "A")
"""Glioblastoma, oligodendroglioma, astrocytoma, in the order of the paper's label codes."""
SPLIT = "radpath"
PAPER_SIZES = (165, 28, 28)
"""Labelled cases in train, val and test of each of the paper's five splits."""
_ID_COLUMNS = ("CPM_RadPath_2019_ID", "CPM_RadPath_2020_ID")
_SPLIT_FILE = re.compile(r"split_([1-9]\d*)_(train|val|test)\.csv")
_NUMBERED = re.compile(r"(.+)[_-]\d+")
_PHANTOM = "PHANTOM_"
"""What the ids of `warehouse.cohorts.layouts.phantom` begin with."""
_SHOWN = 5


class Radpath(HidingLayout):
    """A cohort in the RadPath layout: four MRI sequences and slides per case, and the split `radpath`.

    $ guidestore cohort add radpath glioma --source RadPath
    """

    source: Path = Field(description="Folder with Radiology/, Pathology/ and a label CSV.")
    labels: Path | None = Field(
        default=None,
        description="Label CSV, or folder of it and of split_<k>_<part>.csv; default: the source, or what holds it.",
    )
    splits: int = Field(default=5, ge=0, description="Splits to have: those without files are drawn; 0 draws none.")
    slide_mpp: float | None = slide_mpp_field()
    seed: int = Field(default=0, ge=0, description="Of drawn splits: fold k is drawn from the seed + k.")

    def read(self, reading: Reading) -> CohortTables:
        """Drawn folds are stratified by class, see `split_sizes`.

        An issue counts and names: sequences and slides that are missing, cases without label or without files, labels
        that are no class or contradict each other (such a case stays, unlabelled), half-given splits (left out, not
        drawn), and draws that cannot be made. Raises InvalidInputError on a folder of another layout, and on tables
        without the columns.
        """
        folder = self.source.absolute()
        if not ((folder / "Radiology").is_dir() or (folder / "Pathology").is_dir()):
            raise InvalidInputError(f"{folder} has neither Radiology/ nor Pathology/; name the folder that holds them")
        issues = _Issues(reading.name_of)
        tables = _tables(folder, self.labels.absolute() if self.labels else None)
        lines = _lines(tables, issues)
        classes = _labels(lines, issues)
        listed = {line.case_id for line in lines}
        imaged = issues.usable(path.name for path in _visible(folder / "Radiology") if path.is_dir())
        slides = _slides(folder / "Pathology", imaged | listed, issues)
        cases = sorted(imaged | listed | set(slides))
        described = _described(folder, cases, slides, issues, reading, self.slide_mpp)
        labelled = {line.case_id for line in lines if line.row["class"]}
        issues.of_cases("cases without a label", [case for case in cases if case not in labelled], _UNLABELLED)
        issues.of_cases("unusable names", sorted(issues.unusable), _UNUSABLE)
        given, refused = _given_splits(tables, lines, issues)
        taken = {row["fold"] for row in given} | refused
        drawn = _drawn(cases, classes, [fold for fold in range(self.splits) if fold not in taken], self.seed, issues)
        is_phantom = bool(cases) and all(case_id.startswith(_PHANTOM) for case_id in cases)
        layout = "phantom" if is_phantom else "radpath"  # generated cases must not pass for the challenge's in a table
        return CohortTables(
            reading.cohort,
            cohorts=[{"layout": layout, "source": str(folder), "pseudonymized": False, "note": ""}],
            targets=[{"target": "class", "class_index": index, "class": name} for index, name in enumerate(CLASSES)],
            cases=[{"case_id": case_id} for case_id in cases],
            labels=[{"case_id": case, "target": "class", "class": name} for case, name in sorted(classes.items())],
            splits=given + drawn,
            images=described,
            issues=tuple(issues.met),
        )


def split_sizes(labelled: int, classes: int) -> tuple[int, int, int]:
    """Labelled cases in train, val and test of a drawn fold: 165, 28, 28 of 221, and the same shares of other numbers.

    val and test get no fewer than there are classes, so that each can have one of every class.
    """
    total = sum(PAPER_SIZES)
    val, test = (max(round(labelled * size / total), classes) for size in PAPER_SIZES[1:])
    return labelled - val - test, val, test


_AGAIN = "and add the cohort again"
_UNUSABLE = f"{{n}} left out, which cannot be an id: {{names}}; use letters, digits and . _ + = - {_AGAIN}"
_NO_ID = f"{{n}} of label tables left out, for want of an id: {{names}}; fill it in {_AGAIN}"
_LOWER = "label of {n} in lower case, taken for its capital: {names}; nothing has to be done"
_UNKNOWN = f"label of {{n}} is none of {', '.join(CLASSES)}, so unlabelled: {{names}}; correct it {_AGAIN}"
_CONTRADICTING = f"label of {{n}} contradicts itself, so unlabelled: {{names}}; correct one of the rows {_AGAIN}"
_UNLABELLED = f"no label of {{n}}: {{names}}; add it to a label table {_AGAIN}, or keep the files as unlabelled"
_NO_FILES = f"no MRI and no slide of {{n}} with a label: {{names}}; put the files in place {_AGAIN}"
_NO_SEQUENCE = f"MRI sequences missing of {{n}}: {{names}}; put Radiology/<ID>/<ID>_<sequence>.nii.gz in place {_AGAIN}"
_NO_SLIDE = f"no slide of {{n}}: {{names}}; put Pathology/<ID>.tiff in place {_AGAIN}"
_SAME_NAME = f"slide left out whose name another has, of {{n}}: {{names}}; give every slide its own name {_AGAIN}"
_HALF_GIVEN = (
    f"{{n}} left out, neither given nor drawn, for want of a file: {{names}}; put it beside the others {_AGAIN}"
)
_TWO_PARTS = f"{{n}} in two parts of a given split, so in none: {{names}}; take it out of one file {_AGAIN}"


@dataclass(slots=True)
class _Issues:
    """Collects what was met: kind, sentence with the number and the first few names, all names."""

    name_of: Callable[[str], str]
    met: list[CohortIssue] = field(default_factory=list)
    unusable: set[str] = field(default_factory=set)

    def of_cases(self, kind: str, cases: Iterable[str] | Mapping[str, str], sentence: str) -> None:
        """Of cases, with what else is to say of each where `cases` is a mapping. Nothing for none."""
        details = cases if isinstance(cases, Mapping) else {}
        names = [self.name_of(case) + (f" ({details[case]})" if details else "") for case in cases]
        self.of_names(kind, names, sentence, "case")

    def of_names(self, kind: str, names: Sequence[str], sentence: str, noun: str) -> None:
        """Of what is no case: rows, splits."""
        if names:
            shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
            count = f"{len(names)} {noun}{'s' if len(names) > 1 else ''}"
            self.met.append(CohortIssue(kind, sentence.format(n=count, names=shown), tuple(names)))

    def usable(self, names: Iterable[str]) -> set[str]:
        """Those of the names that can be ids; the others are remembered."""
        names = set(names)
        unusable = {name for name in names if not _is_name(name)}
        self.unusable |= unusable
        return names - unusable


def _is_name(name: str) -> bool:
    try:
        check_name(name, "id")
    except InvalidNameError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of a label table."""

    file: Path
    row: TableRow
    case_id: str

    @property
    def where(self) -> str:
        return f"{self.row.where}, column class"


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _tables(folder: Path, labels: Path | None) -> dict[Path, tuple[str, Table]]:
    """The id column and the table of each label file."""
    if labels is None:
        files = sorted(folder.glob("*.csv")) or [file for file in sorted(folder.parent.glob("*.csv")) if _is_ours(file)]
    else:
        files = sorted(labels.glob("*.csv")) if labels.is_dir() else [labels]
    if not files:
        raise InvalidInputError(
            f"{labels or folder} has no label table; put a *.csv with the columns {_ID_COLUMNS[0]} (or 2020) and class "
            "there"
        )
    return {file: _read(file) for file in files}


def _is_ours(file: Path) -> bool:
    try:
        return not set(_ID_COLUMNS).isdisjoint(read_table(file, ()).columns)
    except InvalidInputError:
        return False


def _read(file: Path) -> tuple[str, Table]:
    table = read_table(file, ("class",))
    for column in _ID_COLUMNS:
        if column in table.columns:
            return column, table
    raise InvalidInputError(
        f"{file} has neither the column {' nor '.join(_ID_COLUMNS)}, so it is no RadPath label table; rename its id "
        "column, or move the file elsewhere"
    )


def _lines(tables: Mapping[Path, tuple[str, Table]], issues: _Issues) -> list[_Line]:
    """The rows with a usable id."""
    lines = [_Line(file, row, row[column]) for file, (column, table) in tables.items() for row in table]
    issues.of_names("rows without id", [line.row.where for line in lines if not line.case_id], _NO_ID, "row")
    usable = issues.usable(line.case_id for line in lines if line.case_id)
    return [line for line in lines if line.case_id in usable]


def _labels(lines: list[_Line], issues: _Issues) -> dict[str, str]:
    """The class of each case that has exactly one."""
    classes: dict[str, str] = {}
    first: dict[str, _Line] = {}
    unknown: dict[str, str] = {}
    contradicting: dict[str, str] = {}
    lower: dict[str, str] = {}
    for line in lines:
        text, case_id = line.row["class"], line.case_id
        name = text.upper()
        if not text:
            continue
        if name not in CLASSES:
            unknown.setdefault(case_id, line.where)
            continue
        if name != text:
            lower.setdefault(case_id, line.where)
        before = first.setdefault(case_id, line)
        if classes.setdefault(case_id, name) != name:
            contradicting.setdefault(case_id, f"{classes[case_id]} in {before.row.where}, {name} in {line.row.where}")
    issues.of_cases("lower-case labels", lower, _LOWER)
    issues.of_cases("unknown classes", unknown, _UNKNOWN)
    issues.of_cases("contradictory labels", contradicting, _CONTRADICTING)
    return {case: name for case, name in classes.items() if case not in unknown and case not in contradicting}


def _slides(folder: Path, known: set[str], issues: _Issues) -> dict[str, list[tuple[str, Path]]]:
    """case id -> its slides as (image id, file).

    An image id is the file's stem; in a case's own folder the case id stands before a stem that does not begin with
    it, because an image id names one slide of the whole cohort.
    """
    entries = _visible(folder)
    files = [path for path in entries if _is_slide(path)]
    in_folders = [(path.name, slide) for path in entries if path.is_dir() for slide in _visible(path)]
    in_folders = [(case_id, slide) for case_id, slide in in_folders if _is_slide(slide)]
    bases = known | {path.stem for path in files} | {case_id for case_id, _ in in_folders}
    named = [(_case_of(path.stem, known, bases), path.stem, path) for path in files]
    for case_id, slide in in_folders:
        named.append((case_id, slide.stem if slide.stem.startswith(case_id) else f"{case_id}_{slide.stem}", slide))
    usable = issues.usable(name for case_id, image_id, _ in named for name in (case_id, image_id))
    slides: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    taken: set[str] = set()
    same = []
    for case_id, image_id, path in sorted(named, key=_by_suffix):
        if not {case_id, image_id} <= usable:
            continue
        if image_id in taken:
            same.append(case_id)
        else:
            taken.add(image_id)
            slides[case_id].append((image_id, path))
    issues.of_cases("slides of the same name", same, _SAME_NAME)
    return slides


def _case_of(stem: str, known: set[str], bases: set[str]) -> str:
    """The case called `stem` (RadPath's own ids end in ``_1``), or else the one before its ``_<k>`` or ``-<k>``."""
    numbered = _NUMBERED.fullmatch(stem)
    return numbered[1] if numbered and stem not in known and numbered[1] in bases else stem


def _is_slide(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES and path.is_file()


def _by_suffix(slide: tuple[str, str, Path]) -> tuple[str, int, str]:
    case_id, image_id, path = slide
    return case_id, SLIDE_SUFFIXES.index(path.suffix.lower()), image_id


def _described(
    folder: Path,
    cases: list[str],
    slides: Mapping[str, list[tuple[str, Path]]],
    issues: _Issues,
    reading: Reading,
    mpp: float | None,
) -> list[dict[str, Any]]:
    """Image rows of the files that are there; issues for the rest."""
    expected = [
        _image(case_id, case_id, f"mri_{name}", folder / "Radiology" / case_id / f"{case_id}_{name}.nii.gz")
        for case_id in cases
        for name in SEQUENCES
    ]
    expected += [
        _image(case_id, image_id, "histology", path) for case_id in cases for image_id, path in slides.get(case_id, ())
    ]
    described, met = describe_images(expected, reading, mpp)
    issues.met += [issue for issue in met if issue.kind != MISSING]  # told by case, below
    has: dict[str, set[str]] = defaultdict(set)
    for row in described:
        has[row["case_id"]].add(row["modality"])
    lacks = {
        case_id: ", ".join(name for name in SEQUENCES if f"mri_{name}" not in has[case_id])
        for case_id in cases
        if has[case_id]
    }
    lacks = {case_id: names for case_id, names in lacks.items() if names}
    slideless = [case_id for case_id in cases if has[case_id] and "histology" not in has[case_id]]
    issues.of_cases("cases without files", [case_id for case_id in cases if not has[case_id]], _NO_FILES)
    issues.of_cases("missing sequences", lacks, _NO_SEQUENCE)
    issues.of_cases("missing slides", slideless, _NO_SLIDE)
    return described


def _image(case_id: str, image_id: str, modality: str, path: Path) -> dict[str, Any]:
    return {"case_id": case_id, "image_id": image_id, "modality": modality, "path": str(path), "mpp": None}


def _given_splits(
    tables: Mapping[Path, tuple[str, Table]], lines: list[_Line], issues: _Issues
) -> tuple[list[dict[str, Any]], set[int]]:
    """Rows of the whole splits, and the folds of those that lack a file."""
    files: dict[int, dict[str, Path]] = defaultdict(dict)
    for file in tables:
        if match := _SPLIT_FILE.fullmatch(file.name):
            files[int(match[1]) - 1][match[2]] = file
    refused = {fold for fold, parts in files.items() if len(parts) < len(PARTS)}
    lacking = {
        fold: [f"split_{fold + 1}_{part}.csv" for part in PARTS if part not in files[fold]] for fold in sorted(refused)
    }
    half = [f"split {fold + 1} without {' and '.join(names)}" for fold, names in lacking.items()]
    issues.of_names("incomplete splits", half, _HALF_GIVEN, "split")
    rows: list[dict[str, Any]] = []
    twice: dict[str, str] = {}
    for fold, parts in sorted(files.items()):
        part_of = {file: part for part, file in parts.items()}
        lines_of: dict[str, list[_Line]] = defaultdict(list)
        for line in lines:
            if fold not in refused and line.file in part_of:
                lines_of[line.case_id].append(line)
        for case_id, places in lines_of.items():
            if len({place.file for place in places}) > 1:
                twice.setdefault(case_id, " and ".join(place.row.where for place in places[:2]))
                continue
            file = places[0].file
            origin = f"given: {file.name}"
            rows.append({"split": SPLIT, "fold": fold, "case_id": case_id, "part": part_of[file], "origin": origin})
    issues.of_cases("cases in two parts", twice, _TWO_PARTS)
    return rows, refused


def _drawn(
    cases: list[str], classes: Mapping[str, str], folds: list[int], seed: int, issues: _Issues
) -> list[dict[str, Any]]:
    if not folds:
        return []
    sizes = split_sizes(len(classes), len(set(classes.values())))
    try:
        return draw_fixed_splits(cases, classes, name=SPLIT, sizes=sizes, folds=folds, seed=seed)
    except InvalidInputError as error:
        names = [str(fold) for fold in folds]
        sentence = f"{error}; fold {', '.join(names)} was not drawn, so draw with `guidestore cohort split` instead"
        issues.met.append(CohortIssue("splits not drawn", sentence, tuple(names)))
        return []
