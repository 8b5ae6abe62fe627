"""Exports, read with h5py, torch, pandas, zarr and pyarrow; the tools' own readers are run by hand (peers.py)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
import zarr

from guidestore.embeddings.errors import FoldLeakageError, GuidestoreError, InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec, FoldScope
from guidestore.flows.encoding.export_codes import CodesExported, export_codes
from tests.commandline import guidestore
from tests.flows.encoding.peers import CASES, COHORT, LAYOUTS, MPP, PARTS, bag_of, export_all, labels, make_store

DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "peers"
SLIDE, BLANK = "TCGA-AA-0003-01Z-00-DX2", "TCGA-AA-0004-01Z-00-DX1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("peers") / "store")


@pytest.fixture(scope="module")
def folder(store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exports")
    (place / "notes.json").write_text(json.dumps({name: done.notes for name, done in export_all(store, place).items()}))
    return place


def notes_of(folder: Path, layout: str) -> str:
    return "\n".join(json.loads((folder / "notes.json").read_text())[layout])


def export(store: EmbeddingStore, folder: Path, layout: str, *code_sets: str, **options: str) -> CodesExported:
    return export_codes(
        store.snapshot(), folder, cohort=COHORT, code_sets=code_sets or LAYOUTS[layout], layout=layout, **options
    )


def test_trident_gets_the_bits_of_the_store(folder: Path) -> None:
    bag = bag_of(SLIDE, tiles=31)
    with h5py.File(folder / "trident/20x_256px_0px_overlap/features_tiny16" / f"{SLIDE}.h5") as file:
        assert file["features"].dtype == np.float16
        np.testing.assert_array_equal(file["features"][:], bag.features_nd)
        np.testing.assert_array_equal(file["coords"][:], bag.coords_n2)
        assert file["coords"].dtype == np.int64
        attributes = dict(file["coords"].attrs)
        assert file["features"].attrs["encoder"] == "tiny16"
        assert not {"savetodir"} & {*attributes, *file["features"].attrs}
    assert (attributes["patch_size"], attributes["patch_size_level0"], attributes["overlap"]) == (256, 256, 0)
    assert (attributes["target_magnification"], attributes["level0_magnification"]) == (20, 20)
    with h5py.File(folder / "trident/20x_256px_0px_overlap/features_tiny16" / f"{BLANK}.h5") as file:
        assert file["features"].shape == (0, bag.features_nd.shape[1])
        assert file["coords"].shape == (0, 2)
    (state,) = (folder / "trident/wsi_states").glob(f"{SLIDE}__*.json")
    assert json.loads(state.read_text())["meta"]["mpp"] == MPP


def test_clam_gets_float32_tensors_and_lists_of_slides(folder: Path) -> None:
    bag = bag_of(SLIDE, tiles=31)
    tensor = torch.load(folder / "clam/pt_files" / f"{SLIDE}.pt", weights_only=True)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), bag.features_nd.astype(np.float32))
    with h5py.File(folder / "clam/h5_files" / f"{SLIDE}.h5") as file:
        np.testing.assert_array_equal(file["coords"][:], bag.coords_n2)
        assert file["coords"].dtype.kind == "i"
    table = pd.read_csv(folder / "clam/dataset.csv")
    assert table.columns.tolist() == ["case_id", "slide_id", "label"]
    assert table.set_index("slide_id").loc[SLIDE].tolist() == ["TCGA-AA-0003", labels()["TCGA-AA-0003"]]
    for fold, parts in enumerate((PARTS, PARTS[::-1])):
        split = pd.read_csv(folder / f"clam/splits_{fold}.csv")
        for part in ("train", "val", "test"):
            cases = {slide[:12] for slide in split[part].dropna()}
            assert cases == {c for c, p in zip(CASES, parts, strict=True) if p == part and c != "TCGA-AA-0004"}
    assert BLANK in notes_of(folder, "clam")
    assert not (folder / "clam/pt_files" / f"{BLANK}.pt").exists()


def test_stamp_gets_um_and_patients_side_by_side(folder: Path) -> None:
    bag = bag_of(SLIDE, tiles=31)
    with h5py.File(folder / "stamp/feats" / f"{SLIDE}.h5") as file:
        assert file["feats"].dtype == np.float16
        np.testing.assert_array_equal(file["feats"][:], bag.features_nd)
        assert bag.coords_n2 is not None
        np.testing.assert_allclose(file["coords"][:], bag.coords_n2 * MPP, rtol=1e-6)
        assert file["coords"].dtype == np.float32
        attributes = dict(file.attrs)
    assert (attributes["unit"], attributes["feat_type"], attributes["stamp_version"]) == ("um", "tile", "2.0.0")
    assert attributes["tile_size_um"] / attributes["tile_size_px"] == pytest.approx(MPP)
    table = pd.read_csv(folder / "stamp/slides.csv", dtype=str)
    assert table["PATIENT"].is_monotonic_increasing
    assert table["FILENAME"].str.endswith(".h5").all()
    assert f"{BLANK}.h5" not in set(table["FILENAME"])
    both = [bag_of(name, tiles=n).features_nd for name, n in (("TCGA-AA-0003-01Z-00-DX1", 12), (SLIDE, 31))]
    with h5py.File(folder / "stamp/patients/TCGA-AA-0003.h5") as file:
        np.testing.assert_allclose(
            file["feats"][0], np.concatenate(both).astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-7
        )
        assert file.attrs["feat_type"] == "patient"
    clini = pd.read_csv(folder / "stamp/clini.csv", dtype=str).set_index("PATIENT")["label"]
    assert clini.to_dict() == labels()


def test_patho_bench_gets_a_task(folder: Path) -> None:
    table = pd.read_csv(folder / "patho-bench/k=all.tsv", sep="\t", dtype=str)
    assert table.columns.tolist() == ["case_id", "slide_id", "task", "fold_0", "fold_1"]
    assert (table["case_id"] == "TCGA-AA-0003").sum() == 2
    folds = table.drop_duplicates("case_id").set_index("case_id")["fold_0"].to_dict()
    assert folds == {case: part for case, part in zip(CASES, PARTS, strict=True) if case != "TCGA-AA-0004"}
    config = yaml.safe_load((folder / "patho-bench/config.yaml").read_text())
    assert config["label_dict"] == {0: "A", 1: "G", 2: "O"}
    assert (config["sample_col"], config["task_col"], config["target"]) == ("case_id", "task", "class")
    with h5py.File(folder / "patho-bench/pooled/TCGA-AA-0001.h5") as file:
        assert file["features"].shape == (1, 48)


def test_eva_gets_a_manifest_per_fold(folder: Path) -> None:
    for fold, parts in enumerate((PARTS, PARTS[::-1])):
        table = pd.read_csv(folder / "eva/bags" / ("manifest_1.csv" if fold else "manifest.csv"), dtype=str)
        assert table.columns.tolist() == ["origin", "embeddings", "target", "split", "wsi_id"]
        of = dict(zip(CASES, parts, strict=True))
        assert all(of[row.wsi_id] == row.split for row in table.itertuples())
        assert all(("A", "G", "O")[int(row.target)] == labels()[str(row.wsi_id)] for row in table.itertuples())
    tensor = torch.load(folder / "eva/bags" / f"{SLIDE}.pt", weights_only=True)
    np.testing.assert_array_equal(tensor.numpy(), bag_of(SLIDE, tiles=31).features_nd.astype(np.float32))


def test_lazyslide_gets_polygons_and_a_table(folder: Path) -> None:
    bag = bag_of(SLIDE, tiles=31)
    root = zarr.open_group(folder / "lazyslide" / f"{SLIDE}.zarr", mode="r")
    np.testing.assert_array_equal(root["tables/tiny16_tiles/X"][:], bag.features_nd.astype(np.float32))
    assert root.attrs["slide_properties"]["mpp"] == MPP
    spec = root.attrs["tile_spec"]["tiles"]
    assert int(spec["width"] * spec["base_downsample"]) == 256
    shapes = pq.read_table(folder / "lazyslide" / f"{SLIDE}.zarr/shapes/tiles/shapes.parquet")
    rings = np.stack([np.frombuffer(wkb, "<f8", offset=13).reshape(5, 2) for wkb in shapes["geometry"].to_pylist()])
    np.testing.assert_array_equal(rings.min(axis=1), bag.coords_n2)
    assert bag.coords_n2 is not None
    np.testing.assert_array_equal(rings.max(axis=1), bag.coords_n2 + 256)
    assert "tiny16_tiles" not in zarr.open_group(folder / "lazyslide" / f"{BLANK}.zarr", mode="r")["tables"]


def test_deepguide_gets_rows_in_the_order_of_its_labels(folder: Path, store: EmbeddingStore) -> None:
    snapshot = store.snapshot()
    codes = snapshot.codes(snapshot.code_set(f"{COHORT}/mri_t1/rad"))
    code_of = dict(zip(codes.case_ids, codes.codes_nd, strict=True))
    for part in ("train", "val", "test"):
        table = pd.read_csv(folder / f"deepguide/labels/split_1_{part}.csv")
        assert [labels()[case] for case in table["CPM_RadPath_2019_ID"]] == table["class"].tolist()
        rad_nd = np.load(folder / f"deepguide/rad/t1/1/{part}_1_t1.npy")
        np.testing.assert_array_equal(rad_nd, [code_of[case] for case in table["CPM_RadPath_2019_ID"]])
        assert np.load(folder / f"deepguide/path/{part}_1.npy").shape == (len(table), 512)
        assert np.load(folder / f"deepguide/g/t1/t1_1_{part}.npy").shape == (len(table), 512)


def test_plain_files_come_back_as_they_were(folder: Path, tmp_path: Path) -> None:
    bag = bag_of(SLIDE, tiles=31)
    with np.load(folder / "npz/bags" / f"{SLIDE}.npz") as arrays:
        np.testing.assert_array_equal(arrays["features"], bag.features_nd)
        np.testing.assert_array_equal(arrays["coords"], bag.coords_n2)
        assert float(arrays["mpp"]) == MPP
    tiles = pq.read_table(folder / "parquet/bags" / f"{SLIDE}.parquet")
    np.testing.assert_array_equal(np.array(tiles["features"].to_pylist(), np.float16), bag.features_nd)
    np.testing.assert_array_equal(np.stack([tiles["x"], tiles["y"]], axis=1), bag.coords_n2)
    for layout, suffix in (("npz", "npz"), ("parquet", "parquet")):
        back = tmp_path / layout
        done = guidestore(
            *("import", folder / layout / f"mri_t1_rad.{suffix}", "--cohort", COHORT, "--modality", "mri_t1"),
            *("--encoder", "rad", "--store", back),
        )
        assert done.returncode == 0, done.stderr


def test_no_path_of_this_machine_goes_out(folder: Path, store: EmbeddingStore) -> None:
    words = [str(folder.parent).encode(), str(store.storage.local_folder).encode(), b"savetodir"]
    for layout in LAYOUTS:
        for file in (folder / layout).rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert not any(word in content for word in words), file


def test_small_bags_are_named_and_left_out_of_clam(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", slides={"C1": {"s1": 8}, "C2": {"s2": 7}, "C3": {"s3": 9}})
    done = export(store, tmp_path / "clam", "clam")
    assert any("fewer than 8 tiles" in note and "s2" in note for note in done.notes)
    assert sorted(file.stem for file in (tmp_path / "clam/pt_files").iterdir()) == ["s1", "s3"]


@pytest.mark.parametrize("layout", ["stamp", "lazyslide"])
def test_um_without_mpp_are_refused_and_nothing_is_left(layout: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", slides={"C1": {"s1": 8}}, mpp=None)
    with pytest.raises(InvalidInputError, match="slide s1 of case C1 has no um per pixel"):
        export(store, tmp_path / "out", layout)
    assert [file.name for file in tmp_path.iterdir()] == ["store"]


def test_names_that_repeat_or_change_in_a_table(tmp_path: Path) -> None:
    store = make_store(tmp_path / "repeat", slides={"C1": {"HE": 8}, "C2": {"HE": 9}})
    done = export(store, tmp_path / "trident", "trident")
    assert {file.stem for file in (tmp_path / "trident").rglob("*.h5")} == {"C1_HE", "C2_HE"}
    assert any("<case>_<slide>" in note for note in done.notes)
    store = make_store(tmp_path / "digits", slides={"C1": {"007": 8}, "C2": {"008": 9}})
    with pytest.raises(InvalidInputError, match="CLAM would read the slide ids as numbers"):
        export(store, tmp_path / "clam", "clam")
    store = make_store(tmp_path / "missing", slides={"NA": {"s1": 8}, "C2": {"s2": 9}})
    with pytest.raises(InvalidInputError, match="STAMP would read the case id 'NA' as no value"):
        export(store, tmp_path / "stamp", "stamp")


def test_what_a_layout_cannot_hold_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    refused: list[tuple[str, tuple[str, ...], str]] = [
        ("clam", ("mri_t1/rad",), "holds bags of tiles"),
        ("deepguide", ("histology/tiny16",), "takes case codes"),
        ("trident", ("histology/nope",), "no code set"),
        ("tridnet", ("histology/tiny16",), "did you mean 'trident'"),
    ]
    for layout, code_sets, message in refused:
        with pytest.raises(GuidestoreError, match=message):
            export(store, tmp_path / "out", layout, *code_sets)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(InvalidInputError, match="is there already"):
        export(store, tmp_path / "there", "trident")


def test_codes_of_a_fold_leave_with_that_fold_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    spec = EncoderSpec("clam_sb", "1", "bags", 6, trained_on=FoldScope.of(COHORT, "cv2", 1))
    codes = CaseCodes(CASES, np.ones((8, 6), np.float32), key=CodeSetKey.of(COHORT, "histology", spec))
    with store.begin("codes") as transaction:
        transaction.write_codes(codes, input_digests=[[case] for case in CASES])
        rows = [
            {"cohort": COHORT, "split": "other", "fold": 0, "case_id": case, "part": "train", "origin": ""}
            for case in CASES
        ]
        transaction.write_rows("splits", rows, cohort=COHORT)
    done = export(store, tmp_path / "eva", "eva", "histology/clam_sb", split="cv2")
    assert any("only fold 1 of split cv2" in note for note in done.notes)
    table = pd.read_csv(tmp_path / "eva/codes/manifest.csv")
    assert table["split"].tolist() == list(PARTS[::-1])
    with pytest.raises(FoldLeakageError, match="was trained on glioma/cv2/1"):
        export(store, tmp_path / "other", "eva", "histology/clam_sb", split="other")


def test_the_command_says_what_went_out(store: EmbeddingStore, tmp_path: Path) -> None:
    place = store.storage.local_folder
    options = ("--code-set", "histology/tiny16", "--layout", "stamp", "--output", tmp_path / "s", "--store", place)
    done = guidestore("export", COHORT, *options, "--split", "cv2", "--target", "class", "--stamp-version", "2.4.0")
    assert done.returncode == 0, done.stderr
    assert "9 slides of 8 cases for STAMP" in done.stdout
    assert "left out: 1 slide without a tile" in done.stderr
    with h5py.File(tmp_path / "s/feats" / f"{SLIDE}.h5") as file:
        assert file.attrs["stamp_version"] == "2.4.0"
    done = guidestore("export", COHORT, *options)
    assert done.returncode == 2
    assert "is there already" in done.stderr


def test_values_and_survival_reach_stamp_and_are_refused_by_clam(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", slides={"C1": {"s1": 8}, "C2": {"s2": 9}})
    with store.begin("outcomes") as transaction:
        targets = [
            {"cohort": COHORT, "target": "os", "kind": "survival", "unit": "months"},
            {"cohort": COHORT, "target": "age", "kind": "value", "unit": "years"},
        ]
        transaction.write_rows("targets", targets, cohort=COHORT)
        rows = [
            {"cohort": COHORT, "case_id": "C1", "target": "os", "time": 12.5, "event": True},
            {"cohort": COHORT, "case_id": "C2", "target": "os", "time": 30.0, "event": False},
            {"cohort": COHORT, "case_id": "C1", "target": "age", "value": 61.5},
        ]
        transaction.write_rows("labels", rows, cohort=COHORT)
    export(store, tmp_path / "os", "stamp", target="os")
    table = pd.read_csv(tmp_path / "os/clini.csv")
    assert table.to_dict("list") == {"PATIENT": ["C1", "C2"], "time": [12.5, 30.0], "event": [1, 0]}
    export(store, tmp_path / "age", "stamp", target="age")
    assert pd.read_csv(tmp_path / "age/clini.csv").to_dict("list") == {"PATIENT": ["C1"], "label": [61.5]}
    with pytest.raises(InvalidInputError, match="knows classes alone, and target os has none"):
        export(store, tmp_path / "clam", "clam", target="os")
    done = export(store, tmp_path / "trident", "trident")
    assert any("age, class, os; name one with --target" in note for note in done.notes)


@pytest.mark.parametrize("encoder", ["tiny16", "tiny32"])
def test_tridents_own_files_come_back_bit_for_bit(encoder: str, tmp_path: Path) -> None:
    if not (DATA / "trident").is_dir():
        pytest.skip("the real data of GUIDESTORE_TEST_DATA is missing")
    place = tmp_path / "store"
    done = guidestore(
        *("import", DATA / "trident", "--cohort", COHORT, "--modality", "histology", "--encoder", encoder),
        *("--case-is-slide", "--mpp", "0.499", "--store", place),
    )
    assert done.returncode == 0, done.stderr
    keys = [key for key in EmbeddingStore.open(place).snapshot().code_sets if key.kind == "bag"]
    (code_set,) = (key.name.within for key in keys)
    export(EmbeddingStore.open(place), tmp_path / "out", "trident", code_set)
    grid = "20x_256px_0px_overlap"
    own = sorted((DATA / "trident" / grid / f"features_{encoder}").glob("*.h5"))
    assert len(own) == 5
    for file in own:
        with h5py.File(file) as theirs, h5py.File(tmp_path / "out" / grid / f"features_{encoder}" / file.name) as ours:
            np.testing.assert_array_equal(ours["coords"][:], theirs["coords"][:])
            assert ours["coords"].dtype == theirs["coords"].dtype
            if len(theirs["coords"]):
                np.testing.assert_array_equal(ours["features"][:], theirs["features"][:])
                assert ours["features"].dtype == theirs["features"].dtype
            else:  # theirs is (0,) or (0, 48), and float32 in either set
                assert ours["features"].shape == (0, 48)
            for name in ("patch_size", "patch_size_level0", "target_magnification", "level0_magnification", "overlap"):
                assert ours["coords"].attrs[name] == theirs["coords"].attrs[name]
            assert ours["features"].attrs["encoder"] == theirs["features"].attrs["encoder"]


def test_a_renamed_cohort_and_an_older_snapshot(tmp_path: Path) -> None:
    place = make_store(tmp_path / "store", slides={"C1": {"s1": 8}}).storage.local_folder
    assert guidestore("cohort", "rename", COHORT, "brain", "--store", place).returncode == 0
    options = ("--code-set", "histology/tiny16", "--layout", "npz", "--store", place)
    done = guidestore("export", "brain", *options, "--output", tmp_path / "out", "--at", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/bags/s1.npz").exists()
    done = guidestore("export", "brain", *options, "--output", tmp_path / "more", "--stamp-version", "newest")
    assert done.returncode == 2
    assert "'newest' is no version of STAMP" in done.stderr
