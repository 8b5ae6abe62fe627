"""Folders of other tools: bit-equal features and places, which case a slide is of, what is refused, and resuming."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_folder import FolderReport, import_folder, pool_tiles
from guidestore.flows.encoding.import_settings import FolderSettings
from guidestore.flows.encoding.stored_encoders import StoredEncoders
from tests import peer_folders as peers
from tests.commandline import guidestore
from tests.peer_folders import MPP, SLIDES, features, places, slides_table

DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "peers"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no peers' folders at {DATA}; set GUIDESTORE_TEST_DATA")


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


def bring(store: EmbeddingStore, folder: Path, *, table: bool = True, **given: Any) -> list[FolderReport]:
    named = {name: given.pop(name) for name in FolderSettings.model_fields if name in given}
    if table and "slides" not in named:
        named["slides"] = slides_table(store.storage.local_folder.parent)
    return import_folder(store, folder, FolderSettings(**named), cohort="c", modality="histology", **given)


def check_bags(store: EmbeddingStore, report: FolderReport, values: Any, coords: np.ndarray | None = None) -> None:
    """values: slide -> (n, d). Features are the same bits, coordinates those of the grid."""
    snapshot = store.snapshot()
    for case in sorted(set(SLIDES.values())):
        names = [slide for slide, of in SLIDES.items() if of == case]
        bags = snapshot.bags(report.code_set, case)
        assert len(bags) == len(names)
        for slide, bag in zip(names, bags, strict=True):
            wanted = values(slide)
            assert bag.features_nd.dtype == wanted.dtype
            assert bag.features_nd.tobytes() == wanted.tobytes()
            if coords is None:
                assert bag.coords_n2 is None
            else:
                np.testing.assert_array_equal(bag.coords_n2, coords)


def half(slide: str) -> np.ndarray:
    return features(slide, dtype=np.float16)


# Each layout ------------------------------------------------------------------------------------------------------


def test_trident_bags_are_the_same_bits_at_the_slides_own_mpp(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.trident(tmp_path / "job")
    peers.trident_states(folder)
    (report,) = bring(store, folder)
    check_bags(store, report, half, places())
    bag = store.snapshot().bags(report.code_set, "P1")[0]
    assert (bag.mpp, bag.tile_size_px, bag.tile_size_level0_px, bag.magnification) == (MPP, 256, 256, 20.0)
    (encoder,) = store.snapshot().rows("encoders").to_pylist()
    assert (encoder["encoder"], encoder["trained_on"]) == ("uni_v1", "unknown")
    assert encoder["preprocessing"] == '{"magnification":20.0,"overlap_px":0.0,"tile_px":256.0,"tool":"TRIDENT"}'
    assert not any("private" in path.read_text(errors="replace") for path in (tmp_path / "store").rglob("*.json"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 16_385])
def test_bags_of_any_length_are_the_same_bits(store: EmbeddingStore, tmp_path: Path, n: int, dtype: Any) -> None:
    place = tmp_path / "20x_256px_0px_overlap" / "features_e"
    place.mkdir(parents=True)
    values, coords = features("x", n, 3, dtype), places(n)
    peers.trident_slide(place / "x.h5", values, coords, "e", level0_height=10**6)
    (report,) = bring(store, place, table=False, case_is_slide=True)
    (bag,) = store.snapshot().bags(report.code_set, "x")
    assert bag.features_nd.tobytes() == values.tobytes()
    np.testing.assert_array_equal(bag.coords_n2, coords)


@pytest.mark.parametrize("kept", [("h5",), ("pt",), ("h5", "pt")])
def test_clam_bags_have_the_tiles_of_their_level(store: EmbeddingStore, tmp_path: Path, kept: tuple[str, ...]) -> None:
    folder = peers.clam(tmp_path / "clam", h5="h5" in kept, pt="pt" in kept)
    (report,) = bring(store, folder, encoder="uni")
    check_bags(store, report, features, places())
    bag = store.snapshot().bags(report.code_set, "P1")[0]
    assert (bag.tile_size_px, bag.tile_size_level0_px, bag.mpp) == (128, 256, None)
    assert any("nothing says its um per pixel" in note for note in report.notes)


def test_stamp_places_are_within_half_a_pixel(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.stamp(tmp_path / "stamp")
    (report,) = bring(store, folder, mpp=MPP)
    check_bags(store, report, half, places(edge=514))
    for slide, case in SLIDES.items():
        with h5py.File(next(folder.rglob(f"{slide}.h5"))) as handle:
            um = np.asarray(handle["coords"])
        bag = store.snapshot().bags(report.code_set, case)[0]
        assert bag.coords_n2 is not None
        assert np.abs(bag.coords_n2 * MPP - um).max() <= MPP / 2
        assert (bag.tile_size_px, bag.tile_size_level0_px) == (224, 514)


def test_stamp_keeps_the_places_of_grids_that_lie_anyhow(store: EmbeddingStore, tmp_path: Path) -> None:
    """CLAM lays a grid for each piece of tissue, so an export of its tiles has columns 25 um apart."""
    folder = peers.stamp(tmp_path / "stamp")
    apart = np.concatenate([places(edge=514), places(edge=514) + np.array([51, 9000])])
    with h5py.File(next(folder.rglob("S1-1.h5")), "r+") as handle:
        values = np.concatenate([half("S1-1")] * 2)
        for name, new in (("feats", values), ("coords", (apart * MPP).astype(np.float32))):
            del handle[name]
            handle[name] = new
    (report,) = bring(store, folder, mpp=MPP)
    np.testing.assert_array_equal(store.snapshot().bags(report.code_set, "P1")[0].coords_n2, apart)


@pytest.mark.parametrize("form", ["pt", "npz"])
def test_slide2vec_says_places_and_mpp(store: EmbeddingStore, tmp_path: Path, form: str) -> None:
    folder = peers.slide2vec(tmp_path / "run", form=form)
    (report,) = bring(store, folder)
    assert (report.tool, report.code_set.encoder) == ("slide2vec", "prost40m")
    check_bags(store, report, features, places())
    bag = store.snapshot().bags(report.code_set, "P1")[0]
    assert (bag.mpp, bag.tile_size_px, bag.tile_size_level0_px) == (MPP, 224, 256)


def test_slide2vec_slides_without_a_tile_are_blank(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.slide2vec(tmp_path / "run")
    meta = folder / "tile_embeddings" / "S2-1.meta.json"
    meta.write_text(meta.read_text().replace('"num_tiles": 20', '"num_tiles": 0'))
    (folder / "tile_embeddings" / "S2-1.pt").unlink()
    (report,) = bring(store, folder)
    assert report.blank == ["S2-1"]
    assert store.snapshot().bags(report.code_set, "P2")[0].features_nd.shape == (0, peers.D)


@pytest.mark.parametrize("repetitions", [0, 1, 2])
def test_marugoto_leaves_augmented_tiles_out(store: EmbeddingStore, tmp_path: Path, repetitions: int) -> None:
    folder = peers.marugoto(tmp_path / "feats", repetitions)
    (report,) = bring(store, folder, mpp=0.5)
    assert report.code_set.encoder == "xiyue-wang-ctranspath-7c998680"
    check_bags(store, report, half, places(edge=512))  # 224 of the file are 256 um
    assert any("rows are of augmented tiles" in note for note in report.notes) == bool(repetitions)
    bag = store.snapshot().bags(report.code_set, "P1")[0]
    assert (bag.tile_size_px, bag.tile_size_level0_px) == (224, 512)


def test_marugoto_has_no_places_where_their_unit_is_not_known(store: EmbeddingStore, tmp_path: Path) -> None:
    (report,) = bring(store, peers.marugoto(tmp_path / "feats"))
    check_bags(store, report, half)


def test_stamp_without_an_mpp_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"coordinates are in um.*--mpp"):
        bring(store, peers.stamp(tmp_path / "stamp"))


@pytest.mark.parametrize(
    ("make", "encoder", "name"),
    [
        (lambda place: peers.stamp(place, "slide"), "", "chief"),
        (peers.trident_slide_codes, "", "titan"),
    ],
)
def test_slides_of_a_case_become_the_mean_of_their_codes(
    store: EmbeddingStore, tmp_path: Path, make: Any, encoder: str, name: str
) -> None:
    (report,) = bring(store, make(tmp_path / "codes"), encoder=encoder)
    codes = store.snapshot().codes(report.code_set)
    assert (report.code_set.encoder, codes.case_ids) == (name, ("P1", "P2", "P3"))
    np.testing.assert_array_equal(codes.codes_nd[0], features("S1-1", 1)[0])
    two = np.stack([features("S3-1", 1)[0], features("S3-2", 1)[0]])
    np.testing.assert_allclose(codes.codes_nd[2], two.mean(axis=0), rtol=1e-6)
    assert any("mean of theirs" in note for note in report.notes)


@pytest.mark.parametrize(
    ("make", "encoder"), [(lambda place: peers.stamp(place, "patient"), ""), (peers.patho_bench, "titan")]
)
def test_codes_of_cases_need_no_table(store: EmbeddingStore, tmp_path: Path, make: Any, encoder: str) -> None:
    (report,) = bring(store, make(tmp_path / "codes"), table=False, encoder=encoder)
    codes = store.snapshot().codes(report.code_set)
    assert codes.case_ids == ("P1", "P2", "P3")
    np.testing.assert_array_equal(codes.codes_nd[0], features("P1", 1)[0])


def test_eva_bags_have_no_places(store: EmbeddingStore, tmp_path: Path) -> None:
    (report,) = bring(store, peers.eva(tmp_path / "eva"), encoder="dino")
    check_bags(store, report, lambda slide: features(slide, 5))
    (codes,) = bring(store, peers.eva(tmp_path / "codes", bags=False), encoder="dino_cls")
    assert store.snapshot().codes(codes.code_set).case_ids == ("P1", "P2", "P3")


def test_lazyslide_tiles_are_joined_by_their_ids(store: EmbeddingStore, tmp_path: Path) -> None:
    bags, codes = bring(store, peers.lazyslide(tmp_path / "lazy"))
    check_bags(store, bags, features, places())
    bag = store.snapshot().bags(bags.code_set, "P1")[0]
    assert (bag.mpp, bag.tile_size_level0_px, bag.magnification) == (MPP, 256, 20.0)
    assert store.snapshot().codes(codes.code_set).case_ids == ("P1", "P2", "P3")


def test_atlas_patch(store: EmbeddingStore, tmp_path: Path) -> None:
    (report,) = bring(store, peers.atlas_patch(tmp_path / "atlas"))
    check_bags(store, report, features, places())
    assert (report.code_set.encoder, store.snapshot().bags(report.code_set, "P1")[0].mpp) == ("uni_v2", MPP)


def test_slideflow_centres_become_corners(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.slideflow(tmp_path / "slideflow")
    (report,) = bring(store, folder, mpp=MPP)
    check_bags(store, report, features, places(edge=int(128 / MPP)))
    (without,) = bring(store, folder, version="2")
    check_bags(store, without, features)


@pytest.mark.parametrize("suffix", ["h5", "npy", "pt"])
@pytest.mark.parametrize("coords", [True, False])
def test_plain_files(store: EmbeddingStore, tmp_path: Path, suffix: str, coords: bool) -> None:
    (report,) = bring(store, peers.plain(tmp_path / "plain", suffix, coords=coords), encoder="e")
    check_bags(store, report, features, places() if coords else None)


@pytest.mark.parametrize("order", ["ids", "dataset.csv"])
def test_deepguide_rows_are_the_cases_that_the_user_says(store: EmbeddingStore, tmp_path: Path, order: str) -> None:
    folder = peers.deepguide(tmp_path / "deep")
    cases = [case for part in peers.DEEPGUIDE_PARTS.values() for case in part]
    if order != "ids":  # the split files come in another order, and the data set's is that of the rows
        (tmp_path / order).write_text("\n".join(["CPM_RadPath_2019_ID", *cases]))
        for part, of in peers.DEEPGUIDE_PARTS.items():
            (tmp_path / f"split_1_{part}.csv").write_text("\n".join(["CPM_RadPath_2019_ID", *sorted(of)]))
    options = {"encoder": "clam", "ids": tmp_path / "split_1_{part}.csv", "id_column": "CPM_RadPath_2019_ID"}
    (report,) = bring(store, folder, table=False, order=order if order == "ids" else str(tmp_path / order), **options)
    codes = store.snapshot().codes(report.code_set)
    assert codes.case_ids == tuple(sorted(cases))
    for case, code_d in zip(codes.case_ids, codes.codes_nd, strict=True):
        np.testing.assert_array_equal(code_d, features(case, 1)[0])


def test_deepguide_without_ids_or_with_other_counts_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.deepguide(tmp_path / "deep")
    with pytest.raises(InvalidInputError, match=r"rows without ids.*--ids.*--order"):
        bring(store, folder, table=False, encoder="clam")
    (tmp_path / "split_1_val.csv").write_text("CPM_RadPath_2019_ID\nP4\nP7\n")
    options = {"ids": tmp_path / "split_1_{part}.csv", "id_column": "CPM_RadPath_2019_ID", "order": "ids"}
    with pytest.raises(InvalidInputError, match=r"val_1.npy has 1 rows, and val 2 cases"):
        bring(store, folder, table=False, encoder="clam", **options)


def test_two_files_of_one_part_of_deepguide_are_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.deepguide(tmp_path / "deep")
    (folder / "1_val.npy").write_bytes((folder / "val_1.npy").read_bytes())
    options = {"ids": tmp_path / "split_1_{part}.csv", "id_column": "CPM_RadPath_2019_ID", "order": "ids"}
    with pytest.raises(InvalidInputError, match=r"1_val.npy and .*val_1.npy are both val of 1; leave one"):
        bring(store, folder, table=False, encoder="clam", **options)


@pytest.mark.parametrize("head", ["Slide_ID,Case_ID,MPP", "slide id,Patient ID,Mpp", "SLIDE,CASE,mpp"])
def test_columns_of_a_table_of_slides_may_be_in_other_capitals(store: EmbeddingStore, tmp_path: Path, head: str):
    rows = [head, *(f"{slide},{case},0.25" for slide, case in SLIDES.items())]
    (tmp_path / "slides.csv").write_text("\n".join(rows))
    (report,) = bring(store, peers.trident(tmp_path / "job"), slides=tmp_path / "slides.csv", mpp=0.5)
    assert [bag.mpp for bag in store.snapshot().bags(report.code_set, "P3")] == [0.25, 0.25]


def test_samples_of_patho_bench_that_are_slides_have_the_cases_of_its_table(store: EmbeddingStore, tmp_path: Path):
    folder = peers.patho_bench(tmp_path / "task")
    for case in ("P1", "P2", "P3"):
        (folder / f"{case}.h5").rename(folder / f"S{case[1]}.h5")
    (folder / "config.yaml").write_text("sample_col: slide_id\n")
    (folder / "k=all.tsv").write_text("case_id\tslide_id\nA\tS1\nB\tS2\nB\tS3\n")
    (report,) = bring(store, folder, table=False, encoder="e")
    codes = store.snapshot().codes(report.code_set)
    assert codes.case_ids == ("A", "B")
    np.testing.assert_array_equal(codes.codes_nd[0], features("P1", 1)[0])
    np.testing.assert_allclose(codes.codes_nd[1], (features("P2", 1)[0] + features("P3", 1)[0]) / 2, rtol=1e-6)


# Peers' own files -------------------------------------------------------------------------------------------------


@real_data
@pytest.mark.parametrize(
    ("folder", "options", "sets", "blank"),
    [
        ("trident", (), 4, ["TCGA-AA-0004-01Z-00-DX1"]),
        ("clam", ("--encoder", "e"), 1, []),
        ("stamp", ("--mpp", "0.499"), 1, []),
        ("eva", ("--encoder", "e"), 1, []),
        ("lazyslide", (), 2, []),
    ],
)
def test_every_folder_of_the_peers_imports(
    tmp_path: Path, folder: str, options: tuple[str, ...], sets: int, blank: list[str]
) -> None:
    done = guidestore(
        *("import", DATA / folder, "--cohort", "c", "--modality", "histology", "--case-is-slide"),
        *("--store", tmp_path / "store", *options),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" new") == sets
    assert [line for line in done.stdout.splitlines() if line.startswith("blank")][:1] == [f"blank: {n}" for n in blank]
    snapshot = EmbeddingStore.open(tmp_path / "store").snapshot()
    for key in snapshot.code_sets:
        files = {path.name.partition(".")[0]: path for path in (DATA / folder).rglob(f"features_{key.encoder}/*.h5")}
        for entry in snapshot.code_set_entries(key) if folder == "trident" and key.kind == "bag" else ():
            (bag,) = snapshot.bags(key, entry.case_id)
            with h5py.File(files[entry.image_id]) as handle:
                stored: Any = handle["features"]
                assert bag.features_nd.tobytes() == stored[:].tobytes()
                assert bag.features_nd.shape[1] == 48, "(0,) became (0, D)"
                np.testing.assert_array_equal(bag.coords_n2, np.asarray(handle["coords"]))


# Which case a slide is of -----------------------------------------------------------------------------------------


def test_a_slide_is_never_its_case_by_guess(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.trident(tmp_path / "job")
    with pytest.raises(InvalidInputError, match=r"--slides TABLE .*--case-is-slide"):
        bring(store, folder, table=False)
    (report,) = bring(store, folder, table=False, case_is_slide=True)
    assert {entry.case_id for entry in store.snapshot().code_set_entries(report.code_set)} == set(SLIDES)


def test_slides_without_a_case_and_without_a_file_are_named(store: EmbeddingStore, tmp_path: Path) -> None:
    table = tmp_path / "some.csv"
    table.write_text("filename,PATIENT\nS1-1.h5,0012\nS2-1.svs,0013\nS9-1.h5,0019\n")
    (report,) = bring(store, peers.trident(tmp_path / "job"), slides=table)
    assert {entry.case_id for entry in store.snapshot().code_set_entries(report.code_set)} == {"0012", "0013"}
    notes = "\n".join(report.notes)
    assert "no case for 2 files, left out: S3-1, S3-2" in notes
    assert "missing: 1 slides of some.csv have no file: S9-1" in notes


def test_names_that_cannot_be_ids_are_mapped_when_a_person_agrees(store: EmbeddingStore, tmp_path: Path) -> None:
    place = tmp_path / "20x_256px_0px_overlap" / "features_e"
    place.mkdir(parents=True)
    for name in ("Slide 1 (HE)", "Slide 1 #HE#", "S2[b]"):
        peers.trident_slide(place / f"{name}.h5", features(name), places(), "e")
    asked = {"table": False, "case_is_slide": True}
    with pytest.raises(InvalidInputError, match=r"--rename-ids FILE\.csv writes a proposal"):
        bring(store, place, **asked)
    names = tmp_path / "names.csv"
    with pytest.raises(InvalidInputError, match="has a proposal now: look at it"):
        bring(store, place, rename_ids=names, **asked)
    assert names.read_text().splitlines()[1:] == ["S2[b],S2_b", "Slide 1 #HE#,Slide_1_HE", "Slide 1 (HE),Slide_1_HE_2"]
    (report,) = bring(store, place, rename_ids=names, **asked)
    for name, id_ in (("Slide 1 (HE)", "Slide_1_HE_2"), ("S2[b]", "S2_b")):
        (bag,) = store.snapshot().bags(report.code_set, id_)
        assert bag.features_nd.tobytes() == features(name).tobytes()


def test_accents_are_the_same_letters_however_a_system_writes_them(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.plain(tmp_path / "plain", "h5", coords=True)
    (folder / "S2-1.h5").rename(folder / f"{unicodedata.normalize('NFD', 'Schädel')}.h5")
    (tmp_path / "mac.csv").write_text("slide_id,case_id\nSchädel,P2\n", encoding="utf-8")
    (tmp_path / "names.csv").write_text("from,to\nSchädel,S9\n", encoding="utf-8")
    given = {"slides": tmp_path / "mac.csv", "rename_ids": tmp_path / "names.csv", "encoder": "e"}
    (report,) = bring(store, folder, **given)
    (entry,) = store.snapshot().code_set_entries(report.code_set)
    assert (entry.case_id, entry.image_id) == ("P2", "S9")


def test_a_cohort_that_knows_its_slides_needs_no_table(store: EmbeddingStore, tmp_path: Path) -> None:
    rows = [
        {"cohort": "c", "case_id": case, "image_id": slide, "modality": "histology", "path": "", "mpp": 0.25}
        for slide, case in SLIDES.items()
    ]
    with store.begin() as transaction:
        transaction.write_rows("images", rows, cohort="c")
    (report,) = bring(store, peers.trident(tmp_path / "job"), table=False)
    assert store.snapshot().bags(report.code_set, "P3")[1].mpp == 0.25


def test_the_table_says_better_than_the_tool_and_the_option_least(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.trident(tmp_path / "job")
    peers.trident_states(folder)
    (report,) = bring(store, folder, slides=slides_table(tmp_path, mpp=[0.25, "", 0.25, 0.25]), mpp=0.9)
    snapshot = store.snapshot()
    assert [snapshot.bags(report.code_set, case)[0].mpp for case in ("P1", "P2")] == [0.25, MPP]
    assert any("0.25 um per pixel is given, and the tool says 0.499" in note for note in report.notes)
    entry = snapshot.entries(kind="bag", case_id="P2")[0]
    assert entry.meta == {"pixels": {"mpp": MPP, "mpp_source": "tool"}}


# Again ------------------------------------------------------------------------------------------------------------


def test_an_import_resumes_and_other_files_are_refused_unless_asked(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.trident(tmp_path / "job")
    later = folder / "20x_256px_0px_overlap" / "features_uni_v1" / "S3-2.h5"
    held = later.read_bytes()
    later.unlink()
    (first,) = bring(store, folder)
    later.write_bytes(held)
    (second,) = bring(store, folder)
    assert (first.new, second.new, second.bags) == (3, 1, 4)
    head = store.snapshot().version
    (third,) = bring(store, folder)
    assert (third.new, store.snapshot().version) == (0, head)
    with h5py.File(later, "r+") as handle:
        stored: Any = handle["features"]
        stored[0, 0] = 9
    with pytest.raises(InvalidInputError, match=r"other features, or another mpp, for S3-2: --replace"):
        bring(store, folder)
    (fourth,) = bring(store, folder, supersede=True)
    assert (fourth.new, fourth.replaced) == (1, 1)
    assert store.snapshot().bags(fourth.code_set, "P3")[1].features_nd[0, 0] == 9
    (fifth,) = bring(store, folder, supersede=True, mpp=0.5)
    assert (fifth.new, fifth.replaced) == (4, 4), "another mpp is another bag"


def test_a_dry_run_reads_headers_and_writes_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    (report,) = bring(store, peers.trident(tmp_path / "job"), dry_run=True)
    assert (report.bags, report.tiles, store.snapshot().version) == (4, 80, 0)


def test_a_slide_that_cannot_be_read_is_named_and_the_others_go_on(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = peers.trident(tmp_path / "job")
    broken = folder / "20x_256px_0px_overlap" / "features_uni_v1" / "S2-1.h5"
    with h5py.File(broken, "r+") as file:
        stored: Any = file["features"]
        stored[:] = np.nan
    (report,) = bring(store, folder)
    assert list(report.failed) == ["S2-1"]
    assert "not finite in 20 rows" in report.failed["S2-1"]
    assert "S2-1.h5" in report.failed["S2-1"]
    assert report.new == 3


def test_settings_and_encoders_never_mix(store: EmbeddingStore, tmp_path: Path) -> None:
    (first,) = bring(store, peers.trident(tmp_path / "one"))
    other = tmp_path / "two" / "10x_512px_0px_overlap" / "features_uni_v1"
    other.mkdir(parents=True)
    said = {"patch_size": 512, "target_magnification": 10, "patch_size_level0": 1024, "level0_height": 10**5}
    peers.trident_slide(other / "S1-1.h5", features("S1-1"), places(), "uni_v1", **said)
    (second,) = bring(store, other)
    assert first.code_set.encoder_digest != second.code_set.encoder_digest
    assert any("there is another code set of this name" in note for note in second.notes)


def test_nothing_of_a_pickle_is_run(store: EmbeddingStore, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "attacked"),))

    folder = tmp_path / "pt_files"
    folder.mkdir()
    torch.save({"features": torch.zeros(2, 3), "x": Attack()}, folder / "S1-1.pt")
    with pytest.raises(InvalidInputError, match=r"S1-1\.pt cannot be read as a tensor"):
        bring(store, folder, encoder="e")
    assert not (tmp_path / "attacked").exists()


# What comes of imported bags --------------------------------------------------------------------------------------


def test_the_mean_of_a_cases_tiles_is_its_code_and_a_blank_slide_has_none(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    folder = peers.trident(tmp_path / "job")
    blank = folder / "20x_256px_0px_overlap" / "features_uni_v1" / "S2-1.h5"
    peers.trident_slide(blank, np.empty((0,), np.float32), np.empty((0, 2)), "uni_v1")
    (report,) = bring(store, folder)
    assert (report.blank, report.code_set.code_dim) == (["S2-1"], peers.D)
    (bag,) = store.snapshot().bags(report.code_set, "P2")
    assert bag.features_nd.shape == (0, peers.D)
    (key,) = pool_tiles(store, [report])
    codes = store.snapshot().codes(key)
    assert codes.case_ids == ("P1", "P3")
    both = np.concatenate([half("S3-1"), half("S3-2")]).astype(np.float64)
    np.testing.assert_allclose(codes.codes_nd[1], both.mean(axis=0), rtol=1e-6)
    stored = StoredEncoders(store.snapshot())
    with pytest.raises(InvalidInputError, match="uni_v1 were imported, so guidestore cannot make them"):
        stored.build(stored.stored(report.code_set.encoder_digest), "cpu", None)
