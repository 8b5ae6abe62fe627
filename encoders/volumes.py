"""NIfTI sequences of one case -> one volume (c, d, h, w): one physical grid, cropped, z-scored, of one shape."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import reason
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

SEQUENCES = ("t1", "t1ce", "t2", "flair")
"""The sequences of RadPath and BraTS, in channel order. The paper's T1w is t1ce here."""

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
    paths: Mapping[str, str | Path] | Iterable[str | Path] | str | Path, settings: VolumeSettings | None = None
) -> np.ndarray:
    """volume_cdhw: (len(sequences), *shape_vox) float32 of one case, background about 0.

    paths: sequence -> file, or what `sequence_files` takes. Steps: orient to RAS; resample by the physical affines onto
    the first sequence's field of view at spacing_mm (linear, zero outside); crop to the voxels above zero in any
    sequence; per sequence subtract the mean and divide by the standard deviation of its non-zero voxels; resize by one
    factor for all axes so that the brain fits shape_vox, and pad with zeros. Nothing is co-registered: sequences
    taken in different positions of the head must be registered beforehand.

    Raises InvalidInputError naming the file: missing, unreadable, truncated, not 3-D, not finite, without foreground.
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
    orient = Orientation(axcodes="RAS", labels=None)
    resample = ResampleToMatch(mode="bilinear", padding_mode="zeros")
    grid: MetaTensor | None = None
    channels: list[torch.Tensor] = []
    for sequence in settings.sequences:
        image = orient(_read(files[sequence]))
        if grid is None:
            spacing = Spacing(pixdim=(settings.spacing_mm,) * 3, mode="bilinear", padding_mode="zeros")
            grid = spacing(image)  # pyright: ignore[reportAssignmentType]
            channels.append(torch.as_tensor(grid))
        else:
            channels.append(torch.as_tensor(resample(image, img_dst=grid)))
        if not (channels[-1] > 0).any():
            raise InvalidInputError(
                f"{files[sequence]} has no voxel above zero within the field of view of "
                f"{files[settings.sequences[0]]}; check that both are of the same patient and in the same space"
            )
    volume = CropForeground(allow_smaller=False)(torch.cat([torch.Tensor(channel) for channel in channels]))
    volume = NormalizeIntensity(nonzero=True, channel_wise=True)(volume)
    # MONAI's axes are x, y, z (R, A, S); the network's d, h, w are S, A, R.
    volume = torch.as_tensor(volume).permute(0, 3, 2, 1)
    if settings.fit == "scale":
        shape = np.array(volume.shape[1:])
        fitting = np.maximum(np.rint(shape * (np.array(settings.shape_vox) / shape).min()), 1).astype(int)
        volume = Resize(fitting.tolist(), mode="trilinear", anti_aliasing=True)(volume)
    volume = ResizeWithPadOrCrop(settings.shape_vox)(volume)
    return np.ascontiguousarray(torch.as_tensor(volume).numpy(), dtype=np.float32)


def _read(path: Path) -> MetaTensor:
    """(1, x, y, z) float32 with the affine of the file (RAS+ mm)."""
    if not path.is_file():
        raise InvalidInputError(f"there is no volume file {path}; correct the path in the manifest")
    if path.stat().st_size == 0:
        raise InvalidInputError(f"{path} is empty (0 bytes); copy it again")
    try:
        image: Any = nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InvalidInputError(
            f"{path} cannot be read as NIfTI ({reason(error)}); the file is damaged or truncated, so copy it again"
        ) from error
    if voxels.ndim != 3:
        raise InvalidInputError(f"{path} has shape {voxels.shape}, it must be one 3-D volume; split it into volumes")
    if not np.isfinite(voxels).all():
        share = 1 - float(np.isfinite(voxels).mean())
        raise InvalidInputError(
            f"{path} holds NaN or infinite values ({share:.1%} of the voxels); write it again with 0 as background"
        )
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine)) < 1e-9:
        raise InvalidInputError(f"{path} has a singular affine, so its voxels have no place; repair its header")
    return MetaTensor(torch.from_numpy(voxels)[None], affine=torch.as_tensor(image.affine))
