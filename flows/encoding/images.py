"""The images of a cohort: which files make one image of a modality, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.pixels import PixelRecipe
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.snapshot import Snapshot
from guidestore.encoders.kinds.volumes import GROUPS
from guidestore.encoders.sources import CaseImage, ImageFile
from guidestore.flows.encoding.lookups import check_cohort

Paths = Mapping[tuple[str, str], Path]
"""(image_id, modality) -> file, of a pseudonymized cohort."""


def images_of(
    snapshot: Snapshot, cohort: str, modality: str, paths: Paths | None = None
) -> tuple[list[CaseImage], list[str]]:
    """The images of `modality`, sorted by case and image, and a sentence about each case that lacks a part of it.

    `paths`: of pseudonymized cohorts. Raises NotFoundInStoreError, InvalidInputError.
    """
    parts = GROUPS.get(modality, (modality,))
    rows = snapshot.rows("images", cohort=cohort).to_pylist()
    wanted = [row for row in rows if row["modality"] in parts]
    if not wanted:
        check_cohort(snapshot, cohort)
        known = ", ".join(sorted({row["modality"] for row in rows})) or "no images: add them by `cohort add manifest`"
        joins = f"; {modality} joins {', '.join(parts)}: a row of the manifest for each" if len(parts) > 1 else ""
        raise NotFoundInStoreError(f"cohort {cohort} has no images of modality {modality}; it has {known}{joins}")
    if any(not row["path"] for row in wanted) and not paths:
        raise InvalidInputError(f"cohort {cohort} is pseudonymized: give --key FILE, beside which its image paths lie")
    files = [(row["case_id"], row["image_id"], _file(row, paths or {})) for row in wanted]
    if modality in GROUPS:
        return _grouped(files, modality)
    images = [CaseImage(case_id, image_id, (file,)) for case_id, image_id, file in files]
    return sorted(images, key=lambda image: (image.case_id, image.image_id)), []


def _file(row: Mapping[str, Any], paths: Paths) -> ImageFile:
    path = row["path"] or paths.get((row["image_id"], row["modality"]))
    if not path:
        raise InvalidInputError(f"the key file knows no path of image {row['image_id']}; use the cohort's own key")
    files = row["files"] or [{name: row[name] for name in ("path", "size", "sha256")}]
    return ImageFile(
        row["modality"], Path(path), tuple(FileRef.from_json(file) for file in files), PixelRecipe.of_row(row)
    )


def _grouped(files: Sequence[tuple[str, str, ImageFile]], modality: str) -> tuple[list[CaseImage], list[str]]:
    """One image for each case that has a file of every part of `modality`, and a sentence about each other case."""
    by_case: dict[str, dict[str, list[ImageFile]]] = {}
    for case_id, _, file in files:
        by_case.setdefault(case_id, {}).setdefault(file.modality, []).append(file)
    images, incomplete = [], []
    for case_id, by_part in sorted(by_case.items()):
        missing = [part for part in GROUPS[modality] if part not in by_part]
        doubled = [part for part, of_part in by_part.items() if len(of_part) > 1]
        if missing:
            incomplete.append(f"case {case_id} lacks {', '.join(missing)}, so it has no {modality}")
        elif doubled:
            incomplete.append(
                f"case {case_id} has several {', '.join(doubled)} images, so it has no {modality}; keep one of each"
            )
        else:
            images.append(CaseImage(case_id, case_id, tuple(by_part[part][0] for part in GROUPS[modality])))
    return images, incomplete
