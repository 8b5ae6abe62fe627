"""NIfTI sequences of one case -> one volume (c, d, h, w): one physical grid, cropped, z-scored, of one shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import said_of
from guidestore.encoders.monai_parts import (
    CropForeground,
    MetaTensor,
    NormalizeIntensity,
    Orientation,
    ResampleToMatch,
    Resize,
    ResizeWithPadOrCrop,
    Spacing,
)
from guidestore.encoders.volume_files import AXES, VolumeHeader, check_places, read_header, read_voxels

SEQUENCES = ("t1", "t1ce", "t2", "flair")
"""The sequences of RadPath and BraTS, in channel order. The paper's T1w is t1ce here."""

MAX_GRID_VOXELS = 2**26
"""Of the common grid: 406 mm cubed at 1 mm. Resampling takes 40 bytes for each."""

_FILE_NAME = re.compile(r".+_([A-Za-z0-9]+)\.nii(\.gz)?\Z")


@dataclass(frozen=True, slots=True)
class VolumeSettings:
    """How the sequences of a case become one volume. `as_dict` goes into `EncoderSpec.preprocessing`."""

    sequences: tuple[str, ...] = SEQUENCES
    """One channel each, in this order. The first one's field of view is the common grid's."""
    shape_vox: tuple[int, int, int] = (32, 48, 48)
    """d, h, w of the volume: inferior to superior, posterior to anterior, left to right (a head is widest in h)."""
    spacing_mm: float = 1.0
    """Isotropic spacing of the common grid; 1.0 is what BraTS ships."""
    fit: Literal["crop", "scale"] = "crop"
    """How the brain comes into shape_vox: cropped and padded about its centre, at spacing_mm; or scaled by one factor
    until it fits, which keeps all of it in a small shape."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", tuple(self.sequences))
        object.__setattr__(self, "shape_vox", tuple(int(size) for size in self.shape_vox))
        if not self.sequences or len(set(self.sequences)) != len(self.sequences):
            raise InvalidInputError(f"sequences {self.sequences} must name at least one sequence, each once")
        if len(self.shape_vox) != 3 or min(self.shape_vox) < 1 or not self.spacing_mm > 0:
            raise InvalidInputError(
                f"shape_vox {self.shape_vox} must be three positive numbers d, h, w, and spacing_mm "
                f"{self.spacing_mm} positive"
            )
        if self.fit not in ("crop", "scale"):
            raise InvalidInputError(f"fit {self.fit!r} must be crop or scale")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `VolumeSettings(**settings.as_dict()) == settings`."""
        return asdict(self) | {"sequences": list(self.sequences), "shape_vox": list(self.shape_vox)}


PAPER_VOLUMES_SHAPE = (140, 220, 220)
"""What the paper's released code crops to, at 1 mm: it holds a whole head."""

DEMO_VOLUMES = VolumeSettings(shape_vox=(16, 24, 24), spacing_mm=4.0, fit="scale")
"""For the phantom (4 mm voxels) and two CPU cores: loading a case takes 40 ms, a training step of 8 some 45 ms."""


def sequence_files(case_dir_or_files: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Which file holds which sequence: the part after the last ``_`` of ``<ID>_<sequence>.nii[.gz]``, in lower case.

    Takes a case's folder or its files. Other files in a folder are passed over. Raises InvalidInputError for a folder
    that is missing or holds no sequence, for a listed file named otherwise, and for a sequence that occurs twice.
    """
    if isinstance(case_dir_or_files, str | Path):
        folder = Path(case_dir_or_files)
        if not folder.is_dir():
            raise InvalidInputError(f"there is no folder {folder} of sequences; correct the path in the manifest")
        paths = [path for path in sorted(folder.iterdir()) if _FILE_NAME.match(path.name)]
        if not paths:
            raise InvalidInputError(f"folder {folder} holds no <ID>_<sequence>.nii.gz; put the case's sequences there")
    else:
        paths = [Path(path) for path in case_dir_or_files]
    files: dict[str, Path] = {}
    for path in paths:
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise InvalidInputError(f"file {path} does not say its sequence; rename it to <ID>_<sequence>.nii.gz")
        sequence = match[1].lower()
        if sequence in files:
            raise InvalidInputError(f"{files[sequence]} and {path} are both sequence {sequence}; keep one of them")
        files[sequence] = path
    return files


def load_volume(
    paths: Mapping[str, str | Path] | Iterable[str | Path] | str | Path,
    settings: VolumeSettings | None = None,
    *,
    trust_geometry: bool = False,
) -> np.ndarray:
    """volume_cdhw: (len(sequences), *shape_vox) float32 of one case, background about 0.

    paths: sequence -> file, or what `sequence_files` takes. Steps: subtract the value of the background, where most of
    the border has one; orient to RAS; resample by the physical affines onto the first sequence's field of view at
    spacing_mm (linear, zero outside); crop to the voxels above zero in any sequence (other than zero where the
    background had another value); per sequence subtract the mean and divide by the standard deviation of its non-zero
    voxels; resize by one factor for all axes so that the brain fits shape_vox, and pad with zeros. Nothing is
    co-registered: sequences taken in different positions of the head must be registered beforehand.

    All headers are judged before a voxel is read. trust_geometry: takes sequences whose files do not surely say where
    they lie, see `check_places`. Raises InvalidInputError naming the file: missing, unreadable, truncated, not 3-D,
    implausible, not finite, without foreground, without a sure place.
    """
    settings = settings or VolumeSettings()
    if isinstance(paths, Mapping):
        files = {str(sequence): Path(path) for sequence, path in paths.items()}
    else:
        files = sequence_files(paths)
    missing = [sequence for sequence in settings.sequences if sequence not in files]
    if missing:
        near = next(iter(files.values()), "no file at all")
        raise InvalidInputError(
            f"sequence {', '.join(missing)} is missing beside {near} (there are: {', '.join(files) or 'none'}); add "
            "the file or leave the sequence out of the settings"
        )
    headers = [read_header(files[sequence]) for sequence in settings.sequences]
    if not trust_geometry:
        check_places(headers)
    _check_grid(headers[0], settings.spacing_mm)
    near = files[settings.sequences[0]]
    with said_of(f"the volume of {near} cannot be resampled", "check the headers of its sequences"):
        return _one_volume(headers, settings)


def _one_volume(headers: Sequence[VolumeHeader], settings: VolumeSettings) -> np.ndarray:
    orient = Orientation(axcodes=AXES, labels=None)
    resample = ResampleToMatch(mode="bilinear", padding_mode="zeros")
    grid: MetaTensor | None = None
    channels: list[torch.Tensor] = []
    foreground: list[torch.Tensor] = []
    for header in headers:
        image, was_moved = _read(header)
        image = orient(image)
        if grid is None:
            spacing = Spacing(pixdim=(settings.spacing_mm,) * 3, mode="bilinear", padding_mode="zeros")
            grid = spacing(image)  # pyright: ignore[reportAssignmentType]
            channels.append(torch.Tensor(torch.as_tensor(grid)))
        else:
            channels.append(torch.Tensor(torch.as_tensor(resample(image, img_dst=grid))))
        # About a background that was moved to 0 the brain may lie on both sides.
        foreground.append(channels[-1] != 0 if was_moved else channels[-1] > 0)
        if not foreground[-1].any():
            raise InvalidInputError(
                f"{header.path} has no voxel {'other than its background' if was_moved else 'above zero'} within the "
                f"field of view of {headers[0].path}; check that both are of the same patient and in the same space"
            )
    inside_dhw = torch.cat(foreground).any(dim=0)
    crop = CropForeground(select_fn=lambda _: inside_dhw[None], allow_smaller=False)
    volume = crop(torch.cat(channels))
    volume = NormalizeIntensity(nonzero=True, channel_wise=True)(volume)
    # MONAI's axes are x, y, z (R, A, S); the network's d, h, w are S, A, R.
    volume = torch.as_tensor(volume).permute(0, 3, 2, 1)
    if settings.fit == "scale":
        shape = np.array(volume.shape[1:])
        fitting = np.maximum(np.rint(shape * (np.array(settings.shape_vox) / shape).min()), 1).astype(int)
        volume = Resize(fitting.tolist(), mode="trilinear", anti_aliasing=True)(volume)
    volume = ResizeWithPadOrCrop(settings.shape_vox)(volume)
    return np.ascontiguousarray(torch.as_tensor(volume).numpy(), dtype=np.float32)


def _read(header: VolumeHeader) -> tuple[MetaTensor, bool]:
    """(1, x, y, z) float32 with the affine of the file, background at 0; and whether it had to be brought there."""
    voxels = read_voxels(header)
    background = _background(voxels)
    if background:
        voxels = voxels - background
    return MetaTensor(torch.from_numpy(voxels)[None], affine=torch.as_tensor(header.affine)), bool(background)


def _background(voxels: np.ndarray) -> float:
    """The value that more than half of the volume's border has; 0 where none has. Z-scored volumes have another than 0.

    A value that so many have is their median.
    """
    faces = (voxels.take((0, -1), axis) for axis in range(3))
    border = np.concatenate([face.ravel() for face in faces])
    middle = float(np.partition(border, len(border) // 2)[len(border) // 2])
    return middle if (border == middle).mean() > 0.5 else 0.0


def _check_grid(header: VolumeHeader, spacing_mm: float) -> None:
    """Raises InvalidInputError where the common grid would not fit into memory."""
    shape = np.ceil(header.spacing_mm * header.shape / spacing_mm).astype(int)
    if shape.prod() > MAX_GRID_VOXELS:
        raise InvalidInputError(
            f"{header.path} would be resampled from {' x '.join(map(str, header.shape))} voxels of "
            f"{' x '.join(f'{size:.4g}' for size in header.spacing_mm)} mm to {' x '.join(map(str, shape))} of "
            f"{spacing_mm:g} mm, more than {MAX_GRID_VOXELS:,}; correct its spacing, crop it, or encode at a coarser "
            "--volume-spacing-mm"
        )
