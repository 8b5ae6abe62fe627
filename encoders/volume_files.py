"""Volumes in files: a header is judged before a voxel is read, and the voxels are read to the end of the file.

NIfTI 1 and 2 (one file or a pair .hdr and .img), Analyze and MGH, each plain or gzip, as the content says.
"""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.freesurfer.mghformat import DATA_OFFSET, MGHHeader
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader
from nibabel.spm2analyze import Spm2AnalyzeHeader

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import Note, PixelRecipe
from guidestore.encoders.checks import said_of
from guidestore.encoders.content import GZIP, HEAD_BYTES, check_regular, content_of, format_of, mistake
from guidestore.encoders.image_files import TO_NIFTI

AXES = "RAS"
"""What every volume is brought to."""

MAX_VOXELS = 2**29
"""512 x 512 x 2,048, more than a whole body's CT. Beyond, a header is taken for damaged."""

SPACING_MM = (0.01, 25.0)
"""Between neighbouring voxels: from micro-CT to a scout's slices. A volume in microns whose header says mm, and slice
gaps that were multiplied, lie beyond."""

MAX_EXTENT_MM = 3000.0
"""Along one axis: more than a person is long."""

MAX_BYTES = 2**31
"""Of a file as far as its voxels go, unzipped."""

DEFLATE_RATIO = 1032
"""Bytes that one byte of gzip can stand for, at most."""

VALUES = (1e-30, 1e30)
"""Of the largest magnitude in a volume, scaled: statistics beyond would leave float32."""

MAX_PLACE_MM = 1e5
"""Of a volume from the origin of its coordinates: beyond, float32 keeps no hundredth of a mm."""

MAX_TAIL_BYTES = 2**24
"""What may follow the voxels in a file: padding, and MGH's footer."""

_UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Spatial part of NIfTI's xyzt_units -> mm; files of unknown units are in mm, as everybody takes them."""
_NIFTI = {
    (344, b"n+1"): nib.Nifti1Header,
    (344, b"ni1"): Nifti1PairHeader,
    (4, b"n+2"): nib.Nifti2Header,
    (4, b"ni2"): Nifti2PairHeader,
}
"""Place and start of the magic -> nibabel's class."""
_SINGLE = (nib.Nifti1Header, nib.Nifti2Header, MGHHeader)
"""Header and voxels in one file."""
_NO_SIZE = "{} says no voxel size (it is {}), and nothing is taken for it; write it again with the true one"
_UNPACK = "unpack it, and zip it with gzip or not at all"
_SIMPLE_ITK = "convert it to NIfTI, e.g. with SimpleITK's WriteImage(ReadImage('IN'), 'OUT.nii.gz')"
_REMEDIES = {
    "DICOM": TO_NIFTI,
    "NRRD": _SIMPLE_ITK,
    "MetaImage": _SIMPLE_ITK,
    "MRtrix": "convert it to NIfTI, e.g. with mrconvert IN.mif OUT.nii.gz",
    **dict.fromkeys(("bzip2", "XZ", "Zstandard", "ZIP archive", "7-Zip archive", "tar archive"), _UNPACK),
}
"""By what a file is that is no volume."""
_UNIT_NAMES = {1: "metres", 2: "mm", 3: "microns"}
_SILENT = logging.getLogger("guidestore.nibabel")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


UNSAID = "none"
"""Geometry of a volume that says no place."""
SCANNER, TEMPLATE = "the scanner", "a template"
"""NIfTI's codes 1 (scanner) and 2 (another image of the patient); 3 to 5 (Talairach, MNI, another template)."""
UNSURE = "place of a volume is not sure"
"""Kind of the note on such a volume. Alone it is encoded; beside others it is refused."""


class UnsurePlaceError(InvalidInputError):
    """The files of one case do not surely say where they lie against each other."""


@dataclass(frozen=True, slots=True)
class VolumeHeader:
    """What a volume file says of itself, found plausible. Affines are voxel index -> RAS+ mm, (4, 4) float64."""

    path: Path
    data: Path
    """The file of the voxels: of a pair the .img."""
    shape: tuple[int, int, int]
    stored: np.dtype
    """Of the voxels in the file, with its byte order."""
    offset: int
    slope: float
    inter: float
    affine: np.ndarray
    """nibabel's choice: sform, else qform, else voxels about 0; in mm, whatever the file's unit."""
    qform: np.ndarray
    sform: np.ndarray
    """NaN where the file does not have it."""
    space: str = ""
    """Whose coordinates they are, where the file's codes agree on it: SCANNER, TEMPLATE."""

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance of neighbouring voxels along each axis of the file."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def geometry(self) -> str:
        """What `affine` is: sform, qform, or `""` where the file says no place."""
        return "sform" if _has(self.sform) else "qform" if _has(self.qform) else ""

    @property
    def centre_mm(self) -> np.ndarray:
        """(3,)"""
        return self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]


def read_header(path: Path) -> VolumeHeader:
    """The header of a volume file; no voxel is read.

    Raises InvalidInputError naming the file where it is missing, no regular file, of no format that is read here, and
    where its header is broken or implausible: not one 3-D volume, not of real numbers, more bytes than the file can
    hold, spacing or extent of no body, no voxel size.
    """
    check_regular(path, "volume file")
    with _reading(path):
        header_file = _header_file(path)
        with _opened(header_file) as stream:
            block = _fill(stream, HEAD_BYTES)
        return _judged(block, path, header_file)


def volume_pixels(path: Path) -> tuple[PixelRecipe, list[Note]]:
    """The axes, the scaling of stored values, and which of a NIfTI's two affines counts; a note where none surely does.

    Raises InvalidInputError.
    """
    header = read_header(path)
    scaling = f"{header.slope!r},{header.inter!r}"
    notes: list[Note] = []
    if not header.geometry:
        said = (
            "it says no place (no qform, no sform): its axes are taken as nibabel does, left and right may be swapped"
        )
        notes.append((UNSURE, said))
    elif _has(header.qform) and _has(header.sform) and _apart(header)[1] > 1:
        said = (
            f"its qform and its sform lie up to {_apart(header)[0]:.1f} mm apart: its sform is taken, as nibabel does"
        )
        notes.append((UNSURE, said))
    return PixelRecipe(orientation=AXES, scaling=scaling, geometry=header.geometry or UNSAID), notes


def read_voxels(header: VolumeHeader) -> np.ndarray:
    """(x, y, z) float32 of the file, scaled as it says, as nibabel reads them.

    The file is read to its end, so that gzip's checksum and length count. Raises InvalidInputError naming the file:
    truncated, damaged, longer than its header says, not finite.
    """
    with _reading(header.path), _opened(header.data) as stream, np.errstate(over="ignore", invalid="ignore"):
        spec = (header.shape, header.stored, header.offset, header.slope, header.inter)
        voxels = np.asarray(ArrayProxy(stream, spec, mmap=False), dtype=np.float32)
        tail = _fill(stream, MAX_TAIL_BYTES + 1)
    if len(tail) > MAX_TAIL_BYTES:
        raise InvalidInputError(
            f"{header.path} goes on for more than {MAX_TAIL_BYTES} bytes after the voxels that its header says "
            f"({_times(header.shape)} of {header.stored}); its header is wrong: write it again"
        )
    largest = float(np.abs(voxels).max())
    if not largest < VALUES[1]:
        share = 1 - float((np.abs(voxels) < VALUES[1]).mean())
        raise InvalidInputError(
            f"{header.path} holds NaN, infinite values or numbers beyond {VALUES[1]:g} ({share:.1%} of the voxels); "
            "write it again with 0 as background, and a scl_slope that scales to what was measured"
        )
    if 0 < largest < VALUES[0]:
        raise InvalidInputError(
            f"{header.path} holds no number above {VALUES[0]:g}, which is lost in float32; write it again in units "
            "that make it larger, or correct its scl_slope"
        )
    return voxels


def check_places(headers: Sequence[VolumeHeader]) -> None:
    """Raises UnsurePlaceError where the files of one case do not surely say where they lie against each other.

    One file alone has nothing to lie beside. Of several that is where one has neither qform nor sform, where both of
    one differ by more than a voxel, and where one lies in a template's coordinates and another in its scanner's.
    """
    remedy = "register it to the others, correct its header, or take the place that it has with --trust-geometry"
    for header in headers if len(headers) > 1 else ():
        if not header.geometry:
            other = next((it for it in headers if it is not header and it.geometry), None)
            other = other or next(it for it in headers if it is not header)
            apart = np.linalg.norm(header.centre_mm - other.centre_mm)
            raise UnsurePlaceError(
                f"{header.path} says no place (its qform and sform code are 0); taken as it is, its centre would lie "
                f"{apart:.1f} mm from that of {other.path}; {remedy}"
            )
        if _has(header.qform) and _has(header.sform):
            apart_mm, apart_vox = _apart(header)
            if apart_vox > 1:
                raise UnsurePlaceError(
                    f"{header.path} says two places, whose corners lie up to {apart_mm:.1f} mm ({apart_vox:.1f} "
                    f"voxels) apart by its qform and its sform; {remedy}"
                )

    of_space = {header.space: header for header in reversed(headers)}
    if SCANNER in of_space and TEMPLATE in of_space:
        raise UnsurePlaceError(
            f"{of_space[TEMPLATE].path} lies in the coordinates of {TEMPLATE} (qform or sform code 3 to 5), and "
            f"{of_space[SCANNER].path} in those of {SCANNER}; {remedy}"
        )


def _has(affine: np.ndarray) -> bool:
    return bool(np.isfinite(affine).all())


def _apart(header: VolumeHeader) -> tuple[float, float]:
    """Largest distance of a corner of the volume by its qform from the same by its sform, in mm and in voxels."""
    ends = np.array([(0, size - 1) for size in header.shape], float)
    corners = np.stack([*np.stack(np.meshgrid(*ends, indexing="ij")).reshape(3, -1), np.ones(8)])
    difference_mm = ((header.qform - header.sform) @ corners)[:3]
    difference_vox = np.linalg.solve(header.sform[:3, :3], difference_mm)
    return float(np.linalg.norm(difference_mm, axis=0).max()), float(np.abs(difference_vox).max())


# Files ---------------------------------------------------------------------------------------------------------------


def _reading(path: Path) -> AbstractContextManager[None]:
    return said_of(f"{path} cannot be read as NIfTI or MGH", "the file is damaged or truncated, so copy it again")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped where it is gzip whatever its name."""
    with path.open("rb") as file:
        is_gzip = file.read(len(GZIP)) == GZIP
        file.seek(0)
        with gzip.open(file) if is_gzip else nullcontext(file) as stream:
            yield stream  # pyright: ignore[reportReturnType]


def _fill(stream: IO[bytes], most: int) -> bytes:
    """The next bytes, fewer than `most` only at the end of the file."""
    parts, missing = [], most
    while missing and (part := stream.read(min(missing, 2**20))):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _header_file(path: Path) -> Path:
    """The file itself; of an .img, whose first bytes are voxels and may look like anything, the .hdr beside it."""
    if not path.name.lower().removesuffix(".gz").endswith(".img"):
        return path
    found = _beside(path, ".hdr")
    if found is None and content_of(path) in ("NIfTI", "MGH"):
        return path
    if found is None:
        raise InvalidInputError(f"{path} has no .hdr of its name beside it, which says what it is; put it there")
    return found


def _data_file(path: Path, header_file: Path) -> Path:
    """The file of the voxels that a lone header belongs to."""
    found = _beside(header_file, ".img")
    if found is None:
        raise InvalidInputError(f"{path} is the header of a pair, and no .img of its name lies beside it; put it there")
    return found


def _beside(path: Path, suffix: str) -> Path | None:
    """The file of the same name with another suffix, in lower or upper case, plain or .gz."""
    stem = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    stem = stem.rpartition(".")[0]
    names = [f"{stem}{end}{zipped}" for zipped in ("", ".gz") for end in (suffix, suffix.upper())]
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


# Headers -------------------------------------------------------------------------------------------------------------


def _header_class(block: bytes, path: Path) -> Any:
    content = format_of(block)
    if content == "NIfTI":
        return next(kind for (start, magic), kind in _NIFTI.items() if block[start:].startswith(magic))
    if content in ("Analyze", "MGH"):
        return Spm2AnalyzeHeader if content == "Analyze" else MGHHeader
    remedy = _REMEDIES.get(content, "convert it to NIfTI")
    what = mistake(block) or f"{f'a {content} file' if content else 'none of them'}; {remedy}"
    raise InvalidInputError(f"{path} cannot be read as NIfTI, MGH or Analyze, which volumes are, for it is {what}")


def _judged(block: bytes, path: Path, header_file: Path) -> VolumeHeader:
    kind = _header_class(block, path)
    raw = kind(block[: DATA_OFFSET if kind is MGHHeader else kind.template_dtype.itemsize], check=False)
    header = raw.copy()
    _check_type(header, path)
    header.check_fix(logger=_SILENT, error_level=40)
    if kind is Spm2AnalyzeHeader and _beside(header_file, ".mat"):
        raise InvalidInputError(f"{path} is Analyze with a .mat beside it, which is not read; convert both to NIfTI")
    if isinstance(header, nib.Nifti1Header):
        _norm_quaternion(header)
    shape = _shape(header, path)
    stored = _stored(header, path)
    slope, inter = header.get_slope_inter()
    data = header_file if kind in _SINGLE else _data_file(path, header_file)
    offset = header.get_data_offset()
    if kind in (nib.Nifti1Header, nib.Nifti2Header) and offset < kind.single_vox_offset:
        raise InvalidInputError(
            f"{path} says that its voxels begin at byte {offset}, within its header; it is damaged: write it again"
        )
    _check_bytes(path, data, shape, stored, offset)
    mm = _UNIT_MM.get(_unit(header), 1.0)
    affine, qform, sform = (_in_mm(one, mm) for one in _affines(raw, header, block, path))
    space = _space(header)
    judged = VolumeHeader(path, data, shape, stored, offset, slope or 1.0, inter or 0.0, affine, qform, sform, space)
    _check_affine(judged, _unit(header))
    return judged


def _check_type(header: Any, path: Path) -> None:
    """Whether nibabel reads voxels of this type here: no bits, no 128-bit floats."""
    if isinstance(header, MGHHeader):  # says so itself
        return
    code = int(header["datatype"])
    types = header._data_type_codes
    if code not in types.value_set() or types.dtype[code] == np.void:
        raise InvalidInputError(
            f"{path} holds voxels of data type {code}, which are not read here; write it again as float32, or copy it "
            "again if its header is damaged"
        )


def _norm_quaternion(header: Any) -> None:
    """Makes a quaternion that rounding made longer than 1 one of length 1, as NIfTI's own library does.

    nibabel refuses it. One that is longer by more than a hundredth is damaged.
    """
    names = ("quatern_b", "quatern_c", "quatern_d")
    length = math.hypot(*(float(header[name]) for name in names))
    if 1 < length < 1.01:
        for name in names:
            header[name] = float(header[name]) / length


def _in_mm(affine: np.ndarray, mm: float) -> np.ndarray:
    """Of an affine in units of `mm`, to the digits that float32 holds: .002 m is 2 mm, not 2.0000001, at which a common
    grid would lie beside the voxels and not on them."""
    if mm == 1:
        return affine
    scaled = np.array([float(f"{value:.7g}") for value in (affine[:3] * mm).ravel()]).reshape(3, 4)
    return np.concatenate([scaled, affine[3:]])


def _shape(header: Any, path: Path) -> tuple[int, int, int]:
    """The three axes of one volume; further axes must have length 1."""
    shape = tuple(int(size) for size in header.get_data_shape())
    if min(shape, default=0) < 1:
        raise InvalidInputError(f"{path} has the shape {_times(shape)}, which is none; its header is damaged")
    if len(shape) < 3 or max(shape[3:], default=1) > 1:
        raise InvalidInputError(f"{path} has shape {shape}, it must be one 3-D volume; split it into volumes")
    x, y, z = shape[:3]
    if x * y * z > MAX_VOXELS:
        raise InvalidInputError(
            f"{path} says that it has {_times(shape)} voxels, more than any volume that is read here ({MAX_VOXELS:,}); "
            "its header is damaged, or the volume is to be resampled first"
        )
    return x, y, z


def _stored(header: Any, path: Path) -> np.dtype:
    """dtype of the voxels in the file; real numbers."""
    stored = np.dtype(header.get_data_dtype())
    if stored.kind not in "iuf":
        what = "colours (RGB)" if stored.names else "complex numbers" if stored.kind == "c" else f"{stored}"
        raise InvalidInputError(
            f"{path} holds {what}, and volumes are encoded from one real number a voxel; write the channel that you "
            "mean, or the magnitude, as a volume of its own"
        )
    return stored


def _check_bytes(path: Path, data: Path, shape: tuple[int, int, int], stored: np.dtype, offset: int) -> None:
    """Whether the file can hold the voxels that the header says."""
    size = data.stat().st_size
    wanted = offset + math.prod(shape) * stored.itemsize
    if wanted > MAX_BYTES:
        raise InvalidInputError(
            f"{path} says that its {_times(shape)} voxels of {stored} end at byte {wanted:,}, more than is read here "
            f"({MAX_BYTES:,}); its header is damaged, or the volume is to be stored in fewer bytes"
        )
    with data.open("rb") as file:
        is_gzip = file.read(len(GZIP)) == GZIP
    if offset < 0 or wanted > size * (DEFLATE_RATIO if is_gzip else 1):
        raise InvalidInputError(
            f"{path} cannot be read as NIfTI or MGH: it says that it has {_times(shape)} voxels of {stored} from byte "
            f"{offset} on, and its voxels' file has {size:,} bytes{', zipped' if is_gzip else ''}; it is truncated or "
            "its header damaged: copy it again"
        )


def _unit(header: Any) -> int:
    """Spatial part of xyzt_units; 0 of other formats."""
    return int(header["xyzt_units"]) & 7 if isinstance(header, nib.Nifti1Header) else 0


def _space(header: Any) -> str:
    if not isinstance(header, nib.Nifti1Header):
        return ""
    codes = {int(header[name]) for name in ("qform_code", "sform_code")} - {0}
    spaces = {SCANNER if code in (1, 2) else TEMPLATE if code in (3, 4, 5) else "" for code in codes}
    return spaces.pop() if len(spaces) == 1 else ""


def _affines(raw: Any, header: Any, block: bytes, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """nibabel's choice, qform and sform, in the file's unit. Raises InvalidInputError where nothing says a size."""
    none = np.full((4, 4), np.nan)
    if isinstance(header, MGHHeader):
        if not int.from_bytes(block[28:30]):  # goodRASFlag: nibabel has put 1 mm in already
            raise InvalidInputError(_NO_SIZE.format(path, "not given: goodRASFlag 0"))
        affine = np.asarray(header.get_affine(), float)
        return affine, none, affine
    sizes = [round(float(size), 4) for size in raw["pixdim"][1:4]]
    has_codes = isinstance(header, nib.Nifti1Header)
    if not all(sizes) and not (has_codes and header["sform_code"]):
        raise InvalidInputError(_NO_SIZE.format(path, sizes))
    if not has_codes:
        return np.asarray(header.get_best_affine(), float), none, none
    # Where a size is 0 a qform turns nothing: nibabel would take 1.
    try:
        qform = header.get_qform() if header["qform_code"] and all(sizes) else none
    except ValueError:  # a quaternion that is none; the best affine raises it again where there is no sform
        qform = none
    sform = header.get_sform() if header["sform_code"] else none
    return np.asarray(header.get_best_affine(), float), np.asarray(qform, float), np.asarray(sform, float)


def _check_affine(header: VolumeHeader, unit: int) -> None:
    path, affine = header.path, header.affine
    if not np.isfinite(affine).all():
        raise InvalidInputError(f"{path} has an affine of NaN or infinite numbers, so no place; repair its header")
    if np.abs(affine[:3, 3]).max() > MAX_PLACE_MM:
        place = ", ".join(f"{value:g}" for value in affine[:3, 3])
        raise InvalidInputError(
            f"{path} begins at ({place}) mm, more than {MAX_PLACE_MM:g} mm from the origin; correct the last column of "
            "its affine"
        )
    spacing_mm = header.spacing_mm
    extent_mm = spacing_mm * header.shape
    numbers = f"voxels of {_times(np.round(spacing_mm, 4))} mm, {_times(np.round(extent_mm).astype(int))} mm in all"
    if spacing_mm.min() < SPACING_MM[0] or spacing_mm.max() > SPACING_MM[1] or extent_mm.max() > MAX_EXTENT_MM:
        said = f" (in {_UNIT_NAMES[unit]}, says the header)" if unit in _UNIT_NAMES else ""
        raise InvalidInputError(f"{path} has {numbers}{said}; no scan has that: correct its spacing, or its xyzt_units")
    if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * spacing_mm.prod():
        raise InvalidInputError(f"{path} has a singular affine, so its voxels have no place; repair its header")


def _times(numbers: Iterable[object]) -> str:
    return " x ".join(map(str, numbers))
