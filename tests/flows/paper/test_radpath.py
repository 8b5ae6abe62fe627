"""Table 1 from one call on a RadPath-shaped folder; what the store has is not made again."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.paper.course import Course
from guidestore.flows.paper.radpath import run_radpath
from guidestore.flows.paper.report import ExperimentReport, write_table
from guidestore.flows.paper.settings import RadPathSettings
from guidestore.flows.paper.table import DELTA, as_rows
from guidestore.flows.paper.table1 import FORM
from guidestore.heads.significance import VERDICTS
from tests.commandline import guidestore
from tests.flows.conftest import CASES, Phantom

FILES = [
    *("table1.md", "table1.csv", "table1.tex"),
    *(f"table1{kind}.{suffix}" for kind in ("", "-gains") for suffix in ("pdf", "svg", "png")),
]


def settings(**values: object) -> RadPathSettings:
    given = {"inputs": ("mri_t1", "mri_all"), "splits": 1, "tile_px": 128, "mpp": 2.0, "permutations": 1}
    return RadPathSettings(cohort="phantom", **{**given, **values})


@pytest.fixture(scope="module")
def folder(encoded: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RadPath's layout with a published split 1 of the phantom's cases."""
    folder = tmp_path_factory.mktemp("radpath") / "images"
    shutil.copytree(encoded.images, folder)
    header, *rows = (folder / "labels.csv").read_text().splitlines()
    rows.sort(key=lambda row: row.split(",")[1])
    parts = {"train": rows[0::2] + rows[3::4], "val": rows[1::8], "test": rows[5::8]}
    for part, lines in parts.items():
        (folder / f"split_1_{part}.csv").write_text("\n".join([header, *dict.fromkeys(lines)]) + "\n")
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Path, ExperimentReport]:
    root = folder.parent / "store"
    return root, run_radpath(EmbeddingStore.create(root), settings(source=folder))


def test_it_trains_and_evaluates_all_of_it(done: tuple[Path, ExperimentReport]) -> None:
    root, report = done
    table = report.table
    assert [column.key for column in table.columns] == ["mri_t1", "mri_all"]
    assert list(table.rows)[:5] == ["P+R", "P", "R", "G(R)", "G(R)+R"]
    assert {FORM.control, DELTA} <= table.rows.keys()
    for name, cells in table.rows.items():
        for cell in cells:
            assert cell is not None, name
            assert cell.n == 1
            assert all(np.isfinite(cell.mean))
    assert table.rows["P"][0].mean == table.rows["P"][1].mean  # the slide's classifier knows no MRI
    assert table.rows["R"][1].published == (0.729, 0.771)
    assert list(table.effects) == [(r, m) for r in ("G(R)", "G(R)+R") for m in ("mri_t1", "mri_all")]
    assert {effect.verdict for effect in table.effects.values()} <= set(VERDICTS)
    # 24 slides, then C_S and two C_I on one fold: one code for each case.
    assert (report.encoded, report.images_read, report.failed) == (CASES * 4, CASES * (1 + 1 + 4), {})
    origins = {row["origin"] for row in EmbeddingStore.open(root).snapshot().rows("splits").to_pylist()}
    assert origins == {f"given: split_1_{part}.csv" for part in ("train", "val", "test")}
    assert fsck(LocalStorage(root)).clean


def test_run_again_it_reads_and_trains_nothing(done: tuple[Path, ExperimentReport]) -> None:
    root, report = done
    again = run_radpath(EmbeddingStore.create(root), settings())
    assert (again.encoded, again.trained, again.images_read) == (0, 0, 0)
    assert again.runs == report.runs
    assert again.table == report.table
    assert again.snapshot == report.snapshot


def test_the_command_prints_and_writes_it(done: tuple[Path, ExperimentReport], tmp_path: Path) -> None:
    root, report = done
    options = ("--input", "mri_t1", "--input", "mri_all", "--splits", 1, "--tile-px", 128, "--mpp", 2)
    command = ("experiment", "radpath", "phantom", *options, "--permutations", 1, "--store", root, "--out", tmp_path)
    shown = guidestore(*command)
    assert shown.returncode == 0, shown.stderr
    assert "images read: 0, codes made: 0, networks and heads trained: 0" in shown.stderr
    assert "G(R)+R, shuffled pairs" in shown.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(FILES)
    rows = json.loads(guidestore(*command, "--format", "json").stdout)
    assert rows == json.loads(json.dumps(as_rows(report.table)))
    drawn = guidestore(
        *("attention", "PHANTOM_0003", "--cohort", "phantom", "--split", "radpath", "--fold", 0, "--out", tmp_path),
        *("--store", root),
    )
    assert Path(drawn.stdout.strip()).exists()
    tiles = guidestore("attention", "PHANTOM_0003", "--cohort", "phantom", "--format", "csv", "--store", root).stdout
    assert sum(float(row["attention"]) for row in csv.DictReader(tiles.splitlines())) == pytest.approx(1, abs=1e-4)
    wrong = guidestore("attention", "NOBODY", "--cohort", "phantom", "--store", root)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (3, 1)


def test_it_is_written_as_markdown_csv_and_a_figure(done: tuple[Path, ExperimentReport], tmp_path: Path) -> None:
    _, report = done
    files = write_table(report.table, tmp_path / "new" / "out")
    assert [file.name for file in files] == FILES
    assert "| G(R)+R, shuffled pairs |" in files[0].read_text()
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert len({row["row"] for row in rows}) == len(report.table.rows)
    picture = np.asarray(Image.open(files[FILES.index("table1.png")]).convert("RGB"))
    assert picture.std() > 10


def test_what_is_missing_is_said(encoded: Phantom, tmp_path: Path) -> None:
    asked = ("experiment", "radpath", "phantom", "--store", tmp_path / "store")
    no_store = guidestore(*asked)
    assert (no_store.returncode, "there is no guidestore" in no_store.stderr) == (3, True)
    no_folder = guidestore(*asked, "--source", tmp_path / "nowhere")
    assert (no_folder.returncode, no_folder.stderr.count("\n")) == (2, 1)
    assert "source = " in no_folder.stderr
    assert "does not point to a directory" in no_folder.stderr
    assert not (tmp_path / "store").exists()
    EmbeddingStore.create(tmp_path / "store")
    with pytest.raises(NotFoundInStoreError, match="--source"):
        run_radpath(EmbeddingStore.create(tmp_path / "store"), settings())
    images = tmp_path / "images"
    shutil.copytree(encoded.images, images)
    for file in images.glob("Radiology/*/*.nii.gz"):
        file.unlink()
    with pytest.raises(InvalidInputError, match="has no images of mri_t1, mri_all"):
        run_radpath(EmbeddingStore.create(tmp_path / "store"), settings(source=images))


@pytest.mark.slow
def test_the_whole_table_on_a_phantom_takes_under_15_minutes(tmp_path: Path) -> None:
    """Five inputs, two splits, 80 cases."""
    import time

    from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom

    generate_phantom(tmp_path / "images", cases=80, seed=11)
    start = time.monotonic()
    wanted = RadPathSettings(cohort="phantom", source=tmp_path / "images", splits=2)
    report = run_radpath(EmbeddingStore.create(tmp_path / "store"), wanted)
    assert time.monotonic() - start < 15 * 60
    assert len(report.table.columns) == 5
    assert all(cell is not None and cell.n in (2, 10) for cells in report.table.rows.values() for cell in cells)


def test_the_um_per_pixel_of_the_slides_is_passed_on(
    done: tuple[Path, ExperimentReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EncodeSettings] = []

    def encode(self: Course, of: EncodeSettings) -> None:
        asked.append(of)
        raise InvalidInputError("enough")

    monkeypatch.setattr(Course, "encode", encode)
    with pytest.raises(InvalidInputError, match="enough"):
        run_radpath(EmbeddingStore.open(done[0]), settings(slide_mpp=0.25))
    assert (asked[0].modality, asked[0].slide_mpp, asked[0].mpp) == ("histology", 0.25, 2.0)
