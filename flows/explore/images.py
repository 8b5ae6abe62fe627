"""The image files of a case, as they were when the cohort was added; none of a pseudonymized one without its key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.records import FileRef
from guidestore.encoders.content import content_of
from guidestore.encoders.sources import ImageFile, Verified
from guidestore.flows.explore.explored import Explored, Once, View, literal
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

Kind = Literal["volume", "slide", "photograph"]
_VOLUMES = ("NIfTI", "Analyze", "MGH")
_KEPT = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """Which image a link names."""

    cohort: str
    case_id: str
    image_id: str
    modality: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An image file whose bytes are those of the cohort."""

    path: Path
    kind: Kind
    mpp: float | None
    """um per level-0 pixel of a slide, where the cohort says it."""
    verified: Verified


class Images:
    """Finds and verifies image files, each once; later looks see whether it was written since."""

    def __init__(self, explored: Explored) -> None:
        self._explored = explored
        self._known = Once(_KEPT)

    def shown(self, view: View, asked: Asked) -> Shown:
        """Raises NotFoundInStoreError, and InvalidInputError where its file is gone, another, or not to be shown."""
        row = self._row(view, asked)
        shown = self._known((row["sha256"], str(row["path"])), lambda: self._verified(asked, row))
        shown.verified.check()
        return shown

    def _row(self, view: View, asked: Asked) -> dict[str, Any]:
        rows = view.ask(
            f"SELECT path, mpp, size, sha256, files FROM images WHERE cohort = {literal(asked.cohort)} "
            f"AND case_id = {literal(asked.case_id)} AND image_id = {literal(asked.image_id)} "
            f"AND modality = {literal(asked.modality)}"
        )
        if not rows:
            raise NotFoundInStoreError(
                f"case {asked.case_id} of cohort {asked.cohort} has no {asked.modality} image {asked.image_id}"
            )
        row = rows[0]
        if not row["path"]:
            row["path"] = self._secret_path(view, asked)
        return row

    def _secret_path(self, view: View, asked: Asked) -> str:
        """Where the key says it lies."""
        if self._explored.key is None:
            raise InvalidInputError(
                f"cohort {asked.cohort} is pseudonymized, so its images are not shown; who has its key starts the page "
                "with --key KEYFILE"
            )
        (named,) = view.ask(
            f"SELECT any_value(first_name) AS first FROM cohorts WHERE cohort = {literal(asked.cohort)}"
        )
        paths = Pseudonyms.load(self._explored.key).image_paths(named["first"])
        path = paths.get((asked.image_id, asked.modality))
        if path is None:
            raise InvalidInputError(f"the key file knows no path of image {asked.image_id}; use the cohort's own key")
        return str(path)

    def _verified(self, asked: Asked, row: dict[str, Any]) -> Shown:
        path = Path(row["path"])
        files = row["files"] or [{"path": "", "size": row["size"], "sha256": row["sha256"]}]
        file = ImageFile(asked.modality, path, tuple(FileRef.from_json(one) for one in files))
        return Shown(path, kind_of(path), row["mpp"], file.verify())


def kind_of(path: Path) -> Kind:
    """How a file is looked at. Raises InvalidInputError where it is not there."""
    from openslide import OpenSlide

    try:
        if content_of(path) in _VOLUMES or path.suffix.lower() in (".hdr", ".img"):
            return "volume"
        return "slide" if OpenSlide.detect_format(path) or _is_deep_slide(path) else "photograph"
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read ({error.strerror}); restore it") from error


def _is_deep_slide(path: Path) -> bool:
    from guidestore.encoders.slides.tiff_header import read_tiff_header

    header = read_tiff_header(path) if content_of(path) == "TIFF" else None
    return header is not None and header.stored_bits > 8 and path.stat().st_size > 2**24
