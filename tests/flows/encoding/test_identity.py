"""What decided the pixels is part of what a code is, and encode reads the files that the cohort was made of."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.compact import compact
from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import guidestore
from tests.encoders.making import write_tiff

DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[4] / "shared/data"))
SLIDES = ("--modality", "histology", "--encoder", "texture", "--tile-px", 64)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def images(store: Path) -> dict[str, dict]:
    """case -> its row of kind images."""
    rows = EmbeddingStore.open(store).snapshot().rows("images", cohort="c").to_pylist()
    return {row["case_id"]: row for row in rows}


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("case_id,modality,path,mpp", *lines, "")))
    return path


def add(store: Path, manifest: Path, *options: object):
    return guidestore("cohort", "add", "manifest", "c", "--images", manifest, "--store", store, *options)


def encode(store: Path, *options: object):
    return guidestore("encode", "c", *(options or SLIDES), "--store", store)


@pytest.fixture
def pink() -> np.ndarray:
    """(512, 512, 3) noise that passes for tissue."""
    return np.clip(np.random.default_rng(0).normal((200, 110, 170), 25, (512, 512, 3)), 0, 255).astype(np.uint8)


def test_a_corrected_mpp_makes_the_codes_again_and_supersedes_the_old(tmp_path: Path):
    odd = DATA / "odd/04-corrected-mpp-is-ignored"
    if not odd.is_dir():
        pytest.skip("the real data of GUIDESTORE_TEST_DATA is missing")
    store = tmp_path / "s"
    assert add(store, odd / "images1.csv").returncode == 0
    assert "encoded 1," in encode(store).stdout
    before = EmbeddingStore.open(store).snapshot()
    (old,) = before.entries(kind="bag")
    assert old.meta["pixels"] == {"mpp": 0.25, "mpp_source": "manifest", "orientation": "1", "bit_depth": 8}
    recipe = {"kind": "bag", "cohort": "c", "case_id": "s", "image_id": "s", "inputs": [sha256(odd / "s.tif")]}
    recipe |= {"modality": "histology", "encoder_digest": old.encoder_digest, "pixels": old.meta["pixels"]}
    assert old.artifact == sha256_of(recipe)

    corrected = add(store, odd / "images2.csv")
    assert "mpp of 1 image changed" in corrected.stdout
    assert "encoded 1, there already 0" in encode(store).stdout
    after = EmbeddingStore.open(store).snapshot()
    (new,) = after.entries(kind="bag")
    assert (new.supersedes, new.meta["pixels"]["mpp"]) == ((old.artifact,), 0.5)
    bag = read_bag(after.storage, new)
    assert (bag.mpp, bag.tile_size_level0_px) == (0.5, 64)
    assert read_bag(before.storage, old).tile_size_level0_px == 128  # 64 px of 0.5 um, were a pixel 0.25 um
    assert [entry.artifact for entry in EmbeddingStore.open(store).snapshot(before.version).entries(kind="bag")] == [
        old.artifact
    ]
    assert guidestore("fsck", "--store", store).returncode == 0
    assert "nothing new; snapshot" in add(store, odd / "images2.csv").stdout
    again = encode(store)
    assert "encoded 0, there already 1" in again.stdout
    assert EmbeddingStore.open(store).snapshot().version == after.version


def test_rows_say_all_files_with_their_digests_and_what_decides_the_pixels(tmp_path: Path, pink: np.ndarray):
    pair = nib.Nifti1Pair(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    pair.header.set_slope_inter(2, -1)
    pair.set_sform(np.eye(4), 0)
    pair.set_qform(np.eye(4), 1)
    nib.save(pair, tmp_path / "v.img")
    Image.new("RGB", (50, 40), "red").save(tmp_path / "p.jpg", exif=turned_by(6).tobytes())
    write_tiff(tmp_path / "t.tif", pink)
    (tmp_path / "m" / "deep").mkdir(parents=True)
    for name in ("m.mrxs", "m/Slidedat.ini", "m/Data0001.dat", "m/deep/Index.dat"):
        (tmp_path / name).write_text(name)
    rows = ("v,mri_t1,v.hdr,", "p,clinical,p.jpg,", "t,histology,t.tif,", "m,histology,m.mrxs,0.3")
    done = add(tmp_path / "s", table(tmp_path / "images.csv", *rows))
    assert done.returncode == 0
    assert "will be refused, 1 image: case m (histology): OpenSlide cannot read it" in done.stderr
    by_case = images(tmp_path / "s")
    files = {
        "v": ["v.hdr", "v.img"],
        "p": ["p.jpg"],
        "t": ["t.tif"],
        "m": ["m.mrxs", "m/Data0001.dat", "m/Slidedat.ini", "m/deep/Index.dat"],
    }
    for case, names in files.items():
        expected = [(str(tmp_path / name), (tmp_path / name).stat().st_size, sha256(tmp_path / name)) for name in names]
        assert [tuple(file.values()) for file in by_case[case]["files"]] == expected
        assert (by_case[case]["size"], by_case[case]["sha256"]) == expected[0][1:]
    columns = ("mpp", "mpp_source", "orientation", "bit_depth", "scaling", "geometry")
    said = {case: tuple(row[name] for name in columns) for case, row in by_case.items()}
    assert said == {
        "v": (None, None, "RAS", None, "2.0,-1.0", "qform"),
        "p": (None, None, "6", 8, None, None),
        "t": (0.5, "tags", "1", 8, None, None),
        "m": (0.3, "manifest", None, None, None, None),
    }


def turned_by(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_file_swapped_for_one_of_the_same_length_goes_to_quarantine(tmp_path: Path, pink: np.ndarray):
    slide = write_tiff(tmp_path / "t.tif", pink)
    add(tmp_path / "s", table(tmp_path / "images.csv", "t,histology,t.tif,"))
    stat = slide.stat()
    data = bytearray(slide.read_bytes())
    data[len(data) // 2] ^= 1
    slide.write_bytes(data)
    os.utime(slide, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert slide.stat().st_size == stat.st_size
    done = encode(tmp_path / "s")
    assert done.returncode == 8
    assert f"{slide} changed since cohort add" in done.stderr
    assert not EmbeddingStore.open(tmp_path / "s").snapshot().entries(kind="bag")


def test_a_replaced_img_and_a_replaced_photograph_go_to_quarantine(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in "ab":
        nib.save(
            nib.Nifti1Pair(rng.integers(0, 99, (20, 20, 20)).astype(np.int16), np.eye(4)), tmp_path / f"{name}.img"
        )
    for name in "pq":
        Image.fromarray(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(tmp_path / f"{name}.bmp")
    manifest = table(
        tmp_path / "i.csv", *(f"{n},mri_t1,{n}.hdr," for n in "ab"), "p,clinical,p.bmp,", "q,clinical,q.bmp,"
    )
    add(tmp_path / "s", manifest)
    shutil.copyfile(tmp_path / "b.img", tmp_path / "a.img")  # the header stays
    shutil.copyfile(tmp_path / "q.bmp", tmp_path / "p.bmp")
    for modality, encoder, changed in (("mri_t1", "first_order", "a.img"), ("clinical", "colour_texture", "p.bmp")):
        done = encode(tmp_path / "s", "--modality", modality, "--encoder", encoder)
        assert "encoded 1, there already 0, in quarantine 1" in done.stdout, done.stderr
        assert f"{tmp_path / changed} changed since cohort add" in done.stderr


def test_a_pair_of_which_one_file_changed_is_another_image(tmp_path: Path):
    for name in "ab":
        values = np.random.default_rng(ord(name)).integers(0, 99, (20, 20, 20)).astype(np.int16)
        nib.save(nib.Nifti1Pair(values, np.eye(4)), tmp_path / f"{name}.img")
    manifest = table(tmp_path / "i.csv", "a,mri_t1,a.hdr,")
    add(tmp_path / "s", manifest)
    encode(tmp_path / "s", "--modality", "mri_t1", "--encoder", "first_order")
    shutil.copyfile(tmp_path / "b.img", tmp_path / "a.img")
    refused = add(tmp_path / "s", manifest)
    assert refused.returncode == 2
    assert "image a (mri_t1) of case a is another file than the one in the store" in refused.stderr
    first = EmbeddingStore.open(tmp_path / "s").snapshot()
    (old,) = first.entries(kind="codes")
    assert "file of 1 image changed" in add(tmp_path / "s", manifest, "--replace").stdout
    assert (
        "encoded 1, there already 0"
        in encode(tmp_path / "s", "--modality", "mri_t1", "--encoder", "first_order").stdout
    )
    (new,) = EmbeddingStore.open(tmp_path / "s").snapshot().entries(kind="codes")
    assert new.supersedes == (old.artifact,)
    assert set(new.inputs) == {sha256(tmp_path / name) for name in ("a.hdr", "a.img")}
    other = guidestore(
        "cohort",
        "add",
        "manifest",
        "d",
        "--images",
        table(tmp_path / "j.csv", "b,mri_t1,b.hdr,"),
        "--store",
        tmp_path / "s",
    )
    assert other.returncode == 0, other.stderr
    encode_d = guidestore("encode", "d", "--modality", "mri_t1", "--encoder", "first_order", "--store", tmp_path / "s")
    assert "encoded 1," in encode_d.stdout
    snapshot = EmbeddingStore.open(tmp_path / "s").snapshot()
    codes = {key.cohort: snapshot.codes(key).codes_nd for key in snapshot.code_sets}
    np.testing.assert_array_equal(codes["c"], codes["d"])  # a.img has b's values now


def test_identical_images_of_several_cases_are_named(tmp_path: Path, pink: np.ndarray):
    for name in ("a", "b", "c"):
        write_tiff(tmp_path / f"{name}.tif", pink if name != "c" else pink[::-1])
    rows = [f"{name},histology,{name}.tif," for name in ("a", "b", "c")]
    first = add(tmp_path / "s", table(tmp_path / "i.csv", *rows[:1], rows[2]))
    assert "identical" not in first.stderr
    later = add(tmp_path / "s", table(tmp_path / "i.csv", rows[1]))
    assert "1 image stands under several cases (identical sha256): a = b;" in later.stderr
    assert later.returncode == 0


def test_an_option_says_the_mpp_of_slides_that_do_not(tmp_path: Path, pink: np.ndarray):
    write_tiff(tmp_path / "t.tif", pink, mpp=None)
    manifest = table(tmp_path / "i.csv", "t,histology,t.tif,")
    add(tmp_path / "s", manifest)
    refused = encode(tmp_path / "s")
    assert refused.returncode == 8
    assert "does not say its um per pixel; give the slide's own with --slide-mpp" in refused.stderr
    told = encode(tmp_path / "s", *SLIDES, "--slide-mpp", 0.25)
    assert "encoded 1," in told.stdout
    assert "there already 1," in encode(tmp_path / "s", *SLIDES, "--slide-mpp", 0.25).stdout
    (entry,) = EmbeddingStore.open(tmp_path / "s").snapshot().entries(kind="bag")
    assert entry.meta["pixels"] == {"mpp": 0.25, "mpp_source": "option", "orientation": "1", "bit_depth": 8}

    assert "mpp of 1 image changed" in add(tmp_path / "s", manifest, "--slide-mpp", 0.5).stdout
    assert "encoded 1," in encode(tmp_path / "s").stdout
    snapshot = EmbeddingStore.open(tmp_path / "s").snapshot()
    (entry,) = snapshot.entries(kind="bag")
    assert (entry.meta["pixels"]["mpp"], read_bag(snapshot.storage, entry).mpp) == (0.5, 0.5)
    assert "nothing new; snapshot" in add(tmp_path / "s", manifest).stdout  # it need not be said again
    assert images(tmp_path / "s")["t"]["mpp_source"] == "option"
    manifest = table(tmp_path / "i.csv", "t,histology,t.tif,1.0")
    assert "mpp of 1 image changed" in add(tmp_path / "s", manifest, "--slide-mpp", 0.5).stdout
    assert images(tmp_path / "s")["t"]["mpp"] == 1.0


def test_compaction_keeps_what_decided_the_pixels(tmp_path: Path):
    for name in "ab":
        nib.save(
            nib.Nifti1Image(np.random.default_rng(0).normal(9, 2, (20, 20, 20)), np.eye(4)), tmp_path / f"{name}.nii"
        )
    for name in "ab":
        add(tmp_path / "s", table(tmp_path / "i.csv", f"{name},mri_t1,{name}.nii,"))
        encode(tmp_path / "s", "--modality", "mri_t1", "--encoder", "first_order")
    store = EmbeddingStore.open(tmp_path / "s")
    before = {entry.artifact: entry.meta for entry in store.snapshot().entries(kind="codes")}
    assert [meta["pixels"]["geometry"] for meta in before.values()] == ["sform", "sform"]
    assert compact(store, store.snapshot().code_sets[0]) == 2
    assert {entry.artifact: entry.meta for entry in store.snapshot().entries(kind="codes")} == before
    assert "there already 2," in encode(tmp_path / "s", "--modality", "mri_t1", "--encoder", "first_order").stdout


def test_pseudonymized_cohorts_keep_digests_of_all_files_and_no_path(tmp_path: Path):
    nib.save(nib.Nifti1Pair(np.random.default_rng(0).normal(9, 2, (20, 20, 20)), np.eye(4)), tmp_path / "smith.img")
    key = tmp_path / "key"
    add(tmp_path / "s", table(tmp_path / "i.csv", "smith,mri_t1,smith.hdr,"), "--pseudonymize", key)
    (row,) = images(tmp_path / "s").values()
    assert "smith" not in json.dumps(row)
    assert [file["sha256"] for file in row["files"]] == [sha256(tmp_path / f"smith.{end}") for end in ("hdr", "img")]
    done = encode(tmp_path / "s", "--modality", "mri_t1", "--encoder", "first_order", "--key", key)
    assert "encoded 1," in done.stdout
