from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import openslide
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.layouts.phantom import GRIDS, LABEL_COLUMNS, generate_phantom


def make(folder: Path, seed: int) -> Path:
    generate_phantom(folder, cases=9, seed=seed, slide_px=256)
    return folder


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("phantom") / "a", seed=4)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def labels_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_case_has_its_files_in_radpaths_places(phantom):
    rows = labels_of(phantom)
    assert tuple(rows[0]) == LABEL_COLUMNS
    assert [row["CPM_RadPath_2020_ID"] for row in rows] == [f"PHANTOM_{number:04d}" for number in range(1, 10)]
    expected = {"labels.csv"}
    for row in rows:
        case_id = row["CPM_RadPath_2020_ID"]
        expected |= {f"Pathology/{case_id}.tiff"}
        expected |= {f"Radiology/{case_id}/{case_id}_{name}.nii.gz" for name in ("t1", "t1ce", "t2", "flair")}
        assert 20 * 365 <= int(row["age_in_days"]) < 80 * 365
    assert set(digests(phantom)) == expected


def test_classes_come_in_the_papers_shares(tmp_path, monkeypatch):
    monkeypatch.setattr("guidestore.warehouse.cohorts.layouts.phantom.write_slide", lambda path, slide_hwc: None)
    monkeypatch.setattr("guidestore.warehouse.cohorts.layouts.phantom.draw_slide", lambda hidden, rng, slide_px: None)
    monkeypatch.setattr("guidestore.warehouse.cohorts.layouts.phantom.draw_mri", lambda noisy, rng: {})
    counts = {}
    for cases in (9, 24, 48, 221):
        generate_phantom(tmp_path / str(cases), cases=cases)
        counts[cases] = Counter(row["class"] for row in labels_of(tmp_path / str(cases)))
    assert counts == {
        9: {"G": 3, "O": 3, "A": 3},
        24: {"G": 12, "O": 6, "A": 6},
        48: {"G": 29, "O": 7, "A": 12},
        221: {"G": 133, "O": 34, "A": 54},
    }


def test_slides_open_in_openslide_with_their_scale(phantom):
    with openslide.OpenSlide(phantom / "Pathology" / "PHANTOM_0001.tiff") as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.5)
        assert slide.level_dimensions == ((256, 256), (64, 64))
        pixels = np.asarray(slide.read_region((0, 0), 0, (256, 256)).convert("RGB"))
    assert pixels.std() > 20
    assert (pixels.min(axis=-1) > 235).any()  # Glass around the tissue.


def test_volumes_open_in_nibabel_on_grids_that_differ(phantom):
    images = {name: nib.load(phantom / "Radiology" / "PHANTOM_0001" / f"PHANTOM_0001_{name}.nii.gz") for name in GRIDS}
    for name, image in images.items():
        assert image.shape == GRIDS[name].shape_vox
        assert image.get_data_dtype() == np.int16
        assert np.allclose(image.affine, GRIDS[name].affine)
        voxels = np.asarray(image.dataobj)
        assert voxels[0, 0, 0] == 0
        assert 0.2 < (voxels > 0).mean() < 0.7
    assert "".join(nib.aff2axcodes(images["t1"].affine)) == "RAS"
    assert "".join(nib.aff2axcodes(images["t2"].affine)) == "LAS"
    # The brain is at one physical place in all of them.
    centres = [
        nib.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj) > 0).mean(axis=0))
        for image in images.values()
    ]
    assert np.ptp(centres, axis=0).max() < 1.0


def test_the_seed_decides_every_byte(phantom, tmp_path):
    own = digests(phantom)
    assert digests(make(tmp_path / "again", seed=4)) == own
    other = digests(make(tmp_path / "other", seed=5))
    assert other.keys() == own.keys()
    assert not any(other[name] == own[name] for name in own if name != "labels.csv")


def test_what_cannot_be_made_is_refused(tmp_path, phantom):
    with pytest.raises(InvalidInputError, match="at least 9"):
        generate_phantom(tmp_path / "a", cases=8)
    with pytest.raises(InvalidInputError, match="multiple of 256"):
        generate_phantom(tmp_path / "a", slide_px=1000)
    assert not (tmp_path / "a").exists()
    with pytest.raises(InvalidInputError, match="not an empty folder"):
        generate_phantom(phantom)
