"""The images of a cohort: which files make one image of a modality, their recorded digests, slides or photographs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot

GROUPS = {"mri_all": ("mri_t1", "mri_t1ce", "mri_t2", "mri_flair")}
"""Modalities that are several images of a case at once, one channel each."""


@dataclass(frozen=True, slots=True)
class CaseImage:
    """One image to encode: a slide, or the sequences of a volume. `files`: modality -> path, in channel order."""

    case_id: str
    image_id: str
    files: dict[str, Path]
    sha256s: tuple[str, ...]
    sizes: tuple[int, ...]
    mpp: float | None

    def check_unchanged(self) -> None:
        """Raises InvalidInputError where a file is gone or no longer as long as when the cohort was added."""
        for path, size in zip(self.files.values(), self.sizes, strict=True):
            if not path.is_file():
                raise InvalidInputError(f"{path} is not there any more; restore it, or add the cohort again")
            if path.stat().st_size != size:
                raise InvalidInputError(
                    f"{path} has {path.stat().st_size} bytes, {size} when the cohort was added; add the cohort again"
                )


PHOTOGRAPH_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
"""Of files that are never slides; TIFF may be either."""


def are_photographs(images: Iterable[CaseImage]) -> bool:
    """Whether the images are photographs: none of them is a slide by its suffix, its um per pixel, or OpenSlide."""
    return not any(_is_slide(path, image.mpp) for image in images for path in image.files.values())


def _is_slide(path: Path, mpp: float | None) -> bool:
    if path.suffix.lower() in PHOTOGRAPH_SUFFIXES:
        return False
    if mpp is not None or path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return True
    from openslide import OpenSlide

    return OpenSlide.detect_format(path) is not None


def sequence_of(modality: str) -> str:
    """The MRI sequence that a modality is: mri_t1ce -> t1ce."""
    return modality.removeprefix("mri_")


def images_of(
    snapshot: Snapshot, cohort: str, modality: str, paths: Mapping[tuple[str, str], Path] | None = None
) -> tuple[list[CaseImage], list[str]]:
    """The images of `modality`, sorted by case and image, and the cases that lack a part of it.

    `paths`: (image_id, modality) -> path of pseudonymized cohorts. Raises NotFoundInStoreError, InvalidInputError.
    """
    parts = GROUPS.get(modality, (modality,))
    rows = snapshot.rows("images", cohort=cohort).to_pylist()
    wanted = [row for row in rows if row["modality"] in parts]
    if not wanted:
        known = ", ".join(sorted({row["modality"] for row in rows})) or "no images"
        raise NotFoundInStoreError(f"cohort {cohort} has no images of modality {modality}; it has {known}")
    if any(not row["path"] for row in wanted) and not paths:
        raise InvalidInputError(f"cohort {cohort} is pseudonymized: give --key FILE, beside which its image paths lie")

    def place(row: dict) -> Path:
        path = row["path"] or (paths or {}).get((row["image_id"], row["modality"]), "")
        if not path:
            raise InvalidInputError(f"the key file knows no path of image {row['image_id']}; use the cohort's own key")
        return Path(path)

    if len(parts) == 1:
        images = [
            CaseImage(
                row["case_id"],
                row["image_id"],
                {modality: place(row)},
                (row["sha256"],),
                (row["size"],),
                row["mpp"],
            )
            for row in wanted
        ]
        return sorted(images, key=lambda image: (image.case_id, image.image_id)), []

    by_case: dict[str, dict[str, dict]] = defaultdict(dict)
    for row in wanted:
        if row["modality"] in by_case[row["case_id"]]:
            raise InvalidInputError(
                f"case {row['case_id']} has several {row['modality']} images, so {modality} is ambiguous; keep one"
            )
        by_case[row["case_id"]][row["modality"]] = row
    images, incomplete = [], []
    for case_id, found in sorted(by_case.items()):
        if set(found) != set(parts):
            missing = ", ".join(part for part in parts if part not in found)
            incomplete.append(f"case {case_id} lacks {missing}, so it has no {modality}")
            continue
        ordered = [found[part] for part in parts]
        images.append(
            CaseImage(
                case_id,
                case_id,
                {row["modality"]: place(row) for row in ordered},
                tuple(row["sha256"] for row in ordered),
                tuple(row["size"] for row in ordered),
                None,
            )
        )
    return images, incomplete
