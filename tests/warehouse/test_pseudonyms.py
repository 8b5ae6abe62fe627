"""Pseudonyms: stable, keyed, and no original id anywhere in the store."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import query
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.indexer import build_index

PATIENTS = ("SMITH-JOHN-1951", "DOE-JANE-1962")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "SMITH-JOHN-1951 and others"
    folder.mkdir()
    rows = ["case_id,modality,path,image_id"]
    for patient in PATIENTS:
        (folder / f"{patient}.nii").write_text(f"voxels of {patient}")
        rows += [f"{patient},mri_t1,{patient}.nii,", f"{patient},mri_t2,{patient}.nii,{patient}-second"]
    (folder / "manifest.csv").write_text("\n".join(rows))
    (folder / "labels.csv").write_text(f"case_id,grade\n{PATIENTS[0]},G\n{PATIENTS[1]},O\n")
    (folder / "splits-DOE-JANE-1962.csv").write_text(
        f"case_id,split,fold,part\n{PATIENTS[0]},s,0,train\n{PATIENTS[1]},s,0,test\n"
    )
    return folder


def add(store: EmbeddingStore, data: Path, key: Path, **tables: Any):
    return add_layout(store, "glioma", Manifest(pseudonymize=key, **tables))


def test_no_original_id_is_in_the_store(store: EmbeddingStore, root: Path, data: Path, tmp_path: Path):
    key = tmp_path / "keys" / "key"
    files = {"images": data / "manifest.csv", "labels": data / "labels.csv"}
    report = add(store, data, key, **files, splits=data / "splits-DOE-JANE-1962.csv")
    build_index(store)
    assert report.added["images"] == 4
    searched = 0
    for file in root.rglob("*"):
        for word in (*PATIENTS, "SMITH", "JANE", data.name):
            assert word not in file.relative_to(root).as_posix()
            if file.is_file():
                assert word.encode() not in file.read_bytes(), file
                searched += 1
    assert searched > 20
    for kind in ("cohorts", "cases", "labels", "splits", "images"):  # Parquet compresses, so the rows are looked at too
        text = str(store.snapshot().rows(kind).to_pylist())
        assert not any(word in text for word in (*PATIENTS, "SMITH", "JANE")), kind


def test_pseudonyms_join_and_paths_come_back_with_the_key(store: EmbeddingStore, data: Path, tmp_path: Path):
    key = tmp_path / "key"
    add(store, data, key, images=data / "manifest.csv", labels=data / "labels.csv")
    pseudonyms = Pseudonyms.load(key)
    hidden = [pseudonyms.case(patient) for patient in PATIENTS]
    snapshot = store.snapshot()
    labels = {row["case_id"]: row["class"] for row in snapshot.rows("labels").to_pylist()}
    assert labels == {hidden[0]: "G", hidden[1]: "O"}
    assert set(snapshot.rows("images")["path"].to_pylist()) == {""}
    assert snapshot.rows("cohorts").to_pylist()[0]["pseudonymized"] is True
    paths = pseudonyms.image_paths("glioma")
    assert paths[hidden[0], "mri_t1"] == data / f"{PATIENTS[0]}.nii"
    assert paths[pseudonyms.image(PATIENTS[1], f"{PATIENTS[1]}-second"), "mri_t2"] == data / f"{PATIENTS[1]}.nii"
    assert {(row["image_id"], row["modality"]) for row in snapshot.rows("images").to_pylist()} == set(paths)
    assert pseudonyms.image_paths("another") == {}


def test_adding_again_is_a_no_op_and_labels_can_follow(store: EmbeddingStore, root: Path, data: Path, tmp_path: Path):
    key = tmp_path / "key"
    add(store, data, key, images=data / "manifest.csv")
    assert add(store, data, key, images=data / "manifest.csv").snapshot == 1
    assert add(store, data, key, labels=data / "labels.csv").added["labels"] == 2
    build_index(store)
    assert query(root, "SELECT pseudonymized, cases FROM cohorts").table.to_pylist() == [
        {"pseudonymized": True, "cases": 2}
    ]


def test_a_cohort_is_pseudonymized_as_a_whole(store: EmbeddingStore, data: Path, tmp_path: Path):
    add(store, data, tmp_path / "key", images=data / "manifest.csv")
    with pytest.raises(InvalidInputError, match="was added with --pseudonymize"):
        add_layout(store, "glioma", Manifest(images=data / "manifest.csv"))
    add_layout(store, "open", Manifest(images=data / "manifest.csv"))
    with pytest.raises(InvalidInputError, match="was added without --pseudonymize"):
        add_layout(store, "open", Manifest(images=data / "manifest.csv", pseudonymize=tmp_path / "key"))


def test_the_key_is_private_stable_and_outside(root: Path, store: EmbeddingStore, tmp_path: Path):
    key = tmp_path / "key"
    first = Pseudonyms.load_or_create(key, store)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Pseudonyms.load_or_create(key, store).case("A") == first.case("A")
    other = Pseudonyms.load_or_create(tmp_path / "key2", store)
    assert other.case("A") != first.case("A")
    assert len({first.case("A"), first.case("B"), first.image("A", "B"), first.image("B", "A")}) == 4
    assert first.image("A", "A") == first.case("A")
    with pytest.raises(InvalidInputError, match="lies inside the store"):
        Pseudonyms.load_or_create(root / "key", store)
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(InvalidInputError, match="lies inside the store"):
        Pseudonyms.load_or_create(tmp_path / "link" / "key", store)
    assert not (root / "key").exists()
    key.chmod(0o644)
    with pytest.raises(InvalidInputError, match="can be read by others: run `chmod 600"):
        Pseudonyms.load(key)
    (tmp_path / "key2").write_text("abc")
    with pytest.raises(InvalidInputError, match="holds no key"):
        Pseudonyms.load(tmp_path / "key2")
    with pytest.raises(InvalidInputError, match="there is no key file"):
        Pseudonyms.load(tmp_path / "nothing")


def test_the_places_are_private_too(store: EmbeddingStore, data: Path, tmp_path: Path):
    key = tmp_path / "key"
    add(store, data, key, images=data / "manifest.csv")
    assert stat.S_IMODE(Path(f"{key}.images.parquet").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("key")) == [
        "key",
        "key.images.parquet",
    ]
