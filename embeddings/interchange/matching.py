"""Files of other tools -> cases and images: by a table, by the cohort's own images, or because somebody said so. No
guess.

Ids are text. Names that cannot be ids (``Slide 1 (HE)``) are mapped by a table, for which a proposal is written.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.folders import listed
from guidestore.embeddings.interchange.layout import PeerItem
from guidestore.embeddings.interchange.table import Table, read_table
from guidestore.embeddings.interchange.tiles import MPP_RANGE, mpp_of
from guidestore.embeddings.types import MAX_NAME_CHARS, InvalidNameError, check_name

SLIDE_COLUMNS = ("slide_id", "slide", "image_id", "wsi", "filename", "FILENAME")
CASE_COLUMNS = ("case_id", "case", "patient_id", "patient", "PATIENT")
"""As this project, CLAM, Patho-Bench, TRIDENT and STAMP call them; the first that a table has is meant."""
_SUFFIXES = frozenset(
    (
        *(".h5", ".hdf5", ".pt", ".pth", ".npy", ".npz", ".zarr"),
        *(".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".dcm", ".czi", ".svslide"),
        *(".png", ".jpg", ".jpeg"),
    )
)
_NO_NAME = re.compile(r"[^A-Za-z0-9._+=-]+")


@dataclass(frozen=True, slots=True)
class Slides:
    """What is known of slides before their files are looked at."""

    cases: Mapping[str, str] = field(default_factory=dict)
    """Slide -> case."""
    mpps: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    """Who says so, in words."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """An item, the case that it is of, and the image."""

    item: PeerItem
    case_id: str
    image_id: str


def bare(text: str) -> str:
    """The name of a slide: without folders, and without the suffix of a slide or of features."""
    name = PurePosixPath(PureWindowsPath(_composed(text)).as_posix()).name
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix.lower()}" in _SUFFIXES else name


def _composed(text: str) -> str:
    """A letter with its accent as one sign: names of files that a Mac wrote have two, tables one."""
    return unicodedata.normalize("NFC", text)


def read_slides(file: Path, id_column: str = "") -> Slides:
    """A table of slides: their case, and ``mpp`` where it has the column. id_column: of the cases; '': see
    CASE_COLUMNS. Names of columns may be in other capitals, and have blanks.

    Raises InvalidInputError where a slide has two cases or two mpps, or an mpp that is none.
    """
    table = read_table(file, id_column=id_column or CASE_COLUMNS[0])
    slides, of_cases, of_mpp = (_columns(table, names) for names in (SLIDE_COLUMNS, CASE_COLUMNS, ("mpp",)))
    slide, case = next(iter(slides), None), id_column or next(iter(of_cases), None)
    if slide is None or case is None or case not in table.columns:
        raise InvalidInputError(
            f"{file} has the columns {listed(table.columns, 8)}; it must have one of slides "
            f"({', '.join(SLIDE_COLUMNS[:4])}"
            f") and one of cases ({', '.join(CASE_COLUMNS[:3])}, or --id-column)"
        )
    names, cases = table.ids(slide), table.ids(case)
    mpps = table.numbers(of_mpp[:1])[:, 0].tolist() if of_mpp else [float("nan")] * len(table)
    notes = [] if id_column else [_several_note(table, case, cases, other) for other in of_cases if other != case]
    of_slide: dict[str, str] = {}
    mpp_of_slide: dict[str, float] = {}
    for row, (text, case_id, given) in enumerate(zip(names, cases, mpps, strict=True)):
        name = bare(text)
        if of_slide.setdefault(name, case_id) != case_id:
            raise InvalidInputError(
                f"{table.where(row)}: slide {name} is of case {case_id}, and of {of_slide[name]} above; it has one case"
            )
        if given == given:
            mpp = mpp_of(given)
            if mpp is None:
                raise InvalidInputError(
                    f"{table.where(row, of_mpp[0])}: {given:g} is no um per pixel ({MPP_RANGE[0]:g} to "
                    f"{MPP_RANGE[1]:g}); give um, not nm or mm"
                )
            if mpp_of_slide.setdefault(name, mpp) != mpp:
                raise InvalidInputError(f"{table.where(row, of_mpp[0])}: slide {name} has {mpp:g}, and another above")
    return Slides(of_slide, mpp_of_slide, file.name, tuple(filter(None, notes)))


def _columns(table: Table, names: Sequence[str]) -> list[str]:
    """Those of a table that are called so, in the order of `names`; as written before in other capitals."""
    found = [name for name in names if name in table.columns]
    alike = [column for name in names for column in table.columns if "_".join(column.lower().split()) == name.lower()]
    return list(dict.fromkeys([*found, *alike]))


def _several_note(table: Table, column: str, cases: Sequence[str], other: str) -> str:
    """That one of another column (a patient) has several of the column that is taken as the case; '' where none has."""
    of_other: dict[str, set[str]] = {}
    for case, whole in zip(cases, table.texts(other), strict=True):
        of_other.setdefault(whole, set()).add(case)
    several = next((whole for whole, own in of_other.items() if whole and len(own) > 1), None)
    if several is None:
        return ""
    return (
        f"{table.file.name}: {column} is taken as the case, and {other} {several} has several "
        f"({listed(sorted(of_other[several]), 3)}), which may come into two parts of a split; --id-column {other} "
        "takes that as the case"
    )


def read_renames(file: Path | None) -> dict[str, str]:
    """``from`` -> ``to`` of a table; {} where there is none yet. InvalidInputError for what cannot be an id."""
    if file is None or not file.exists():
        return {}
    table = read_table(file, ("from", "to"), id_column="from")
    found: dict[str, str] = {}
    for row, (old, new) in enumerate(zip(table.texts("from"), table.texts("to"), strict=True)):
        try:
            check_name(new, "name")
        except InvalidNameError as error:
            raise InvalidInputError(f"{table.where(row, 'to')}: {error}") from error
        if found.setdefault(_composed(old), new) != new:
            raise InvalidInputError(f"{table.where(row)}: {old!r} is renamed twice")
    return found


def match(
    items: Sequence[PeerItem],
    slides: Slides,
    renames: Mapping[str, str],
    rename_file: Path | None,
    *,
    of: str,
    case_is_slide: bool,
) -> tuple[list[Match], list[str]]:
    """The items that have a case, in the order of their names, and notes on the others and on slides without a file.

    of: `PeerSet.of`. Raises InvalidInputError where no item has one, two are of one image, or a name cannot be an id:
    then a proposal is written to `rename_file`, if that is named and not there yet.
    """
    known = slides.cases
    if of == "case":
        pairs = [(item, item.name, item.name) for item in items]
    elif known:
        pairs = [(item, known[_key(item.name, known)], item.name) for item in items if _key(item.name, known) in known]
    elif case_is_slide:
        pairs = [(item, item.name, item.name) for item in items]
    else:
        raise InvalidInputError(
            f"{len(items)} files are of slides (such as {items[0].name}), and nothing says of which case each is: give "
            "--slides TABLE with slide_id and case_id, or --case-is-slide where each slide is a case of its own"
        )
    matched = {item.name for item, _, _ in pairs}
    others = [item.name for item in items if item.name not in matched]
    if not pairs:
        raise InvalidInputError(
            f"{slides.source} names {listed(sorted(known), 3)}, and none of the files' slides "
            f"({listed(others, 3)}); ids "
            "are compared as text, without the suffix of the file"
        )
    _check_apart(pairs, known, slides.source)
    notes = [*slides.notes]
    if others:
        notes.append(f"{slides.source} has no case for {len(others)} files, left out: {listed(others)}")
    if of == "slide" and known:
        names = {_key(item.name, known) for item, _, _ in pairs}
        lacking = sorted(known.keys() - names)
        if lacking:
            notes.append(f"missing: {len(lacking)} slides of {slides.source} have no file: {listed(lacking)}")
    pairs = [(item, *(renames.get(_composed(name), name) for name in (case, image))) for item, case, image in pairs]
    _check_names([name for _, case, image in pairs for name in (case, image)], renames, rename_file)
    seen: dict[tuple[str, str], PeerItem] = {}
    for item, case, image in pairs:
        other = seen.setdefault((case, image), item)
        if other is not item:
            raise InvalidInputError(
                f"{other.files[0]} and {item.files[0]} are both of image {image} of case {case}; leave one of them out"
            )
    written: dict[str, str] = {}
    for _, case, _ in pairs:
        other = written.setdefault(case.lower(), case)
        if other != case:
            notes.append(f"cases {other} and {case} differ in capitals alone, and are two cases")
    matches = [Match(item, case, image) for item, case, image in pairs]
    return sorted(matches, key=lambda one: (one.case_id, one.image_id)), notes


def _check_apart(pairs: Sequence[tuple[PeerItem, str, str]], known: Mapping[str, str], source: str) -> None:
    """Raises InvalidInputError where two files are of one slide of the table: ``S1.svs.h5`` and ``S1.ndpi.h5``."""
    of_slide: dict[str, PeerItem] = {}
    for item, _, _ in pairs:
        other = of_slide.setdefault(_key(item.name, known), item)
        if known and other is not item:
            raise InvalidInputError(
                f"{other.files[0]} and {item.files[0]} are both of slide {_key(item.name, known)} of {source}; leave "
                "one of them out, or give each a name and a row of its own"
            )


def _key(name: str, known: Mapping[str, str]) -> str:
    return name if name in known else bare(name)


def _check_names(names: Iterable[str], renames: Mapping[str, str], file: Path | None) -> None:
    wrong = []
    for name in dict.fromkeys(names):
        try:
            check_name(name, "name")
        except InvalidNameError:
            wrong.append(name)
    if not wrong:
        return
    said = f"{len(wrong)} names cannot be ids (such as {wrong[0]!r}): letters, digits and . _ + = - can"
    if file is None:
        raise InvalidInputError(f"{said}; --rename-ids FILE.csv writes a proposal, and takes it when you agree")
    if file.exists():
        raise InvalidInputError(f"{said}; {file} does not rename them: add a row from,to for each, or move it away")
    taken = {*renames.values()}
    with file.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(("from", "to"))
        for name in wrong:
            rows.writerow((name, proposal(name, taken)))
    raise InvalidInputError(f"{said}; {file} has a proposal now: look at it, and give the same command again")


def proposal(name: str, taken: set[str]) -> str:
    """A name that can be an id and is not among `taken`, to which it is added."""
    text = re.sub(r"\.{2,}", ".", _NO_NAME.sub("_", name)).strip("_.-+=")[: MAX_NAME_CHARS - 5] or "id"
    found, number = text, 2
    while found in taken:
        found, number = f"{text}_{number}", number + 1
    taken.add(found)
    return found
