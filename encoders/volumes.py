"""NIfTI sequences of one case -> one volume (c, d, h, w): one physical grid, cropped, z-scored, of one shape."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import map_coordinates

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
    zoom_affine,
)
from guidestore.encoders.volume_files import AXES, VolumeHeader, check_places, read_header, read_voxels

SEQUENCES = ("t1", "t1ce", "t2", "flair")
"""The sequences of RadPath and BraTS, in channel order. The paper's T1w is t1ce here."""

MAX_GRID_VOXELS = 2**26
"""Of the common grid: 406 mm cubed at 1 mm."""

STEPS = 2
"""Version of what `load_volume` does with given settings: 1 up to 2026-11, which placed the grid by MONAI's Spacing."""

LEAST_SHARE = 1e-3
"""Of a voxel of the common grid, in what it is interpolated from: with less that is not background, it is background.
Rounding alone gives shares of 1e-8 or so to voxels of a grid that lies on those of the file."""

ROUNDING = 2**-21
"""Of the value of a background that was resampled, relative: four bits of float32."""

_FILE_NAME = re.compile(r"(?!\._)(.+)_([a-z0-9]+)(\.(nii|img|hdr|mgh)(\.gz)?|\.mgz)\Z", re.IGNORECASE)
"""Not what macOS puts beside a file, ``._CASE_t1.nii.gz``."""


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
    steps: int = STEPS
    """Of `load_volume`. Codes of other steps are another code set, and nothing new is predicted from those."""

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> VolumeSettings:
        """Those in an encoder's preprocessing. Raises InvalidInputError where they are of other steps than STEPS."""
        of_steps_1 = {"steps": 1}  # they did not say it
        return cls(**{field.name: {**of_steps_1, **preprocessing}[field.name] for field in fields(cls)})

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
        if self.steps != STEPS:
            raise InvalidInputError(
                f"the volumes were prepared by steps {self.steps} of another guidestore, and this one has steps "
                f"{STEPS}, which give other codes; encode the cohort again and train on those codes"
            )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `VolumeSettings(**settings.as_dict()) == settings`."""
        return asdict(self) | {"sequences": list(self.sequences), "shape_vox": list(self.shape_vox)}


PAPER_VOLUMES_SHAPE = (140, 220, 220)
"""What the paper's released code crops to, at 1 mm: it holds a whole head."""

DEMO_VOLUMES = VolumeSettings(shape_vox=(16, 24, 24), spacing_mm=4.0, fit="scale")
"""For the phantom (4 mm voxels) and two CPU cores: loading a case takes 40 ms, a training step of 8 some 45 ms."""


def case_and_sequence(path: Path) -> tuple[str, str] | None:
    """What ``<ID>_<sequence>.nii.gz`` names, the sequence in lower case; None where a file is named otherwise.

    The suffix is that of any format which is read.
    """
    match = _FILE_NAME.match(path.name)
    return (match[1], match[2].lower()) if match else None


def sequence_files(case_dir_or_files: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Which file holds which sequence: the part after the last ``_`` of ``<ID>_<sequence>.nii.gz``, in lower case.

    Takes a case's folder or its files. Other files in a folder are passed over, and an .hdr beside its .img. Raises
    InvalidInputError for a folder that is missing or holds no sequence, for a listed file named otherwise, and for a
    sequence that occurs twice.
    """
    if isinstance(case_dir_or_files, str | Path):
        folder = Path(case_dir_or_files)
        if not folder.is_dir():
            raise InvalidInputError(f"there is no folder {folder} of sequences; correct the path in the manifest")
        paths = [path for path in sorted(folder.iterdir()) if case_and_sequence(path)]
        if not paths:
            raise InvalidInputError(f"folder {folder} holds no <ID>_<sequence>.nii.gz; put the case's sequences there")
    else:
        paths = [Path(path) for path in case_dir_or_files]
    images = {path.with_name(stem_of(path)) for path in paths if suffix_of(path) == ".img"}
    files: dict[str, Path] = {}
    for path in paths:
        found = case_and_sequence(path)
        if found is None:
            raise InvalidInputError(f"file {path} does not say its sequence; rename it to <ID>_<sequence>.nii.gz")
        if suffix_of(path) == ".hdr" and path.with_name(stem_of(path)) in images:
            continue
        sequence = found[1]
        if sequence in files:
            raise InvalidInputError(f"{files[sequence]} and {path} are both sequence {sequence}; keep one of them")
        files[sequence] = path
    return files


def suffix_of(path: Path) -> str:
    """In lower case, without that of gzip: ``.nii`` of a.NII.gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def stem_of(path: Path) -> str:
    """The name without its suffixes."""
    return path.name[: len(path.name.lower().removesuffix(".gz")) - len(suffix_of(path))]


def load_volume(
    paths: Mapping[str, str | Path] | Iterable[str | Path] | str | Path,
    settings: VolumeSettings | None = None,
    *,
    trust_geometry: bool = False,
) -> np.ndarray:
    """volume_cdhw: (len(sequences), *shape_vox) float32 of one case, background about 0.

    paths: sequence -> file, or what `sequence_files` takes. Steps: subtract the value of the background, where most of
    the border has one; orient to RAS; resample by the physical affines onto the first sequence's field of view at
    spacing_mm (linear, zero outside, and zero where less than LEAST_SHARE is no background); crop to the voxels other
    than zero in any sequence (above zero in one whose background is not known); per sequence subtract the mean and
    divide by the standard deviation of its non-zero voxels; resize by one factor for all axes so that the brain fits
    shape_vox, and pad with zeros. Nothing is co-registered: sequences taken in different positions of the head must be
    registered beforehand.

    All headers are judged before a voxel is read. trust_geometry: takes sequences whose files do not surely say where
    they lie, see `check_places`. Raises InvalidInputError naming the file: missing, unreadable, truncated, not 3-D,
    implausible, not finite, of one value besides background, without foreground, without a sure place.
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
    shape, affine = _grid(headers[0], settings.spacing_mm)
    grid = MetaTensor(torch.zeros(1).expand(1, *shape), affine=torch.as_tensor(affine))
    channels: list[torch.Tensor] = []
    foreground: list[torch.Tensor] = []
    for header in headers:
        voxels, has_background = _read(header)
        image = MetaTensor(torch.from_numpy(voxels)[None], affine=torch.as_tensor(header.affine))
        placed = torch.Tensor(torch.as_tensor(resample(orient(image), img_dst=grid)))
        channels.append(_without_traces(placed, voxels, np.linalg.solve(header.affine, affine)))
        # About a background that is known to be 0 the brain may lie on both sides.
        foreground.append(channels[-1] != 0 if has_background else channels[-1] > 0)
        if not foreground[-1].any():
            raise InvalidInputError(
                f"{header.path} has no voxel {'other than its background' if has_background else 'above zero'} within "
                f"the field of view of {headers[0].path}; check that both are of the same patient and in the same space"
                if len(headers) > 1
                else f"{header.path} has no voxel above zero, and no background that is known; add to its values"
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


def _without_traces(placed: torch.Tensor, voxels: np.ndarray, to_voxels: np.ndarray) -> torch.Tensor:
    """`placed` (1, d, h, w), and 0 where LEAST_SHARE or less of what it is interpolated from is not background.

    voxels: (x, y, z), background 0. to_voxels: 4 x 4, from indices of placed to those of voxels.
    """
    # So small a share of the largest value is no more than that.
    faint = (placed[0] != 0) & (placed[0].abs() <= 2 * LEAST_SHARE * float(np.abs(voxels).max()))
    places = np.argwhere(faint.numpy())
    at = to_voxels[:3, :3] @ places.T + to_voxels[:3, 3:]
    share = map_coordinates(voxels != 0, at, output=np.float32, order=1, mode="grid-constant")
    placed[0][tuple(places[share <= LEAST_SHARE].T)] = 0.0
    return placed


def _read(header: VolumeHeader) -> tuple[np.ndarray, bool]:
    """voxels: (x, y, z) float32, background at 0. And whether a background was found.

    Raises InvalidInputError where one value alone is beside the background.
    """
    voxels = read_voxels(header)
    background = _background(voxels)
    if background and background != [0.0]:
        outside = np.logical_or.reduce([_is(voxels, value) for value in background])
        voxels = np.where(outside, np.float32(0), voxels - np.float32(background[-1]))
    values = voxels[voxels != 0]
    if not values.size:
        raise InvalidInputError(
            f"{header.path} has no voxel other than its background, so "
            "there is nothing to encode; copy its file again, or leave it out"
        )
    if values.min() == values.max():
        raise InvalidInputError(
            f"{header.path} has one value alone besides its background, as a mask has, so there is nothing to encode; "
            "name the image itself"
        )
    return voxels, bool(background)


def _background(voxels: np.ndarray) -> list[float]:
    """Values that are background, the one next to the brain last; none where most of the border has no one value.

    Z-scored volumes have another than 0. Where they were padded with 0 thereafter, both are background.
    """
    found = _border_value(voxels)
    if found is None:
        return []
    inside = ~_is(voxels, found)
    if not inside.any():
        return [found]
    ends = [np.flatnonzero(inside.any(axis=axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))]
    inner = _border_value(voxels[tuple(slice(first, last + 1) for first, last in ends)])
    if inner is None or inner == found or not (inside & ~_is(voxels, inner)).any():  # a mask, its values no background
        return [found]
    return [found, inner]


def _border_value(voxels: np.ndarray) -> float | None:
    """The value that more than half of the border has, which is then its median."""
    faces = (voxels.take((0, -1), axis) for axis in range(3))
    border = np.concatenate([face.ravel() for face in faces])
    middle = float(np.partition(border, len(border) // 2)[len(border) // 2])
    return middle if _is(border, middle).mean() > 0.5 else None


def _is(voxels: np.ndarray, value: float) -> np.ndarray:
    """Where voxels have the value, but for what resampling a constant rounds."""
    return np.abs(voxels - np.float32(value)) <= ROUNDING * abs(value)


def _grid(header: VolumeHeader, spacing_mm: float) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of the common grid, axes R, A, S: it begins where the volume does, and holds its last voxel.

    Its axes are the volume's, made orthogonal. MONAI's Spacing places and sizes it by the last bits of the affine.
    """
    to_ras = nib.io_orientation(header.affine)
    affine = header.affine @ nib.orientations.inv_ornt_aff(to_ras, header.shape)
    last = np.array(header.shape)[np.argsort(to_ras[:, 0])] - 1
    corners = np.array(list(product(*((0, end) for end in last))))
    grid = zoom_affine(affine, (spacing_mm,) * 3, diagonal=False)
    steps = corners @ np.linalg.solve(grid[:3, :3], affine[:3, :3]).T
    grid[:3, 3] = affine[:3, 3] + grid[:3, :3] @ steps.min(axis=0)
    # A half is rounded up, and what rounding made a little less than one too.
    return tuple(int(size) for size in np.floor(np.ptp(steps, axis=0) + 1.5 + 1e-4)), grid


def _check_grid(header: VolumeHeader, spacing_mm: float) -> None:
    """Raises InvalidInputError where the common grid would not fit into memory."""
    shape, _ = _grid(header, spacing_mm)
    if math.prod(shape) > MAX_GRID_VOXELS:
        raise InvalidInputError(
            f"{header.path} would be resampled from {' x '.join(map(str, header.shape))} voxels of "
            f"{' x '.join(f'{size:.4g}' for size in header.spacing_mm)} mm to {' x '.join(map(str, shape))} of "
            f"{spacing_mm:g} mm, more than {MAX_GRID_VOXELS:,}; correct its spacing, crop it, or encode at a coarser "
            "--volume-spacing-mm"
        )
