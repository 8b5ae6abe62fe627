"""Volumes: one or several MRI sequences of a case, one channel each; one code per case."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import Note, PixelRecipe
from guidestore.encoders.checks import shown
from guidestore.encoders.content import content_or_name_of
from guidestore.encoders.input_kind import InputKind, NewImages, SourceRequest, check_one
from guidestore.encoders.sources import CaseImage, ImageFile, Item

if TYPE_CHECKING:  # MONAI loads with it
    from guidestore.encoders.volumes import VolumeSettings

GROUPS: Mapping[str, tuple[str, ...]] = {"mri_all": ("mri_t1", "mri_t1ce", "mri_t2", "mri_flair")}
"""Modalities that are several images of a case at once, one channel each."""

TRUSTED = "trusted"
"""Geometry of volumes whose files do not surely say where they lie, and were taken at their word."""

SUFFIXES = frozenset({".nii", ".img", ".hdr", ".mgh", ".mgz"})
"""Of files of them, before that of gzip."""

FORMATS = frozenset({"NIfTI", "MGH", "Analyze"})
"""Of files that are read, see `encoders.volume_files`."""


def sequence_of(modality: str) -> str:
    """The MRI sequence that a modality is: mri_t1ce -> t1ce."""
    return modality.removeprefix("mri_")


class Volumes(InputKind):
    name = "volumes"
    images = "volumes"

    def recognises(self, file: ImageFile) -> bool:
        return content_or_name_of(file.path) in FORMATS

    def examine(self, path: Path, given: PixelRecipe) -> tuple[PixelRecipe, list[Note]]:
        from guidestore.encoders.volume_files import volume_pixels

        return volume_pixels(path)

    def check(self, batch: Any, encoder: str, width: int = 3) -> None:
        """volumes_bcdhw: (b, `width`, d, h, w) float32."""
        if not isinstance(batch, np.ndarray) or batch.dtype != np.float32 or batch.ndim != 5 or batch.shape[1] != width:
            raise InvalidInputError(
                f"encoder {encoder} takes volumes of shape (b, {width}, d, h, w) float32, not {shown(batch)}; load "
                "them with guidestore.encoders.volumes.load_volume and one channel per sequence"
            )

    def source(self, request: SourceRequest) -> VolumeSource:
        trusts = request.options.trust_geometry
        images = [_trusted(image) for image in request.images] if trusts else request.images
        return VolumeSource(images, *request.options.volume_parameters)

    def new_inputs(self, new: NewImages) -> dict[str, np.ndarray]:
        from guidestore.encoders.volumes import VolumeSettings, load_volume

        # How a network computes stands in the preprocessing too.
        settings = VolumeSettings.of(new.preprocessing)
        return {
            case_id: load_volume(files, settings, trust_geometry=new.trust_geometry)
            for case_id, files in _new_cases(new).items()
        }

    def encoder_arguments(self, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
        return {"channels": len(preprocessing["sequences"])}

    def in_words(self, preprocessing: Mapping[str, Any]) -> str:
        fit = "cropped and padded" if preprocessing["fit"] == "crop" else "scaled by one factor and padded"
        return (
            f"sequences {', '.join(preprocessing['sequences'])}, one channel each in this order: subtract the value "
            "that more than half of its border has, if one has; orient to RAS; resample linearly by the affines onto "
            f"the first one's field of view at {preprocessing['spacing_mm']} mm, and set to zero what is interpolated "
            "from less than a thousandth of non-zero voxels; crop to the voxels other than zero in any sequence (above "
            "zero in those whose border has no such value); per sequence subtract the mean of its non-zero voxels and "
            f"divide by their standard deviation; {fit} to d, h, w = {tuple(preprocessing['shape_vox'])} voxels "
            "(inferior to superior, posterior to anterior, left to right)"
        )

    def graph_input(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        return f"float32 (n, {', '.join(map(str, _shape(preprocessing)))})"

    def example(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any], rng: np.random.Generator) -> Any:
        return rng.normal(size=(2, *_shape(preprocessing))).astype(np.float32)


def _trusted(image: CaseImage) -> CaseImage:
    """The image with the geometry ``trusted``, where it would be refused for it; others keep their codes."""
    from guidestore.encoders.volume_files import UnsurePlaceError, check_places, read_header

    try:
        check_places([read_header(file.path) for file in image.files])
    except UnsurePlaceError:
        files = (replace(file, pixels=replace(file.pixels, geometry=TRUSTED)) for file in image.files)
        return replace(image, files=tuple(files))
    except InvalidInputError:  # said when it is loaded
        pass
    return image


def _shape(preprocessing: Mapping[str, Any]) -> tuple[int, ...]:
    """c, d, h, w."""
    return (len(preprocessing["sequences"]), *preprocessing["shape_vox"])


def _new_cases(new: NewImages) -> dict[str, dict[str, Path]]:
    """case id -> sequence -> file. Files of a case share what stands before ``_<sequence>.nii.gz``."""
    from guidestore.encoders.volumes import case_and_sequence, sequence_files, suffix_of

    sequences = [sequence_of(part) for part in GROUPS.get(new.modality, (new.modality,))]
    cases: dict[str, dict[str, Path]] = {}
    for file in new.files:
        if not file.exists():
            raise InvalidInputError(f"there is no file {file}")
        if not file.is_dir() and suffix_of(file) not in SUFFIXES:
            raise InvalidInputError(
                f"{file} is no NIfTI volume, and the run predicts from {new.modality}: give its files "
                f"({', '.join(f'ID_{name}.nii.gz' for name in sequences)}) or a folder with them"
            )
        for sequence, path in sequence_files(file if file.is_dir() else [file]).items():
            case_id = (case_and_sequence(path) or ("", ""))[0]
            if sequence in sequences:
                other = cases.get(case_id, {}).get(sequence)
                if other is None or {suffix_of(other), suffix_of(path)} != {".hdr", ".img"}:
                    check_one(path, other, f"{sequence} of case {case_id}")
                cases.setdefault(case_id, {})[sequence] = path
            elif not file.is_dir():
                raise InvalidInputError(f"{file} is a {sequence} volume, and the run predicts from {new.modality}")
    for case_id, paths in cases.items():
        missing = [name for name in sequences if name not in paths]
        if missing:
            raise InvalidInputError(f"case {case_id} lacks {', '.join(missing)}; the run predicts from {new.modality}")
    if not cases:
        raise InvalidInputError(f"no sequence of {new.modality} in {', '.join(map(str, new.files))}")
    return cases


class VolumeSource:
    """Volumes from NIfTI files; each is read and resampled once, and waits in a scratch file while the folds go by.

    The scratch file is mapped, so that the operating system decides how much of it is in memory: 221 cases of four
    sequences are 24 GB at the paper's size.
    """

    def __init__(
        self, images: Sequence[CaseImage], shape_vox: tuple[int, int, int], spacing_mm: float, fit: Any
    ) -> None:
        self._images = {image.item: image for image in images}
        self._shape_vox, self._spacing_mm, self._fit = shape_vox, spacing_mm, fit
        self.items = list(self._images)
        self._row_of = {item: row for row, item in enumerate(self.items)}
        self._loaded: set[Item] = set()
        self._lock = threading.Lock()
        self.images_read = 0

    @cached_property
    def settings(self) -> VolumeSettings:
        from guidestore.encoders.volumes import VolumeSettings

        sequences = tuple(sequence_of(file.modality) for file in next(iter(self._images.values())).files)
        return VolumeSettings(sequences, self._shape_vox, self._spacing_mm, self._fit)

    @cached_property
    def _scratch(self) -> np.memmap:
        """(n, c, d, h, w) float32. Sparse: it takes the disk that its volumes fill, and goes with the process."""
        shape = (len(self.items), len(self.settings.sequences), *self._shape_vox)
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, np.float32, "w+", shape=shape)

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self.settings.as_dict()

    @property
    def input_width(self) -> int:
        return len(self.settings.sequences)

    def load(self, item: Item) -> np.ndarray:
        """volume_cdhw float32."""
        from guidestore.encoders.volumes import load_volume

        with self._lock:
            volumes = self._scratch
            known = item in self._loaded
        row = self._row_of[item]
        if not known:
            image = self._images[item]
            with image.verify():
                with self._lock:
                    self.images_read += len(image.files)
                files = {sequence_of(file.modality): file.path for file in image.files}
                trusted = any(file.pixels.geometry == TRUSTED for file in image.files)
                volumes[row] = load_volume(files, self.settings, trust_geometry=trusted)
            with self._lock:
                self._loaded.add(item)
        return np.asarray(volumes[row])
