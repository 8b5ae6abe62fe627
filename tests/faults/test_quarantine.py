"""A cohort in which everything that can be wrong with an image is wrong: named, and the rest is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile

from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from tests.commandline import guidestore

SLIDE_FAULTS = {
    "PHANTOM_0001": "truncated",
    "PHANTOM_0002": "all white",
    "PHANTOM_0003": "one huge level",
    "PHANTOM_0004": "no mpp",
    "PHANTOM_0005": "no slide",
    "PHANTOM_0006": "dust",
}
VOLUME_FAULTS = {
    "PHANTOM_0001": "zero bytes",
    "PHANTOM_0002": "NaN",
    "PHANTOM_0003": "two channels",
    "PHANTOM_0004": "truncated",
}
SAYS = {
    "truncated": "damaged",
    "all white": "no tissue",
    "dust": "no tissue",
    "one huge level": "pyramid",
    "no mpp": "--slide-mpp",
    "no slide": "OpenSlide cannot read",
    "zero bytes": "is empty",
    "NaN": "NaN",
    "two channels": "it must be one 3-D volume",
}


def _write(path: Path, slide_hwc: np.ndarray, mpp: float | None = 0.5) -> None:
    tags = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        for level, subfile in ((slide_hwc, 0), (slide_hwc[::4, ::4], 1)):
            tiff.write(level, tile=(256, 256), photometric="rgb", compression="jpeg", subfiletype=subfile, **tags)


def _white_tiles(count: int) -> Iterator[np.ndarray]:
    for _ in range(count):
        yield np.full((512, 512, 3), 240, np.uint8)


def spoil_slide(path: Path, fault: str) -> None:
    white = np.full((1024, 1024, 3), 240, np.uint8)
    if fault == "truncated":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
    elif fault == "all white":
        _write(path, white)
    elif fault == "dust":
        white[500:520, 500:520] = (120, 40, 110)  # 10 um
        _write(path, white)
    elif fault == "no mpp":
        _write(path, tifffile.imread(path)[:1024, :1024], mpp=None)
    elif fault == "no slide":
        path.write_text("not a slide")
    elif fault == "one huge level":
        edge = 512 * 33
        with tifffile.TiffWriter(path) as tiff:
            tiff.write(
                _white_tiles(33 * 33),
                shape=(edge, edge, 3),
                dtype=np.uint8,
                tile=(512, 512),
                photometric="rgb",
                compression="jpeg",
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
            )


def spoil_volume(path: Path, fault: str) -> None:
    image: Any = nib.load(path)
    voxels = np.asarray(image.dataobj)
    if fault == "zero bytes":
        path.write_bytes(b"")
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif fault == "NaN":
        nib.Nifti1Image(np.where(voxels > 500, np.nan, voxels).astype(np.float32), image.affine).to_filename(path)
    elif fault == "two channels":
        nib.Nifti1Image(np.stack([voxels, voxels], axis=-1), image.affine).to_filename(path)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(store, images) of nine cases, most of them spoilt before the cohort was added."""
    folder = tmp_path_factory.mktemp("spoilt")
    images = folder / "images"
    generate_phantom(images, cases=9, seed=4, slide_px=1024)
    for case, fault in SLIDE_FAULTS.items():
        spoil_slide(images / "Pathology" / f"{case}.tiff", fault)
    for case, fault in VOLUME_FAULTS.items():
        spoil_volume(images / "Radiology" / case / f"{case}_t2.nii.gz", fault)
    (images / "Radiology" / "PHANTOM_0009" / "PHANTOM_0009_flair.nii.gz").unlink()
    done = guidestore("cohort", "add", "radpath", "spoilt", "--source", images, "--splits", 0, "--store", folder / "s")
    assert done.returncode == 0, done.stderr
    assert "PHANTOM_0009" in done.stderr
    return folder / "s", images


@pytest.mark.parametrize(
    ("modality", "encoder", "options", "faults", "whole"),
    [
        ("histology", "texture", ("--mpp", "2", "--tile-px", "128"), SLIDE_FAULTS, 3),
        ("mri_all", "first_order", (), VOLUME_FAULTS, 4),  # PHANTOM_0009 lacks a sequence: no image, so no failure
    ],
)
def test_each_is_quarantined_with_its_reason_and_tried_again_alone(spoilt, modality, encoder, options, faults, whole):
    store, _ = spoilt
    arguments = ("encode", "spoilt", "--modality", modality, "--encoder", encoder, *options, "--store", store)
    first = guidestore(*arguments)
    assert first.returncode == 8, first.stderr
    assert f"encoded {whole}, there already 0, in quarantine {len(faults)}" in first.stdout
    assert "Traceback" not in first.stderr
    asked = guidestore("sql", f"FROM quarantine WHERE encoder = '{encoder}'", "--store", store, "--format", "json")
    rows = {row["case_id"]: row["reason"] for row in json.loads(asked.stdout)}
    assert rows.keys() == faults.keys()
    for case, fault in faults.items():
        assert SAYS[fault] in rows[case], (fault, rows[case])
        assert case in rows[case]  # the file is named
        assert "\n" not in rows[case]
    again = guidestore(*arguments)
    assert again.returncode == 8
    assert f"encoded 0, there already {whole}, in quarantine {len(faults)}" in again.stdout
    sequences = 4 if modality == "mri_all" else 1
    assert f"image files read {len(faults) * sequences};" in again.stdout


def test_a_mended_image_leaves_quarantine(spoilt, tmp_path):
    """Runs after the others: it mends the slide that had no mpp."""
    store, images = spoilt
    generate_phantom(tmp_path / "again", cases=9, seed=4, slide_px=1024)
    (images / "Pathology" / "PHANTOM_0004.tiff").write_bytes(
        (tmp_path / "again" / "Pathology" / "PHANTOM_0004.tiff").read_bytes()
    )
    options = ("--mpp", "2", "--tile-px", "128", "--store", store)
    encode = ("encode", "spoilt", "--modality", "histology", "--encoder", "texture", *options)
    assert "changed since cohort add" in guidestore(*encode).stderr
    guidestore("cohort", "add", "radpath", "spoilt", "--source", images, "--splits", 0, "--store", store)
    assert "encoded 1, there already 3, in quarantine 5" in guidestore(*encode).stdout
    asked = guidestore("sql", "FROM quarantine WHERE case_id = 'PHANTOM_0004'", "--store", store, "--format", "json")
    assert [row["encoder"] for row in json.loads(asked.stdout)] == ["first_order"]
