"""Images as people have them, through the command line: one bad file is its case's quarantine, the others go on."""

from __future__ import annotations

import csv
import json
import os
import struct
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.colour_texture import ColourTextureEncoder
from guidestore.encoders.kinds.photographs import PhotographSource
from guidestore.encoders.sources import Item
from tests.commandline import Done, guidestore

ODD = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "odd"


def encode(place: Path, manifest: Path, modality: str, encoder: str, *options: object) -> Done:
    added = guidestore("cohort", "add", "manifest", "odd", "--images", manifest, "--store", place)
    assert added.returncode == 0, added.stderr
    return encode_again(place, modality, encoder, *options)


def encode_again(place: Path, modality: str, encoder: str, *options: object) -> Done:
    done = guidestore("encode", "odd", "--modality", modality, "--encoder", encoder, *options, "--store", place)
    assert "Traceback" not in done.stderr
    return done


def quarantine(place: Path) -> dict[str, str]:
    asked = guidestore("sql", "SELECT case_id, reason FROM quarantine", "--store", place, "--format", "json")
    return {row["case_id"]: row["reason"] for row in json.loads(asked.stdout)}


def codes(place: Path) -> dict[str, np.ndarray]:
    snapshot = EmbeddingStore.open(place).snapshot()
    (key,) = snapshot.code_sets
    read = snapshot.codes(key)
    return dict(zip(read.case_ids, read.codes_nd, strict=True))


@pytest.mark.parametrize(
    ("manifest", "modality", "reasons"),
    [
        ("01-bad-header-aborts-encode/dtype.csv", "mri_all", {"b_bad": "data type 9999, which are not read"}),
        ("01-bad-header-aborts-encode/gap.csv", "mri_all", {"b_bad": "4.0 x 4.0 x 200.0 mm"}),
        ("01-bad-header-aborts-encode/huge.csv", "mri_all", {"b_bad": "30000 x 30000 x 30000 voxels"}),
        ("01-bad-header-aborts-encode/neg.csv", "mri_all", {"b_bad": "the shape -24 x 28 x 20"}),
        ("01-bad-header-aborts-encode/um.csv", "mri_all", {}),
        ("02-damaged-gz-is-encoded/i.csv", "mri_flair", {"flip": "CRC", "crc": "CRC", "trunc": "end-of-stream"}),
        ("12-no-qform-no-sform/i.csv", "mri_all", {"zero": "says no place"}),
        ("09-one-odd-suffix-stops-all-photographs/i.csv", "clinical", {}),
        ("09-one-odd-suffix-stops-all-photographs/noext.csv", "clinical", {}),
    ],
)
def test_the_odd_images(tmp_path: Path, manifest: str, modality: str, reasons: dict[str, str]) -> None:
    if not ODD.is_dir():
        pytest.skip("the odd inputs of GUIDESTORE_TEST_DATA are missing")
    encoder = "colour_texture" if modality == "clinical" else "first_order"
    rows = (ODD / manifest).read_text().splitlines()[1:]
    cases = {row.split(",")[0] for row in rows}
    done = encode(tmp_path, ODD / manifest, modality, encoder)
    assert done.returncode == (8 if reasons else 0), done.stderr
    assert f"encoded {len(cases) - len(reasons)}, there already 0, in quarantine {len(reasons)}" in done.stdout
    found = quarantine(tmp_path)
    assert found.keys() == reasons.keys()
    assert all(reason in found[case] for case, reason in reasons.items())
    made = codes(tmp_path)
    assert made.keys() == cases - reasons.keys()
    if "um.csv" in manifest:  # the same volume in microns
        assert np.allclose(made["b_bad"], made["a_good"], rtol=1e-3, atol=1e-4)
    again = encode_again(tmp_path, modality, encoder)
    assert f"encoded 0, there already {len(made)}, in quarantine {len(reasons)}" in again.stdout
    sequences = 4 if modality == "mri_all" else 1
    assert f"image files read {len(reasons) * sequences};" in again.stdout


def test_trusted_geometry_is_recorded_with_the_case_that_needs_it(tmp_path: Path) -> None:
    if not ODD.is_dir():
        pytest.skip("the odd inputs of GUIDESTORE_TEST_DATA are missing")
    encode(tmp_path, ODD / "12-no-qform-no-sform" / "i.csv", "mri_all", "first_order")
    before = codes(tmp_path)
    done = encode_again(tmp_path, "mri_all", "first_order", "--trust-geometry")
    assert done.returncode == 0, done.stderr
    assert "encoded 1, there already 1, in quarantine 0, image files read 4;" in done.stdout
    assert not quarantine(tmp_path)
    made = codes(tmp_path)
    assert np.array_equal(made["ok"], before["ok"])
    assert not np.allclose(made["zero"], made["ok"])
    snapshot = EmbeddingStore.open(tmp_path).snapshot()
    (key,) = snapshot.code_sets
    geometry = {entry.case_id: entry.meta["pixels"].get("geometry") for entry in snapshot.code_set_entries(key)}
    assert geometry["zero"] == "trusted" != geometry["ok"]
    again = encode_again(tmp_path, "mri_all", "first_order", "--trust-geometry")
    assert "encoded 0, there already 2, in quarantine 0, image files read 0;" in again.stdout


def write_manifest(folder: Path, files: dict[str, Path], modality: str) -> Path:
    manifest = folder / "images.csv"
    lines = [f"{case},{modality},{file}" for case, file in files.items()]
    manifest.write_text("\n".join(["case_id,modality,path", *lines]) + "\n")
    return manifest


def test_a_case_with_a_sequence_twice_does_not_end_the_encode(tmp_path: Path) -> None:
    """Which of the two is meant nobody says, so it has no code; the others have theirs."""
    rows = ["case_id,image_id,modality,path"]
    for case in ("a", "b"):
        inside = np.zeros((12, 12, 12), np.int16)
        inside[2:-2, 2:-2, 2:-2] = np.random.default_rng(ord(case)).integers(9, 99, (8, 8, 8))
        for sequence in ("t1", "t1ce", "t2", "flair"):
            file = tmp_path / f"{case}_{sequence}.nii"
            nib.Nifti1Image(inside, np.diag([3.0, 3, 3, 1])).to_filename(file)
            rows.append(f"{case},{case},mri_{sequence},{file}")
    rows.append(f"b,again,mri_t2,{tmp_path / 'b_t2.nii'}")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    done = encode(tmp_path / "store", tmp_path / "images.csv", "mri_all", "first_order")
    assert "note: case b has several mri_t2 images, so it has no mri_all; keep one of each" in done.stderr
    assert done.returncode == 0
    assert codes(tmp_path / "store").keys() == {"a"}


def picture(path: Path, form: str = "PNG") -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path, form)
    return path


def test_whatever_memory_and_networks_raise_is_said_of_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a rerun tries only those again."""
    files = {case: picture(tmp_path / f"{case}.png") for case in "abcd"}
    load, encode_batch, batches = PhotographSource.load, ColourTextureEncoder.encode, []

    def loaded(self: PhotographSource, item: Item) -> np.ndarray:
        if item.case_id == "b":
            raise MemoryError
        return load(self, item)

    def encoded(self: ColourTextureEncoder, batch: np.ndarray, /) -> np.ndarray:
        batches.append(batch)
        if len(batches) == 1:
            raise RuntimeError("grid_sample(): expected a batch\nof another shape")
        return encode_batch(self, batch)

    monkeypatch.setattr(PhotographSource, "load", loaded)
    monkeypatch.setattr(ColourTextureEncoder, "encode", encoded)
    done = encode(tmp_path / "store", write_manifest(tmp_path, files, "clinical"), "clinical", "colour_texture")
    assert done.returncode == 8, done.stderr
    reasons = quarantine(tmp_path / "store")
    assert reasons.keys() == {"a", "b"}
    assert "cannot encode case a (RuntimeError: grid_sample(): expected a batch of another shape)" in reasons["a"]
    assert "image b of case b cannot be read (MemoryError" in reasons["b"]
    monkeypatch.undo()
    again = encode_again(tmp_path / "store", "clinical", "colour_texture")
    assert again.returncode == 0
    assert "encoded 2, there already 2, in quarantine 0, image files read 2;" in again.stdout


def test_each_file_is_what_its_content_is(tmp_path: Path) -> None:
    files = {
        "jfif": picture(tmp_path / "a.jfif", "JPEG"),
        "JPE": picture(tmp_path / "a.JPE", "JPEG"),
        "none": picture(tmp_path / "a", "WEBP"),
        "wrong": picture(tmp_path / "a.nii.gz", "PNG"),
        "tiled": tmp_path / "tiled.tif",
        "heic": tmp_path / "a.jpg",
        "volume": tmp_path / "volume.nii",
        "black": tmp_path / "black.png",
        "grey": tmp_path / "grey.png",
    }
    with Image.open(files["wrong"]) as image:
        image.save(files["tiled"], tile=(32, 32), tiffinfo={322: 32, 323: 32}, compression="tiff_deflate")
    files["heic"].write_bytes(struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(400))
    nib.Nifti1Image(np.ones((9, 9, 9), np.int16), np.eye(4)).to_filename(files["volume"])
    Image.new("RGB", (64, 64)).save(files["black"])
    Image.new("L", (64, 64), 128).save(files["grey"])
    done = encode(tmp_path / "store", write_manifest(tmp_path, files, "clinical"), "clinical", "colour_texture")
    assert done.returncode == 8, done.stderr
    reasons = quarantine(tmp_path / "store")
    assert reasons.keys() == {"heic", "volume", "black", "grey"}
    assert "pip install pillow-heif" in reasons["heic"]
    assert "is a NIfTI file, and is no image that Pillow knows" in reasons["volume"]
    assert "is all black" in reasons["black"]
    assert "is all of one colour (128, 128, 128)" in reasons["grey"]
    made = codes(tmp_path / "store")
    assert made.keys() == {"jfif", "JPE", "none", "wrong", "tiled"}
    assert np.array_equal(made["wrong"], made["tiled"])  # the same pixels


def test_pipes_and_devices_give_a_sentence_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    start = time.monotonic()
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        manifest = write_manifest(tmp_path, {"a": path}, "clinical")
        done = guidestore("cohort", "add", "manifest", "odd", "--images", manifest, "--store", tmp_path / "store")
        assert done.returncode == 2
        assert "it is a folder, pipe or device, not an image file" in done.stderr
    picture(tmp_path / "a.png")
    manifest = write_manifest(tmp_path, {"a": tmp_path / "a.png", "b": picture(tmp_path / "b.png")}, "clinical")
    assert (
        guidestore("cohort", "add", "manifest", "odd", "--images", manifest, "--store", tmp_path / "store").returncode
        == 0
    )
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    done = encode_again(tmp_path / "store", "clinical", "colour_texture")
    assert (done.returncode, "encoded 1," in done.stdout) == (8, True), done.stderr
    assert time.monotonic() - start < 20


def test_names_that_people_and_programs_give_files(tmp_path: Path) -> None:
    """What a name holds changes no code, and breaks no line of a terminal."""
    names = ("a, b;c.png", "naïve Ж.PNG", 'quote"d.png', "100%_#1?.png", "n" * 240 + ".png", "two\nlines.png")
    for name in names:
        picture(tmp_path / name)
    (tmp_path / "bad\n\x1b[31m.png").write_text("no picture")
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"k{row}", "clinical", name) for row, name in enumerate((*names, "bad\n\x1b[31m.png", "gone\n.png"))]
        csv.writer(file).writerows([("case_id", "modality", "path"), *rows])
    added = guidestore("cohort", "add", "manifest", "odd", "--images", tmp_path / "m.csv", "--store", tmp_path / "s")
    assert added.returncode == 0, added.stderr
    assert "gone\\n.png" in added.stderr
    done = encode_again(tmp_path / "s", "clinical", "colour_texture")
    assert (done.returncode, "encoded 6, there already 0, in quarantine 1" in done.stdout) == (8, True), done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("quarantined: k6: ")]
    assert "bad\\n\\x1b[31m.png is no image that Pillow knows; convert it to JPEG, PNG or TIFF" in line
    assert "\n" not in quarantine(tmp_path / "s")["k6"]
    made = list(codes(tmp_path / "s").values())
    assert all(np.array_equal(code, made[0]) for code in made)
