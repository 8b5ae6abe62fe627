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
from guidestore.warehouse.cohorts.layout import Reading
from guidestore.warehouse.cohorts.layouts.phantom import (
    GRIDS,
    HIDDEN_CENTRES,
    HIDDEN_SD,
    LABEL_COLUMNS,
    MRI_NOISE_SD,
    Phantom,
    generate_phantom,
)
from guidestore.warehouse.cohorts.phantom_outcomes import PhantomOutcome


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


@pytest.fixture
def bare(monkeypatch):
    """Without pixels, which take their time."""
    monkeypatch.setattr("guidestore.warehouse.cohorts.layouts.phantom.write_slide", lambda path, slide_hwc: None)
    monkeypatch.setattr("guidestore.warehouse.cohorts.layouts.phantom.draw_slide", lambda hidden, rng, slide_px: None)
    monkeypatch.setattr("guidestore.warehouse.cohorts.layouts.phantom.draw_mri", lambda noisy, rng: {})


def states(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What slide and MRI of each case show, drawn as the module says."""
    classes = [row["class"] for row in labels_of(folder)]
    pairs = []
    for number, name in enumerate(classes, start=1):
        of_case = np.random.default_rng([seed, number])
        hidden = of_case.normal(HIDDEN_CENTRES[name], HIDDEN_SD)
        pairs.append((hidden, of_case.normal(hidden, MRI_NOISE_SD)))
    hidden_nh, noisy_nh = (np.array(side) for side in zip(*pairs, strict=True))
    return hidden_nh, noisy_nh


def r2(x: np.ndarray, y: np.ndarray) -> float:
    x = np.column_stack([np.ones(len(x)), x])
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - left.var() / y.var()


@pytest.mark.parametrize(("noise", "direct"), [(0.0, 0.0), (1.0, 0.0), (1.0, 0.3), (0.5, 1.0)])
def test_a_value_is_mediated_by_the_slide_as_said(bare, tmp_path, noise, direct):
    generate_phantom(tmp_path / "p", cases=800, seed=5, outcome=PhantomOutcome("value", noise, direct))
    with (tmp_path / "p" / "Outcomes" / "outcomes.csv").open() as file:
        y = np.array([float(row["value"]) for row in csv.DictReader(file)])
    hidden_nh, noisy_nh = states(tmp_path / "p", 5)
    share = 1 / (1 + noise**2)
    assert r2(hidden_nh, y) == pytest.approx(share * (1 - direct), abs=0.07)
    assert r2(np.column_stack([hidden_nh, noisy_nh]), y) == pytest.approx(share, abs=0.07)
    assert r2(noisy_nh, y) < share * (1 - direct) or direct


def test_survival_follows_the_score_and_is_censored(bare, tmp_path):
    generate_phantom(tmp_path / "p", cases=600, seed=5, outcome=PhantomOutcome("survival", 0.0, 0.0))
    with (tmp_path / "p" / "Outcomes" / "outcomes.csv").open() as file:
        rows = list(csv.DictReader(file))
    times, events = (
        np.array([float(row["os_months"]) for row in rows]),
        np.array([row["os_event"] == "1" for row in rows]),
    )
    assert 0.5 < events.mean() < 0.9
    assert times.min() > 0
    hidden_nh, _ = states(tmp_path / "p", 5)
    risk = hidden_nh.sum(axis=1)
    early = np.median(times[events])
    assert risk[events & (times < early)].mean() > risk[times > early].mean() + 0.5


def test_classes_with_noise_differ_and_pixels_do_not(tmp_path, phantom):
    generate_phantom(tmp_path / "p", cases=9, seed=4, slide_px=256, outcome=PhantomOutcome("classes", 3.0, 0.5))
    plain, noisy = digests(phantom), digests(tmp_path / "p")
    assert {name for name in plain if plain[name] != noisy[name]} == {"labels.csv"}


def test_the_layout_takes_the_outcome_for_its_target(bare, tmp_path):
    layout = Phantom(images=tmp_path / "p", cases=9, seed=4, outcome="survival", noise=1.0, direct=0.25)
    tables = layout.read(Reading("p"))
    assert tables.targets == [{"target": "os", "kind": "survival", "unit": "months"}]
    assert len(tables.labels) == 9
    (cohort,) = tables.cohorts
    assert cohort["note"] == (
        "generated: S mediates 75% of what can be known of the outcome, and R² can be 0.50 at most"
    )
