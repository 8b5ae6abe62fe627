"""Volume files against nibabel: the same voxels, the same place in mm, and what is refused before a voxel is read."""

from __future__ import annotations

import bz2
import gzip
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.content import format_of
from guidestore.encoders.input_kind import NewImages
from guidestore.encoders.kinds.volumes import GROUPS, Volumes
from guidestore.encoders.volume_files import read_header, read_voxels, volume_pixels
from guidestore.encoders.volumes import VolumeSettings, load_volume

SHAPE = (12, 10, 9)
SETTINGS = VolumeSettings(("t1",), (12, 12, 12), 2.0)


def voxels(seed: int = 0) -> np.ndarray:
    """A bright box in the dark."""
    inside = np.zeros(SHAPE, np.int16)
    inside[2:-2, 2:-2, 2:-2] = np.random.default_rng(seed).integers(50, 900, (8, 6, 5))
    return inside


AFFINE = np.array([[-2.0, 0, 0, 11], [0, 2, 0, -9], [0, 0, 3, -12], [0, 0, 0, 1]])


def nifti(path: Path, content: np.ndarray, affine: np.ndarray = AFFINE, **header: object) -> Path:
    """A NIfTI file with these fields of the header."""
    image = nib.Nifti1Image(content, affine)
    image.header["xyzt_units"] = 2
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def patched(path: Path, **fields: object) -> Path:
    """The plain NIfTI 1 file with fields of its header overwritten, whatever nibabel thinks of them."""
    header = np.frombuffer(path.read_bytes()[:348], nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.tobytes() + path.read_bytes()[348:])
    return path


def test_what_nibabel_reads_is_read_as_nibabel_reads_it(tmp_path: Path):
    files = [nifti(tmp_path / f"{dtype}.nii.gz", voxels().astype(dtype)) for dtype in ("u1", "i2", "<f4", ">f4", "f8")]
    files.append(nifti(tmp_path / "scaled.nii", voxels()))
    patched(files[-1], scl_slope=0.25, scl_inter=-7)
    kinds: dict[str, Any] = {"two.nii": nib.Nifti2Image, "mgh.mgz": nib.MGHImage, "pair.img": nib.Nifti1Pair}
    for name, kind in kinds.items():
        files.append(tmp_path / name)
        kind(voxels(), AFFINE).to_filename(files[-1])
    files.append(tmp_path / "pair.hdr")
    swapped = nib.Nifti1Header(endianness=">")
    nib.Nifti1Image(voxels(), AFFINE, swapped).to_filename(tmp_path / "swapped.nii")
    files.append(tmp_path / "swapped.nii")
    nib.Spm2AnalyzeImage(voxels(), None).to_filename(tmp_path / "analyze.img")
    (tmp_path / "analyze.mat").unlink(missing_ok=True)
    files.append(tmp_path / "analyze.hdr")
    for file in files:
        reference: Any = nib.load(file)
        header = read_header(file)
        assert np.array_equal(read_voxels(header), np.asarray(reference.dataobj, np.float32)), file
        assert np.array_equal(header.affine, reference.affine), file


def test_the_content_says_what_is_zipped_and_not_the_name(tmp_path: Path):
    plain = nifti(tmp_path / "a.nii", voxels())
    (tmp_path / "plain.nii.gz").write_bytes(plain.read_bytes())
    (tmp_path / "zipped.nii").write_bytes(gzip.compress(plain.read_bytes()))
    for name in ("plain.nii.gz", "zipped.nii"):
        assert np.array_equal(read_voxels(read_header(tmp_path / name)), voxels())


@pytest.mark.parametrize("ones", [(1,), (1, 1), (1, 1, 1, 1)])
def test_axes_of_length_1_make_no_other_volume(tmp_path: Path, ones: tuple[int, ...]):
    file = nifti(tmp_path / "a.nii.gz", voxels().reshape(*SHAPE, *ones))
    assert np.array_equal(read_voxels(read_header(file)), voxels())


@pytest.mark.parametrize(("unit", "factor"), [(3, 1000.0), (1, 0.001), (0, 1.0), (2, 1.0)])
def test_units_become_mm(tmp_path: Path, unit: int, factor: float):
    scaled = np.diag([factor, factor, factor, 1]) @ AFFINE
    file = nifti(tmp_path / "a.nii.gz", voxels(), scaled, xyzt_units=unit)
    assert read_header(file).affine == pytest.approx(AFFINE, abs=1e-4)
    other = nifti(tmp_path / "b.nii.gz", voxels())
    assert np.allclose(load_volume({"t1": file}, SETTINGS), load_volume({"t1": other}, SETTINGS), atol=1e-4)


def test_metres_lie_on_the_same_grid_as_mm(tmp_path: Path):
    """.002 is no float32: a grid that lies 1e-7 beside the voxels has other voxels above 0."""
    in_m = nifti(tmp_path / "m.nii.gz", voxels(), np.diag([0.002, 0.002, 0.003, 1]), xyzt_units=1)
    in_mm = nifti(tmp_path / "mm.nii.gz", voxels(), np.diag([2.0, 2, 3, 1]))
    assert np.array_equal(read_header(in_m).affine, read_header(in_mm).affine)
    assert np.array_equal(load_volume({"t1": in_m}, SETTINGS), load_volume({"t1": in_mm}, SETTINGS))


def test_a_file_is_read_to_its_end(tmp_path: Path):
    whole = nifti(tmp_path / "a.nii.gz", voxels()).read_bytes()
    (crc, length) = struct.unpack("<II", whole[-8:])
    damaged = {
        "crc": whole[:-8] + struct.pack("<II", crc ^ 1, length),
        "length": whole[:-4] + struct.pack("<I", length + 1),
        "cut": whole[:-9],
        "flipped": whole[:400] + bytes([whole[400] ^ 4]) + whole[401:],
    }
    for name, content in damaged.items():
        file = tmp_path / f"{name}.nii.gz"
        file.write_bytes(content)
        with pytest.raises(InvalidInputError, match=f"{name}.nii.gz cannot be read as NIfTI .*copy it again"):
            read_voxels(read_header(file))
    long = tmp_path / "long.nii.gz"
    long.write_bytes(gzip.compress(gzip.decompress(whole) + bytes(2**24 + 1)))
    with pytest.raises(InvalidInputError, match=r"long.nii.gz goes on for more than 16777216 bytes after the voxels"):
        read_voxels(read_header(long))


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "negative": ({"dim": [3, -12, 10, 9, 1, 1, 1, 1]}, "has the shape -12 x 10 x 9, which is none"),
    "zero": ({"dim": [3, 12, 0, 9, 1, 1, 1, 1]}, "has the shape 12 x 0 x 9, which is none"),
    "flat": ({"dim": [2, 12, 90, 1, 1, 1, 1, 1]}, r"has shape \(12, 90\), it must be one 3-D volume"),
    "7-D": ({"dim": [7, 3, 2, 2, 2, 2, 3, 5]}, r"has shape \(3, 2, 2, 2, 2, 3, 5\), it must be one 3-D volume"),
    "huge": ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "30000 x 30000 x 30000 voxels, more than any volume"),
    "long": ({"dim": [3, 120, 100, 90, 1, 1, 1, 1]}, "says that it has 120 x 100 x 90 voxels of int16 from byte 352"),
    "offset": ({"vox_offset": 1e9}, "from byte 1000000000 on, and its voxels' file has 2,512 bytes"),
    "offset of 0": ({"vox_offset": 0}, "says that its voxels begin at byte 0, within its header"),
    "no offset": ({"vox_offset": np.nan}, "cannot be read as NIfTI"),
    "unknown": ({"datatype": 9999}, "holds voxels of data type 9999, which are not read here"),
    "RGB": ({"datatype": 128, "bitpix": 24}, r"holds colours \(RGB\), and volumes are encoded from one real number"),
    "complex": ({"datatype": 32, "bitpix": 64}, "holds complex numbers, and volumes are encoded from one real"),
    "microns": ({"srow_x": [2000, 0, 0, 0]}, r"has voxels of 2000.0 x 2.0 x 3.0 mm, .*\(in mm, says the header\)"),
    "tiny": ({"xyzt_units": 3}, r"voxels of 0.002 x 0.002 x 0.003 mm, .*\(in microns, says the header\)"),
    "gap": ({"srow_z": [0, 0, 150, 0]}, "has voxels of 2.0 x 2.0 x 150.0 mm, 24 x 20 x 1350 mm in all"),
    "NaN": ({"srow_y": [0, np.nan, 0, 0]}, "affine of NaN or infinite numbers"),
    "flat place": ({"srow_y": [2, 0, 0.0001, 0], "srow_x": [2, 0, 0.0001, 0], "srow_z": [2, 2, 2, 2]}, "singular"),
    "far": ({"srow_x": [2, 0, 0, 1e30]}, r"begins at \(1e\+30, -9, -12\) mm, more than 100000 mm from the origin"),
    "bits": ({"datatype": 1, "bitpix": 1}, "holds voxels of data type 1, which are not read here"),
    "128 bits": ({"datatype": 1536, "bitpix": 128}, "holds voxels of data type 1536, which are not read here"),
    "quaternion": ({"sform_code": 0, "qform_code": 1, "quatern_c": 5}, "w2 should be positive"),
    "no size": ({"sform_code": 0, "pixdim": [1, 2, 2, 0, 0, 0, 0, 0]}, r"says no voxel size \(it is \[2.0, 2.0, 0.0\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_headers_are_judged_before_a_voxel_is_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    fields, sentence = REFUSED[name]
    monkeypatch.setattr("guidestore.encoders.volumes.read_voxels", None)
    file = patched(nifti(tmp_path / f"{name}.nii", voxels()), **fields)
    with pytest.raises(InvalidInputError, match=sentence) as caught:
        load_volume({"t1": file}, SETTINGS)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    zipped = tmp_path / f"{name}.nii.gz"
    zipped.write_bytes(gzip.compress(file.read_bytes()))
    if name not in ("long", "offset"):  # gzip could hold these
        with pytest.raises(InvalidInputError, match=sentence):
            load_volume({"t1": zipped}, SETTINGS)


def test_a_small_gzip_that_claims_a_gigabyte_costs_nothing(tmp_path: Path):
    file = patched(nifti(tmp_path / "a.nii", voxels()), dim=[3, 640, 800, 1000, 1, 1, 1, 1])
    zipped = tmp_path / "a.nii.gz"
    zipped.write_bytes(gzip.compress(file.read_bytes() + np.random.default_rng(0).bytes(2**19)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInputError, match=r"640 x 800 x 1000 voxels of int16 .* file has 5\d\d,\d+ bytes, zip"):
        load_volume({"t1": zipped}, SETTINGS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_grid_that_would_not_fit_into_memory_is_refused(tmp_path: Path):
    file = nifti(tmp_path / "a.nii", voxels(), np.diag([20.0, 20, 20, 1]))
    with pytest.raises(
        InvalidInputError, match=r"from 12 x 10 x 9 voxels of 20 x 20 x 20 mm to 2201 x 1801 x 1601 of 0.1 mm"
    ):
        load_volume({"t1": file}, VolumeSettings(("t1",), (4, 4, 4), 0.1))


def test_a_size_of_0_is_no_matter_where_the_sform_says_it(tmp_path: Path):
    file = patched(nifti(tmp_path / "a.nii", voxels()), pixdim=[1, 0, 0, 0, 0, 0, 0, 0])
    assert np.array_equal(read_header(file).affine, AFFINE)


def places(tmp_path: Path, **t2_header: object) -> dict[str, Path]:
    """Two sequences of one case, the second one's header changed."""
    files = {name: tmp_path / f"{name}.nii" for name in ("t1", "t2")}
    for seed, file in enumerate(files.values()):
        image = nib.Nifti1Image(voxels(seed), AFFINE)
        image.set_qform(AFFINE, 1)
        image.to_filename(file)
    patched(files["t2"], **t2_header)
    return files


def moved(mm: float) -> dict[str, object]:
    return {"qoffset_x": AFFINE[0, 3] + mm}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"qform_code": 0, "sform_code": 0}, r"t2.nii says no place .* would lie 0.\d mm from that of .*t1.nii"),
        (moved(8), r"t2.nii says two places, whose corners lie up to 8.0 mm \(4.0 voxels\) apart by its qform and its"),
        ({"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]}, "t2.nii says two places"),
        (
            {"qform_code": 0, "sform_code": 4},
            "t2.nii lies in the coordinates of a template .*t1.nii in those of the sc",
        ),
    ],
)
def test_a_sequence_without_a_sure_place_is_refused_unless_it_is_trusted(tmp_path: Path, fields, sentence):
    files, settings = places(tmp_path, **fields), VolumeSettings(("t1", "t2"), (12, 12, 12), 2.0)
    with pytest.raises(InvalidInputError, match=sentence) as caught:
        load_volume(files, settings)
    assert "--trust-geometry" in str(caught.value)
    assert load_volume(files, settings, trust_geometry=True).shape == (2, 12, 12, 12)
    alone = VolumeSettings(("t2",), (12, 12, 12), 2.0)
    assert load_volume(files, alone).shape == (1, 12, 12, 12)  # nothing to lie beside


@pytest.mark.parametrize("fields", [{}, moved(1.5), {"qform_code": 0}, {"sform_code": 0}, {"sform_code": 4}])
def test_places_that_agree_within_a_voxel_are_taken(tmp_path: Path, fields):
    volume = load_volume(places(tmp_path, **fields), VolumeSettings(("t1", "t2"), (12, 12, 12), 2.0))
    assert volume.shape == (2, 12, 12, 12)


@pytest.mark.parametrize("rescaled", [lambda v: (v - 300.0) / 83, lambda v: 1000.0 - v, lambda v: v + 1024.0])
def test_a_constant_border_is_background_whatever_its_value(tmp_path: Path, rescaled: Callable):
    """As z-scored BraTS, an inverted picture, and CT have it."""
    plain = nifti(tmp_path / "plain.nii", voxels())
    other = nifti(tmp_path / "other.nii", rescaled(voxels()).astype(np.float32))
    expected, volume = (load_volume({"t1": file}, SETTINGS) for file in (plain, other))
    sign = np.sign(rescaled(1.0) - rescaled(0.0))
    assert np.array_equal(volume != 0, expected != 0)
    assert np.allclose(volume, sign * expected, atol=1e-3)


def scored(v: np.ndarray) -> np.ndarray:
    """Z-scored, background -.6 or so."""
    return ((v - v.mean()) / v.std()).astype(np.float32)


def rounded(v: np.ndarray) -> np.ndarray:
    """A background that resampling rounded."""
    noise = np.random.default_rng(0).integers(-2, 3, v.shape)
    return np.where(v > 0, scored(v), scored(v) + noise * np.spacing(scored(v).min())).astype(np.float32)


def shifted(by: int) -> np.ndarray:
    """AFFINE of the volume padded by so many voxels."""
    return AFFINE @ nib.affines.from_matvec(np.eye(3), [-by] * 3)


TURNED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.1, -0.2)) @ AFFINE
TWINS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]] = {
    "oblique": (lambda v: v, TURNED.astype(np.float32)),
    "padded": (lambda v: np.pad(v, 4), shifted(4)),
    "rounded": (rounded, AFFINE),
    "scored, then padded with 0": (lambda v: np.pad(scored(v), 4), shifted(4)),
    "1e-25": (lambda v: v * 1e-25, AFFINE),
    "1e20": (lambda v: v * 1e20, AFFINE),
}


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("spacing_mm", [2.0, 4.0])
def test_the_same_volume_written_otherwise_is_the_same(tmp_path: Path, twin: str, spacing_mm: float):
    """Where the last bits of an affine or of a background decided, another voxel was brain."""
    rewritten, affine = TWINS[twin]
    settings = VolumeSettings(("t1",), (12, 12, 12), spacing_mm)
    plain = nifti(tmp_path / "plain.nii", voxels())
    other = nifti(tmp_path / "other.nii", rewritten(voxels()), affine)
    expected, volume = (load_volume({"t1": file}, settings) for file in (plain, other))
    assert np.allclose(volume, expected, atol=1e-4)


def by_hand(path: Path, spacing_mm: float, shape: tuple[int, int, int]) -> np.ndarray:
    """What `load_volume` gives of one sequence whose background is 0, by nibabel and scipy."""
    image: Any = nib.as_closest_canonical(nib.load(path))
    values, zooms = np.asarray(image.dataobj, float), np.array(image.header.get_zooms()[:3])
    counts = np.floor((np.array(values.shape) - 1) * zooms / spacing_mm + 1.5 + 1e-4).astype(int)
    places = np.indices(counts) * (spacing_mm / zooms)[:, None, None, None]
    placed = map_coordinates(values, places, order=1, cval=0)
    placed[map_coordinates((values != 0) * 1.0, places, order=1, cval=0) < 1e-3] = 0
    ends = [(axis.min(), axis.max() + 1) for axis in np.nonzero(placed)]
    brain = placed[tuple(slice(*end) for end in ends)]
    inside = brain != 0
    brain[inside] = (brain[inside] - brain[inside].mean()) / brain[inside].std()
    brain = brain.transpose(2, 1, 0)
    room = np.array(shape) - brain.shape
    assert (room >= 0).all()
    return np.pad(brain, [(free // 2, free - free // 2) for free in room])


@pytest.mark.parametrize("spacing_mm", [2.0, 3.0, 1.5])
@pytest.mark.parametrize("signed", [False, True])
def test_a_volume_is_what_nibabel_and_scipy_make_of_it(tmp_path: Path, spacing_mm: float, signed: bool):
    """Signed: z-scored within the brain, background 0, as HD-BET and nnU-Net leave it."""
    content = voxels().astype(np.float32)
    if signed:
        content[content > 0] = (content[content > 0] - 480) / 240
    file = nifti(tmp_path / "a.nii", content, TURNED)
    volume = load_volume({"t1": file}, VolumeSettings(("t1",), (16, 16, 16), spacing_mm))
    assert np.allclose(volume[0], by_hand(file, spacing_mm, (16, 16, 16)), atol=2e-3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda v: v > 0, "has one value alone besides its background, as a mask has"),
        (lambda v: v * 1e33, r"holds NaN, infinite values or numbers beyond 1e\+30 \(22.2% of the voxels\)"),
        (lambda v: v * 1e-38, "holds no number above 1e-30, which is lost in float32"),
        (lambda v: np.where(v == v.max(), 1, 0), "has one value alone besides its background"),
        (lambda v: -1.0 - np.random.default_rng(0).random(v.shape), "has no voxel above zero, and no background"),
    ],
)
def test_values_that_no_code_can_be_made_of_are_refused(tmp_path: Path, content, sentence):
    dtype = np.uint8 if content(voxels()).dtype == bool else np.float64
    file = nifti(tmp_path / "a.nii", content(voxels()).astype(dtype))
    with pytest.raises(InvalidInputError, match=f"a.nii {sentence}"):
        load_volume({"t1": file}, SETTINGS)


def test_a_quaternion_that_rounding_made_too_long_is_taken_as_niftis_own_library_does(tmp_path: Path):
    file = patched(places(tmp_path)["t1"], sform_code=0)
    expected = read_header(file).affine
    patched(file, quatern_c=1.00001)
    with pytest.raises(ValueError, match="w2 should be positive"):
        nib.load(file)
    assert read_header(file).affine == pytest.approx(expected, abs=1e-4)
    patched(file, sform_code=1, quatern_c=5)  # where the sform says the place
    assert np.array_equal(read_header(file).affine, nib.load(file.with_name("t2.nii")).affine)


def test_the_voxels_of_a_pair_may_look_like_another_format(tmp_path: Path):
    content = voxels().astype(np.uint8)
    content[:6, 0, 0] = [0, 0, 0, 1, 0, 0]
    nib.Nifti1Pair(content, AFFINE).to_filename(tmp_path / "a.img")
    assert format_of((tmp_path / "a.img").read_bytes()) == "MGH"
    assert np.array_equal(read_voxels(read_header(tmp_path / "a.img")), content)


def test_a_volume_of_one_value_has_nothing_to_encode(tmp_path: Path):
    file = nifti(tmp_path / "a.nii", np.full(SHAPE, 7, np.int16))
    with pytest.raises(InvalidInputError, match=r"a.nii has no voxel other than its background, so"):
        load_volume({"t1": file}, SETTINGS)


def test_what_is_no_volume_says_what_it_is(tmp_path: Path):
    (tmp_path / "a.nii").write_bytes(b"\xff\xd8\xff\xe0 and so on")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"no volume"))
    (tmp_path / "c.img").write_bytes(bytes(1000))
    (tmp_path / "twice.nii.gz").write_bytes(gzip.compress(gzip.compress(bytes(1000))))
    (tmp_path / "a.nii.bz2").write_bytes(bz2.compress(bytes(1000)))
    (tmp_path / "a.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    (tmp_path / "lfs.nii.gz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "login.nii.gz").write_bytes(b"<!DOCTYPE html><html>")
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(100))
    nib.Nifti1Pair(voxels(), AFFINE).to_filename(tmp_path / "d.img")
    (tmp_path / "d.img").unlink()
    for name, sentence in {
        "a.nii": "which volumes are, for it is a JPEG file",
        "twice.nii.gz": "it is compressed by gzip; unpack it",
        "a.nii.bz2": "it is a bzip2 file; unpack it, and zip it with gzip",
        "a.mha": "it is a MetaImage file; convert it to NIfTI, e.g. with SimpleITK",
        "a.nrrd": "it is a NRRD file; convert it to NIfTI, e.g. with SimpleITK",
        "lfs.nii.gz": "it is a pointer of git-lfs and not the file itself; run `git lfs pull`",
        "login.nii.gz": "it is a web page, as one that asks to sign in; download it again",
        "IM0001": "it is a DICOM file; convert a series of scans to NIfTI, e.g. with dcm2niix",
        "b.nii.gz": "which volumes are, for it is none of them",
        "c.img": "has no .hdr of its name beside it",
        "d.hdr": "no .img of its name lies beside it",
        "/dev/zero": r"cannot be read \(it is a pipe, socket or device\)",
    }.items():
        with pytest.raises(InvalidInputError, match=sentence):
            read_header(tmp_path / name)


@pytest.mark.parametrize(
    ("fields", "geometry", "note"),
    [
        ({}, "sform", ""),
        ({"qform_code": 0, "sform_code": 0}, "none", "it says no place (no qform, no sform)"),
        (moved(8), "sform", "its qform and its sform lie up to 8.0 mm apart: its sform is taken"),
    ],
)
def test_a_volume_alone_without_a_sure_place_is_noted(tmp_path: Path, fields, geometry, note):
    file = places(tmp_path, **fields)["t2"]
    pixels, notes = volume_pixels(file)
    assert pixels.geometry == geometry
    assert [sentence.startswith(note) for _, sentence in notes] == [True] * bool(note)
    assert np.array_equal(read_header(file).affine, nib.load(file).affine)


def test_new_cases_are_trusted_where_somebody_says_so(tmp_path: Path):
    files = [file.rename(tmp_path / f"case_{name}.nii") for name, file in places(tmp_path, **moved(8)).items()]
    settings = VolumeSettings(("t1", "t2"), (12, 12, 12), 2.0)

    def inputs(**told: bool) -> dict[str, np.ndarray]:
        new = NewImages(files, "pair", settings.as_dict(), None, lambda digest: pytest.fail(digest), **told)
        return Volumes().new_inputs(new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GROUPS, "pair", ("mri_t1", "mri_t2"))  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidInputError, match="two places"):
            inputs()
        assert inputs(trust_geometry=True)["case"].shape == (2, 12, 12, 12)


def test_new_cases_may_be_of_any_format_and_any_case_of_letters(tmp_path: Path):
    folder = tmp_path / "case"
    folder.mkdir()
    nib.Nifti1Pair(voxels(), AFFINE).to_filename(folder / "CASE_t1.img")
    nib.MGHImage(voxels(1), AFFINE).to_filename(folder / "CASE_T2.mgz")
    (folder / "._CASE_t1.img").write_bytes(b"\0\5\x16\7")  # macOS
    settings = VolumeSettings(("t1", "t2"), (12, 12, 12), 2.0)
    expected = load_volume({"t1": folder / "CASE_t1.hdr", "t2": folder / "CASE_T2.mgz"}, settings)
    listed = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GROUPS, "pair", ("mri_t1", "mri_t2"))  # pyright: ignore[reportArgumentType]
        for files in ([folder], listed):
            new = NewImages(files, "pair", settings.as_dict(), None, lambda digest: pytest.fail(digest))
            ((case, volume),) = Volumes().new_inputs(new).items()
            assert case == "CASE"
            assert np.array_equal(volume, expected)
