"""Whole slides in DICOM through the command line: the codes of the same pixels in TIFF; scans are no slides."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.image_files import files_of
from tests.commandline import Done, guidestore
from tests.encoders.dicom_slides import write_dicom, write_dicom_slide
from tests.encoders.making import write_tiff

SERIES, OTHER = "1.2.840.99.1", "1.2.840.99.12"  # one begins as the other


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two slides of two levels each in one folder, a scan, and a TIFF of the first slide's pixels."""
    pixels = np.clip(np.random.default_rng(0).normal((200, 110, 170), 25, (512, 512, 3)), 0, 255).astype(np.uint8)
    for name, slide, series in (("a", pixels, SERIES), ("b", pixels[::-1], OTHER)):
        write_dicom_slide(tmp_path / name, np.ascontiguousarray(slide), mpp=0.5, series=series)
        small = np.ascontiguousarray(slide[::4, ::4])
        write_dicom_slide(tmp_path / f"{name}4.dcm", small, mpp=2.0, series=series, is_base=False)
    write_tiff(tmp_path / "a.tif", pixels)
    write_dicom(tmp_path / "mr.dcm", {(8, 0x60): ("CS", "MR"), (0x20, 0x0E): ("UI", SERIES)})
    rows = [f"{case},histology,{name}" for case, name in (("a", "a"), ("t", "a.tif"), ("m", "mr.dcm"), ("b", "b4.dcm"))]
    (tmp_path / "i.csv").write_text("\n".join(("case_id,modality,path", *rows)))
    return tmp_path


def encoded(folder: Path) -> Done:
    told = ("--modality", "histology", "--encoder", "texture", "--tile-px", 64, "--mpp", 1.0)
    return guidestore("encode", "c", *told, "--store", folder / "s")


def test_a_slide_is_all_instances_of_its_series_and_is_read_as_its_pixels_are(folder: Path):
    assert files_of(folder / "b4.dcm") == (folder / "b4.dcm", folder / "b")
    added = guidestore("cohort", "add", "manifest", "c", "--images", folder / "i.csv", "--store", folder / "s")
    assert "case m (histology): OpenSlide cannot read it, which is DICOM and no whole slide" in added.stderr
    snapshot = EmbeddingStore.open(folder / "s").snapshot()
    rows = {row["case_id"]: row for row in snapshot.rows("images").to_pylist()}
    # The scan says that it is of the series, and OpenSlide is who tells them apart: its digest counts all the same.
    assert [Path(file["path"]).name for file in rows["a"]["files"]] == ["a", "a4.dcm", "mr.dcm"]
    assert rows["a"]["files"][1]["sha256"] == hashlib.sha256((folder / "a4.dcm").read_bytes()).hexdigest()
    assert (rows["a"]["mpp"], rows["a"]["mpp_source"]) == (0.5, "openslide")
    done = encoded(folder)
    assert (done.returncode, "encoded 3, there already 0, in quarantine 1" in done.stdout) == (8, True)
    assert "dcm2niix" in done.stderr
    snapshot = EmbeddingStore.open(folder / "s").snapshot()
    bags = {entry.case_id: read_bag(snapshot.storage, entry) for entry in snapshot.entries(kind="bag")}
    assert bags["a"].coords_n2 is not None
    np.testing.assert_array_equal(bags["a"].coords_n2, bags["t"].coords_n2)
    np.testing.assert_allclose(bags["a"].features_nd, bags["t"].features_nd, atol=2e-3)
    assert len(bags["b"]) == len(bags["a"])


def test_a_level_that_was_replaced_is_another_slide(folder: Path):
    guidestore("cohort", "add", "manifest", "c", "--images", folder / "i.csv", "--store", folder / "s")
    data = bytearray((folder / "b").read_bytes())
    data[-1] ^= 1
    (folder / "b").write_bytes(data)
    done = encoded(folder)
    assert "encoded 2, there already 0, in quarantine 2" in done.stdout
    assert f"{folder / 'b'} changed since cohort add" in done.stderr


def test_two_instances_of_one_slide_are_one_image_and_its_folder_says_what_to_name(folder: Path):
    add = ("cohort", "add", "manifest", "d", "--store", folder / "s", "--images", folder / "d.csv")
    (folder / "d.csv").write_text("case_id,modality,path\nx,histology,b\ny,histology,b4.dcm\n")
    assert "1 image stands under several cases (identical sha256): x = y;" in guidestore(*add).stderr
    (folder / "slide").mkdir()
    (folder / "b").rename(folder / "slide" / "b")
    (folder / "d.csv").write_text("case_id,modality,path\nz,histology,slide\n")
    refused = guidestore(*add)
    assert (refused.returncode, "is a folder of a DICOM slide; name one of its files" in refused.stderr) == (2, True)
