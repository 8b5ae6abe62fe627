"""Image files as rows: what an image of a cohort is, wherever its files lie, and what decides its pixels."""

from __future__ import annotations

import hashlib
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import Examined, PixelRecipe
from guidestore.embeddings.words import count_of
from guidestore.warehouse.cohorts.cohort import CohortIssue
from guidestore.warehouse.cohorts.image_rows import digests_of
from guidestore.warehouse.cohorts.reading import Reading

MISSING = "missing images"
"""Kind of the issue that names image files that are not there."""
_SHOWN = 5
_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
"""Class of DICOM files that are whole slides."""
_HEAD_BYTES = 2**12


def describe_images(
    rows: Sequence[dict[str, Any]], reading: Reading, slide_mpp: float | None = None
) -> tuple[list[dict[str, Any]], list[CohortIssue]]:
    """`rows` of kind images with size and sha256 of all files of their ``path``, and what decides the pixels.

    slide_mpp: of slides whose row has no mpp. Missing files are left out. Issues name these, sources of an mpp that
    disagree, and images that will be refused. Raises InvalidInputError on a file that is there and cannot be read.
    """
    described: list[dict[str, Any]] = []
    missing: list[str] = []
    for row in rows:
        _check_regular(row)
    notes: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)

    def describe(row: dict[str, Any]) -> tuple[dict[str, Any], Examined] | None:
        return _describe(row, reading, slide_mpp)

    with ThreadPoolExecutor(max_workers=4) as pool:
        for done, (row, found) in enumerate(zip(rows, pool.map(describe, rows), strict=True), start=1):
            if found is None:
                missing.append(row["path"])
            else:
                columns, examined = found
                described.append({**row, **columns})
                for kind, sentence in examined.notes:
                    notes[kind].append((f"case {reading.name_of(row['case_id'])} ({row['modality']})", sentence))
            if reading.progress:
                reading.progress(done, len(rows))
    return described, missing_images(missing) + [_noted(kind, said) for kind, said in notes.items()]


def missing_images(paths: Sequence[str]) -> list[CohortIssue]:
    """The issue that names image files that are not there; none for none."""
    if not paths:
        return []
    shown = ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
    count = "1 image file is" if len(paths) == 1 else f"{len(paths)} image files are"
    sentence = f"{count} missing and left out: {shown}; put them in place and add the cohort again"
    return [CohortIssue(MISSING, sentence, tuple(paths))]


def same_images(rows: Iterable[Mapping[str, Any]]) -> list[CohortIssue]:
    """The issue that names cases which have the same image, file for file; none for none."""
    cases: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        # Sorted: a row begins with the file that it names, which is any instance of a DICOM slide, or .hdr and .img.
        cases[tuple(sorted(digests_of(row)))].add(row["case_id"])
    several = sorted(" = ".join(sorted(same)) for digests, same in cases.items() if len(same) > 1 and any(digests))
    if not several:
        return []
    count = "1 image stands" if len(several) == 1 else f"{len(several)} images stand"
    shown = ", ".join(several[:_SHOWN]) + (", …" if len(several) > _SHOWN else "")
    sentence = (
        f"{count} under several cases (identical sha256): {shown}; a case is what splits keep apart, so correct the "
        "paths, or make one case of them"
    )
    return [CohortIssue("identical images", sentence, tuple(several))]


def _noted(kind: str, said: Sequence[tuple[str, str]]) -> CohortIssue:
    count = count_of(len(said), "image")
    shown = "; ".join(f"{where}: {sentence}" for where, sentence in said[:_SHOWN])
    more = f"; … and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return CohortIssue(kind, f"{kind}, {count}: {shown}{more}", tuple(where for where, _ in said))


def _describe(row: dict[str, Any], reading: Reading, slide_mpp: float | None) -> tuple[dict[str, Any], Examined] | None:
    """Columns of the row, and what was found; None where the file is missing."""
    path, mpp = Path(row["path"]), row["mpp"]
    given = PixelRecipe(mpp=mpp, mpp_source="manifest" if mpp else None)
    try:
        if reading.examine:
            option = PixelRecipe(mpp=slide_mpp, mpp_source="option" if slide_mpp else None)
            examined = reading.examine(path, row["modality"], given if mpp else option)
        else:
            examined = Examined((path,), given)
        for file in examined.files:
            _check_regular(row | {"path": str(file)})
        files = [_file(file) for file in examined.files]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(
            f"{path} (case {row['case_id']}, {row['modality']}) cannot be read: {error.strerror}; correct the path or "
            "the file's permissions"
        ) from error
    own = {"size": files[0]["size"], "sha256": files[0]["sha256"], "files": files}
    return own | examined.pixels.as_row(), examined


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return {"path": str(path), "size": handle.tell(), "sha256": digest}


def _check_regular(row: dict[str, Any]) -> None:
    """Raises InvalidInputError for a folder, and for a pipe or a device, whose reading may never end."""
    file = Path(row["path"])
    try:
        mode = file.stat().st_mode
    except OSError:  # said when it is opened
        return
    if not stat.S_ISREG(mode):
        what, remedy = "it is a folder, pipe or device, not an image file", "correct the path"
        dicom = next((head for head in map(_dicom_head, _files_in(file)) if head), b"") if stat.S_ISDIR(mode) else b""
        if _SLIDE in dicom:
            what, remedy = "it is a folder of a DICOM slide", "name one of its files, which stands for them all"
        elif dicom:
            what = "it is a folder of DICOM files"
            remedy = "convert the series to NIfTI, e.g. with dcm2niix -z y -o OUT FOLDER, and name the .nii.gz"
        raise InvalidInputError(f"{file} (case {row['case_id']}, {row['modality']}) cannot be read: {what}; {remedy}")


def _files_in(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_file())


def _dicom_head(path: Path) -> bytes:
    """The start of a DICOM file, where it says of which class it is; nothing of others."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head if head[:132].endswith(b"DICM") else b""
