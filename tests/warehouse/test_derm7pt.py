"""Derm7pt's layout, read from phantoms: classes, paths, non-pairs, the split, every issue and every refusal."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortTables
from guidestore.warehouse.cohorts.layout import Reading, add_layout
from guidestore.warehouse.cohorts.layouts.derm7pt import CLASSES, TARGET_COLUMNS, Derm7pt
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import (
    CLASS_COUNTS,
    COLUMNS,
    VALUE_COUNTS,
    HiddenState,
    draw_clinical,
    draw_dermoscopy,
    generate_derm7pt_phantom,
)
from tests.commandline import guidestore

ABSENT = dict.fromkeys(TARGET_COLUMNS.values(), "absent")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derm7pt") / "release_v0"
    generate_derm7pt_phantom(folder, cases=90, seed=3, image_px=(192, 128))
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Four cases with made-up files: 11 and 12 in train, 13 in val, 14 in test; 12 is written in other case."""
    folder = tmp_path / "release_v0"
    rows = [row_of(number) for number in (11, 12, 13, 14)]
    rows[1] |= {"diagnosis": "Melanoma (in situ)", "pigment_network": "atypical", "clinic": "FCl/fCL012.JPG"}
    write_meta(folder, rows)
    write_split(folder, train=[0, 1], valid=[2], test=[3])
    for number in (11, 12, 13, 14):
        for path in (f"FCL/Fcl0{number}.jpg", f"FDL/Fdl0{number}.jpg"):
            (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / path).write_text(path)
    return folder


def row_of(number: int) -> dict[str, str]:
    paths = {"clinic": f"FCL/Fcl0{number}.jpg", "derm": f"FDL/Fdl0{number}.jpg"}
    return {"case_num": str(number), **ABSENT, "diagnosis": "clark nevus", **paths}


def write_meta(folder: Path, rows: list[dict[str, str]]) -> None:
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    with (folder / "meta" / "meta.csv").open("w", newline="") as file:
        writer = csv.DictWriter[str](file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_split(folder: Path, **parts: list[object]) -> None:
    for part, indexes in parts.items():
        (folder / "meta" / f"{part}_indexes.csv").write_text("\n".join(["indexes", *map(str, indexes)]) + "\n")


def edit_meta(folder: Path, number: int, **values: str) -> None:
    with (folder / "meta" / "meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[number] |= values
    write_meta(folder, rows)


def read_derm7pt(folder: Path) -> CohortTables:
    return Derm7pt(source=folder).read(Reading("derm7pt"))


def issues_of(tables: CohortTables) -> dict[str, str]:
    assert len({issue.kind for issue in tables.issues}) == len(tables.issues)
    return {issue.kind: issue.sentence for issue in tables.issues}


def test_the_phantom_becomes_a_cohort(store: EmbeddingStore, phantom: Path):
    report = add_layout(store, "skin", Derm7pt(source=phantom))
    snapshot = store.snapshot()
    assert report.added == {"cohorts": 1, "targets": 24, "cases": 89, "labels": 89 * 8, "splits": 89, "images": 178}
    assert snapshot.rows("cohorts").to_pylist()[0]["layout"] == "derm7pt phantom"
    classes = {}
    for row in sorted(snapshot.rows("targets").to_pylist(), key=lambda row: row["class_index"]):
        classes.setdefault(row["target"], []).append(row["class"])
    assert classes == {target: list(names) for target, names in CLASSES.items()}
    images = snapshot.rows("images").to_pylist()
    assert Counter(row["modality"] for row in images) == {"clinical": 89, "dermoscopy": 89}
    assert all(Path(row["path"]).is_file() and row["image_id"] == row["case_id"] for row in images)
    splits = snapshot.rows("splits").to_pylist()
    assert {(row["split"], row["fold"]) for row in splits} == {("published", 0)}
    parts = Counter(row["part"] for row in splits)
    assert abs(parts["train"] - 36) <= 3
    assert abs(parts["val"] - 18) <= 3
    assert report.issues[0].sentence == (
        "1 case left out, whose two photographs are one file: PHANTOM_0009 (meta.csv, row 10)"
    )
    again = add_layout(store, "skin", Derm7pt(source=phantom))
    assert (again.snapshot, sum(again.added.values())) == (report.snapshot, 0)


def test_the_phantom_has_the_real_columns_values_and_shares(phantom: Path):
    with (phantom / "meta" / "meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert sum(not (phantom / "images" / row["clinic"]).exists() for row in rows) == 4  # 7, 9, 47, 87: letter case.
    labels = {(row["case_id"], row["target"]): row["class"] for row in read_derm7pt(phantom).labels}
    for target, by_diagnosis in CLASS_COUNTS.items():
        got = Counter(name for (_, column), name in labels.items() if column == target)
        real = dict(zip(CLASSES[target], map(sum, zip(*by_diagnosis.values(), strict=True)), strict=True))
        assert sum(real.values()) == 1011
        for name, count in real.items():
            assert got[name] / 89 == pytest.approx(count / 1011, abs=0.06)
    assert sum(VALUE_COUNTS["diagnosis"].values()) == 1011
    points = {"PN": {"ATP": 2}, "BWV": {"PRS": 2}, "VS": {"IR": 2}, "PIG": {"IR": 1}, "STR": {"IR": 1}}
    points |= {"DaG": {"IR": 1}, "RS": {"PRS": 1}}
    for row in rows:
        case = row["case_num"]
        if (case, "DIAG") in labels:
            score = sum(points[target].get(labels[case, target], 0) for target in points)
            assert int(row["seven_point_score"]) == score


def test_the_same_seed_draws_the_same_pixels(phantom: Path, tmp_path: Path):
    for seed, same in ((3, True), (4, False)):
        folder = tmp_path / str(seed)
        generate_derm7pt_phantom(folder, cases=90, seed=seed, image_px=(192, 128))
        files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        assert len(files) == 4 + 179
        assert all((folder / file).read_bytes() == (phantom / file).read_bytes() for file in files) is same
        shutil.rmtree(folder)
    with Image.open(next((phantom / "images").rglob("*.jpg"))) as picture:
        assert (picture.size, picture.mode) == ((192, 128), "RGB")


def test_a_phantom_that_cannot_be_drawn_is_refused(phantom: Path, tmp_path: Path):
    with pytest.raises(InvalidInputError, match="is not an empty folder; name a new one"):
        generate_derm7pt_phantom(phantom)
    with pytest.raises(InvalidInputError, match="a phantom cohort of 19 lesions cannot be drawn; ask for 20"):
        generate_derm7pt_phantom(tmp_path / "few", cases=19)
    with pytest.raises(InvalidInputError, match="must be two even numbers"):
        generate_derm7pt_phantom(tmp_path / "odd", image_px=(201, 150))
    assert list(tmp_path.iterdir()) == []


def test_both_pictures_show_the_veil_and_dermoscopy_more_of_it():
    classes = dict.fromkeys(CLASS_COUNTS, "ABS") | {"DIAG": "NEV"}

    def blueness(draw, name: str) -> float:
        """Mean share of blue over the middle of 20 pictures."""
        shares = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            picture = draw(HiddenState.draw(classes | {"BWV": name}, rng), rng, (192, 128))
            rgb_hwc = np.asarray(picture, np.float32)[32:96, 48:144]
            shares.append((rgb_hwc[..., 2] / rgb_hwc.sum(axis=-1)).mean())
        return float(np.mean(shares))

    gains = [blueness(draw, "PRS") - blueness(draw, "ABS") for draw in (draw_dermoscopy, draw_clinical)]
    assert gains[0] > 2 * gains[1] > 0


def test_letter_case_of_paths_and_values_does_not_matter(release: Path):
    tables = read_derm7pt(release)
    paths = {(row["case_id"], row["modality"]): row["path"] for row in tables.images}
    assert paths["12", "clinical"] == str(release / "images" / "FCL" / "Fcl012.jpg")
    assert len(paths) == 8
    labels = {(row["case_id"], row["target"]): row["class"] for row in tables.labels}
    assert (labels["12", "DIAG"], labels["12", "PN"], labels["11", "DIAG"]) == ("MEL", "ATP", "NEV")
    assert [(row["case_id"], row["part"], row["origin"]) for row in tables.splits][1:3] == [
        ("12", "train", "given: train_indexes.csv"),
        ("13", "val", "given: valid_indexes.csv"),
    ]
    assert next(iter(tables.cohorts))["layout"] == "derm7pt"


def test_issues_count_and_name(release: Path):
    (release / "images" / "FDL" / "Fdl011.jpg").unlink()
    edit_meta(release, 2, clinic="FCL/Fcl011.jpg", streaks="")
    write_split(release, test=[])
    issues = issues_of(read_derm7pt(release))
    assert issues.pop("missing images") == (
        f"1 photograph missing from {release / 'images'} and left out: FDL/Fdl011.jpg (meta.csv, row 2, column derm); "
        "put them in place and add the cohort again"
    )
    assert issues.pop("images listed twice") == (
        "1 photograph left out, listed by a row before: FCL/Fcl011.jpg (meta.csv, row 4, column clinic, and meta.csv, "
        "row 2, column clinic); correct the name and add the cohort again"
    )
    assert issues.pop("empty labels") == (
        "1 label empty: STR of 13 (meta.csv, row 4, column streaks); the cases stay, unlabelled for these targets"
    )
    assert issues.pop("cases in no part") == "1 case in no part of the published split: 14; they stay, unused by it"
    assert issues.pop("targets with one class in train").startswith(
        "6 targets with one class in train: BWV (only ABS), VS (only ABS), "
    )
    sentence = issues.pop("classes missing from a part")
    assert sentence.startswith(
        "55 pairs of class and part without a case: DIAG BCC in train, DIAG BCC in val, DIAG BCC in test, "
    )
    assert issues == {}


def test_no_pairs_are_left_out_and_said(release: Path):
    edit_meta(release, 2, clinic="FDL/FDL013.JPG")
    tables = read_derm7pt(release)
    assert [row["case_id"] for row in tables.cases] == ["11", "12", "14"]
    assert {row["case_id"] for row in [*tables.labels, *tables.splits, *tables.images]} == {"11", "12", "14"}
    assert issues_of(tables)["no pairs"] == "1 case left out, whose two photographs are one file: 13 (meta.csv, row 4)"


@pytest.mark.parametrize(
    ("number", "values", "message"),
    [
        (
            1,
            {"pigmentation": "odd"},
            "meta.csv, row 3, column pigmentation: 'odd' is none of absent, diffuse regular, ",
        ),
        (0, {"diagnosis": "naevus"}, "meta.csv, row 2, column diagnosis: 'naevus' is none of basal cell carcinoma, "),
        (2, {"case_num": "11"}, "meta.csv, row 4, column case_num: case 11 stands in row 2 already"),
        (2, {"case_num": "a/b"}, "meta.csv, row 4, column case_num: 'a/b' cannot be a case id"),
        (2, {"case_num": ""}, "meta.csv, row 4, column case_num: '' cannot be a case id"),
    ],
)
def test_a_bad_row_is_refused_and_nothing_committed(
    store: EmbeddingStore, release: Path, number: int, values: dict[str, str], message: str
):
    edit_meta(release, number, **values)
    before = store.snapshot().version
    with pytest.raises(InvalidInputError) as caught:
        add_layout(store, "skin", Derm7pt(source=release))
    assert str(caught.value).startswith(message)
    assert store.snapshot().version == before


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"valid": [2, 1]},
            "valid_indexes.csv, row 3, column indexes: 1 is case 12, which train_indexes.csv, row 3 puts",
        ),
        (
            {"train": [0, 0]},
            "train_indexes.csv, row 3, column indexes: 0 is case 11, which train_indexes.csv, row 2 puts",
        ),
        (
            {"test": [4]},
            "test_indexes.csv, row 2, column indexes: '4' is no row of meta.csv, whose 4 rows count from 0",
        ),
        ({"test": [-1]}, "test_indexes.csv, row 2, column indexes: '-1' is no row of meta.csv"),
        ({"test": ["3.0"]}, "test_indexes.csv, row 2, column indexes: '3.0' is no row of meta.csv"),
    ],
)
def test_a_bad_split_is_refused(release: Path, parts: dict[str, list[object]], message: str):
    write_split(release, **parts)
    with pytest.raises(InvalidInputError) as caught:
        read_derm7pt(release)
    assert str(caught.value).startswith(message)


def test_another_folder_is_refused(release: Path, tmp_path: Path):
    with pytest.raises(InvalidInputError, match="has no folder meta/; name the folder release_v0"):
        read_derm7pt(tmp_path)
    (release / "meta" / "valid_indexes.csv").unlink()
    with pytest.raises(InvalidInputError, match=r"there is no file .*valid_indexes.csv"):
        read_derm7pt(release)
    (release / "meta" / "meta.csv").write_text("case_num,diagnosis\n1,clark nevus\n")
    with pytest.raises(InvalidInputError, match="has no column 'pigment_network'"):
        read_derm7pt(release)


def test_the_commands_add_both(root: Path, release: Path, tmp_path: Path):
    done = guidestore("cohort", "add", "derm7pt", "skin", "--source", release, "--store", root)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "cohort skin: 1 cohort, 8 targets (24 classes), 4 cases, 32 labels, 1 split, 8 images; snapshot 1\n"
    )
    assert "note: 6 targets with one class in train" in done.stderr
    options = ("--images", tmp_path / "drawn", "--cases", 20, "--store", root)
    done = guidestore("cohort", "add", "derm7pt-phantom", "drawn", *options)
    assert (
        "cohort drawn: 1 cohort, 8 targets (24 classes), 19 cases, 152 labels, 1 split, 38 images; snapshot 2"
        in done.stdout
    )
    done = guidestore("cohort", "add", "derm7pt", "other", "--source", tmp_path, "--store", root)
    assert done.returncode != 0
    assert "has no folder meta/; name the folder release_v0" in done.stderr
