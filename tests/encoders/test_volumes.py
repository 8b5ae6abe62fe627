from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.volumes import DEMO_VOLUMES, SEQUENCES, VolumeSettings, load_volume, sequence_files
from tests.encoders.making import write_nifti

PATIENTS = {"TCGA-DU-7294": 0.9, "TCGA-FG-6692": 0.6}
"""Least overlap of the sequences' brains; the second patient's T1s and T2s are of two positions of the head."""
CENTRE_MM = np.array([12.0, -20.0, 9.0])


def _scene(axcodes_sign: tuple[int, int, int], spacing: tuple[float, float, float], shape: tuple[int, int, int]):
    """A ball of radius 40 mm with a bright small ball at CENTRE_MM, sampled on a grid of its own: voxels, affine."""
    affine = np.diag([*(np.array(axcodes_sign) * spacing), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + [3.0, 1.0, -2.0]
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    place_mm = index @ affine[:3, :3].T + affine[:3, 3]
    head = np.linalg.norm(place_mm, axis=-1) < 40
    ball = np.linalg.norm(place_mm - CENTRE_MM, axis=-1) < 9
    return (head * 100 + ball * 400).astype(np.int16), affine


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """Four sequences of one scene on four grids."""
    grids = {
        "t1": ((1, 1, 1), (2.0, 2.0, 2.0), (50, 50, 50)),
        "t1ce": ((-1, 1, 1), (1.5, 2.5, 3.0), (64, 40, 34)),
        "t2": ((-1, -1, 1), (3.0, 2.0, 2.2), (34, 50, 46)),
        "flair": ((1, -1, -1), (2.4, 1.9, 2.5), (44, 54, 42)),
    }
    folder = tmp_path / "CASE"
    for sequence, grid in grids.items():
        write_nifti(folder / f"CASE_{sequence}.nii.gz", *_scene(*grid))
    return folder


def test_sequences_on_different_grids_meet_at_physical_places(case):
    settings = VolumeSettings(shape_vox=(40, 40, 40), spacing_mm=2.0, fit="scale")
    volume_cdhw = load_volume(case, settings)
    assert volume_cdhw.shape == (4, 40, 40, 40)
    assert volume_cdhw.dtype == np.float32
    # The head lies around 0 mm and its 80 mm and the rim of half a voxel fill the 40 voxels; d, h, w are S, A, R.
    for channel in volume_cdhw:
        head_vox = np.argwhere(channel != 0).mean(axis=0)
        ball_vox = np.argwhere(channel > channel.max() * 0.6).mean(axis=0)
        assert np.abs((ball_vox - head_vox) * 2.1 - CENTRE_MM[::-1]).max() < 0.5


def test_intensities_are_z_scored_over_the_brain(case):
    volume_cdhw = load_volume(case, VolumeSettings(shape_vox=(48, 48, 48), spacing_mm=2.0))
    for channel in volume_cdhw:
        brain = channel[channel != 0]
        assert abs(brain.mean()) < 0.15
        assert abs(brain.std() - 1) < 0.2
    assert (volume_cdhw[:, 0, 0, 0] == 0).all()


def test_cropped_and_padded_voxels_keep_their_size(case):
    """The head of 80 mm is 40 voxels of 2 mm: 10 of each side are cut off in d, and h and w are padded."""
    volume_cdhw = load_volume(case, VolumeSettings(shape_vox=(20, 50, 60), spacing_mm=2.0))
    assert volume_cdhw.shape == (4, 20, 50, 60)
    extent = np.ptp(np.argwhere(volume_cdhw[0] != 0), axis=0) + 1
    assert extent[0] == 20
    assert np.abs(extent[1:] - 40).max() <= 2
    ball = volume_cdhw[0] > volume_cdhw[0].max() * 0.6
    assert ball.sum() * 8 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.2)


def test_scaled_to_fit_the_aspect_is_kept_and_the_rest_padded(case):
    volume_cdhw = load_volume(case, VolumeSettings(shape_vox=(20, 40, 30), spacing_mm=2.0, fit="scale"))
    extent = np.ptp(np.argwhere(volume_cdhw[0] != 0), axis=0) + 1
    assert np.abs(extent - 20).max() <= 1


def test_one_sequence_alone(case):
    settings = VolumeSettings(sequences=("flair",), shape_vox=(16, 16, 16), spacing_mm=4.0)
    assert load_volume(case, settings).shape == (1, 16, 16, 16)
    assert load_volume([case / "CASE_flair.nii.gz"], settings).shape == (1, 16, 16, 16)
    assert load_volume({"flair": case / "CASE_flair.nii.gz"}, settings).shape == (1, 16, 16, 16)


@pytest.mark.parametrize(("patient", "overlap"), PATIENTS.items())
def test_real_patients(test_data, patient, overlap):
    volume_cdhw = load_volume(test_data / "mri" / patient, DEMO_VOLUMES)
    assert volume_cdhw.shape == (4, *DEMO_VOLUMES.shape_vox)
    assert np.isfinite(volume_cdhw).all()
    brains = volume_cdhw != 0
    # The four sequences come on four grids; their brains cover each other once resampled by the affines.
    for brain in brains:
        for other in brains:
            assert (brain & other).sum() / (brain | other).sum() > overlap
    assert np.array_equal(volume_cdhw, load_volume(test_data / "mri" / patient, DEMO_VOLUMES))


def test_files_are_found_in_folders_and_lists(case):
    files = sequence_files(case)
    assert tuple(sorted(files)) == tuple(sorted(SEQUENCES))
    (case / "notes.txt").write_text("x")
    assert sequence_files(list(files.values())) == sequence_files(str(case)) == files


def test_unclear_files_are_refused(case, tmp_path):
    with pytest.raises(InvalidInputError, match="there is no folder"):
        sequence_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no"):
        sequence_files(tmp_path / "empty")
    with pytest.raises(InvalidInputError, match="does not say its sequence"):
        sequence_files([tmp_path / "scan.nii.gz"])
    with pytest.raises(InvalidInputError, match="both sequence t1"):
        sequence_files([case / "CASE_t1.nii.gz", case / "B_T1.nii"])


def _spoil(case: Path, fault: str) -> None:
    path = case / "CASE_t2.nii.gz"
    voxels, affine = _scene((1, 1, 1), (2.0, 2.0, 2.0), (50, 50, 50))
    if fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif fault == "short":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:5000]))
    elif fault == "text":
        path.write_text("no volume")
    elif fault == "nan":
        write_nifti(path, np.where(voxels > 400, np.nan, voxels).astype(np.float32), affine)
    elif fault == "4-D":
        write_nifti(path, np.stack([voxels, voxels], axis=-1), affine)
    elif fault == "black":
        write_nifti(path, voxels * 0, affine)
    elif fault == "elsewhere":
        affine[:3, 3] += 1000
        write_nifti(path, voxels, affine)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("missing", "sequence t2 is missing beside .*CASE_flair.nii.gz"),
        ("empty", "CASE_t2.nii.gz is empty"),
        ("truncated", "CASE_t2.nii.gz cannot be read as NIfTI"),
        ("short", "CASE_t2.nii.gz cannot be read as NIfTI"),
        ("text", "CASE_t2.nii.gz cannot be read as NIfTI"),
        ("nan", "CASE_t2.nii.gz holds NaN"),
        ("4-D", "CASE_t2.nii.gz has shape"),
        ("black", "CASE_t2.nii.gz has no voxel other than its background, so"),
        (
            "elsewhere",
            "CASE_t2.nii.gz has no voxel other than its background within the field of view of .*CASE_t1.nii.gz",
        ),
    ],
)
def test_faults_name_the_file_in_one_sentence(case, fault, sentence):
    _spoil(case, fault)
    with pytest.raises(InvalidInputError, match=sentence) as caught:
        load_volume(case, VolumeSettings(shape_vox=(8, 8, 8), spacing_mm=8.0))
    assert "\n" not in str(caught.value)


def test_a_listed_file_that_is_gone(case):
    files = sequence_files(case)
    shutil.rmtree(case)
    with pytest.raises(InvalidInputError, match="there is no volume file"):
        load_volume(files)


def test_settings_are_json_and_checked():
    canonical_json(DEMO_VOLUMES.as_dict())
    assert VolumeSettings(**DEMO_VOLUMES.as_dict()) == DEMO_VOLUMES
    for wrong in (
        {"sequences": ()},
        {"sequences": ("t1", "t1")},
        {"shape_vox": (4, 4)},
        {"spacing_mm": 0.0},
        {"fit": "stretch"},
    ):
        with pytest.raises(InvalidInputError):
            VolumeSettings(**wrong)


def test_settings_of_other_steps_are_refused():
    stored = DEMO_VOLUMES.as_dict()
    assert VolumeSettings.of({**stored, "network": "beside"}) == DEMO_VOLUMES
    del stored["steps"]  # as before steps were counted
    with pytest.raises(InvalidInputError, match=r"steps 1 of another guidestore.* encode the cohort again"):
        VolumeSettings.of(stored)
