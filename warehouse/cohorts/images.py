"""Size and sha256 of image files: what an image of a cohort is, wherever its file lies."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.cohort import CohortIssue

Progress = Callable[[int, int], None]
"""Called with the number of files done and of all files."""
_SHOWN = 5


def describe_images(
    rows: Sequence[dict[str, Any]], progress: Progress | None = None
) -> tuple[list[dict[str, Any]], list[CohortIssue]]:
    """`rows` of kind images with ``size`` in bytes and ``sha256`` of their ``path``; missing files are left out.

    Those are counted and named in an issue. Raises InvalidInputError on a file that is there and cannot be read.
    """
    described: list[dict[str, Any]] = []
    missing: list[str] = []
    for row in rows:
        _check_regular(row)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done, (row, facts) in enumerate(zip(rows, pool.map(_describe, rows), strict=True), start=1):
            if facts is None:
                missing.append(row["path"])
            else:
                described.append({**row, **facts})
            if progress:
                progress(done, len(rows))
    return described, missing_images(missing)


def missing_images(paths: Sequence[str]) -> list[CohortIssue]:
    """The issue that names image files that are not there; none for none."""
    if not paths:
        return []
    shown = ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
    count = "1 image file is" if len(paths) == 1 else f"{len(paths)} image files are"
    sentence = f"{count} missing and left out: {shown}; put them in place and add the cohort again"
    return [CohortIssue("missing images", sentence, tuple(paths))]


def _describe(row: dict[str, Any]) -> dict[str, Any] | None:
    file = Path(row["path"])
    try:
        with file.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            return {"size": handle.tell(), "sha256": digest}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(
            f"{file} (case {row['case_id']}, {row['modality']}) cannot be read: {error.strerror}; correct the path or "
            "the file's permissions"
        ) from error


def _check_regular(row: dict[str, Any]) -> None:
    """Raises InvalidInputError for a folder, and for a pipe or a device, whose reading may never end."""
    file = Path(row["path"])
    try:
        mode = file.stat().st_mode
    except OSError:  # said when it is opened
        return
    if not stat.S_ISREG(mode):
        raise InvalidInputError(
            f"{file} (case {row['case_id']}, {row['modality']}) cannot be read: it is a folder, pipe or device, not an "
            "image file; correct the path"
        )
