"""Mutated files at further doors: sheets, slides, weights, exported models, keys and lists of classes and groups."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.slides.reader import Slide
from tests.commandline import guidestore
from tests.encoders.dicom_slides import write_dicom_slide
from tests.encoders.making import write_tiff
from tests.faults.test_mutated_images import Edits, edited, edits, encode, picture, some
from tests.flows.cli.test_mutated_tables import FEW, IDS, VALUES, checked, codes_in, mutated, of_csv

PIXELS = np.clip(np.random.default_rng(0).normal((200, 110, 170), 25, (256, 256, 3)), 0, 255).astype(np.uint8)

SERIES = b"1.2.840.99.1"


def of_xlsx() -> bytes:
    book, sink = Workbook(), io.BytesIO()
    sheet: Any = book.active
    for row in [["case_id", "f0", "f1", "f2"], *([c, *map(float, v)] for c, v in zip(IDS, VALUES, strict=True))]:
        sheet.append(row)
    book.save(sink)
    return sink.getvalue()


@st.composite
def mutated_sheet(draw: st.DrawFn, whole: bytes) -> bytes:
    """The workbook with one of its XML files mutated, zipped anew with a right checksum; or mutated as it is."""
    if draw(st.integers(0, 4)) == 0:
        return draw(mutated(whole))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from([*[name for name in members if "sheet1" in name] * 4, *members]))
    members[name] = draw(mutated(members[name]))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return sink.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_sheets(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = of_xlsx()

    @FEW
    @given(mutated_sheet(whole))
    def bring(data: bytes) -> None:
        folder = tmp_path_factory.mktemp("sheet")
        (folder / "codes.xlsx").write_bytes(data)
        names = ("--cohort", "c", "--modality", "m", "--encoder", "e", "--store", folder / "store")
        if checked("import", folder / "codes.xlsx", *names) != 0:
            return
        found = codes_in(folder / "store")
        sheet = load_workbook(io.BytesIO(data), data_only=True).worksheets[0]
        header, *rows = [row for row in sheet.iter_rows(values_only=True) if any(v is not None for v in row)]
        at = header.index("case_id")
        kept = [i for i, name in enumerate(header) if i != at and name is not None]
        expected = {str(row[at]).strip(): [float(str(row[i])) for i in kept] for row in rows}
        assert set(found) == set(expected)
        for case, row in found.items():
            np.testing.assert_array_equal(np.array(row, np.float32), np.array(expected[case]).astype(np.float32))

    bring()


def slide_bytes(folder: Path, kind: str) -> bytes:
    path = folder / "whole"
    if kind == "DICOM":
        write_dicom_slide(path, PIXELS, mpp=0.5, series=SERIES.decode())
    elif kind == "TIFF":
        write_tiff(path, PIXELS, levels=2)
    else:
        tags: dict[str, Any] = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER", "metadata": None}
        tifffile.imwrite(
            path, PIXELS.astype(np.uint16) * 16, tile=(128, 128), photometric="rgb", compression="deflate", **tags
        )
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [pytest.param("TIFF", marks=pytest.mark.slow), "deep TIFF", "DICOM"])
def test_slides(kind: str, tmp_path: Path) -> None:
    whole = slide_bytes(tmp_path, kind)
    header = 1000 if kind == "DICOM" else 400
    encode({"good": whole}, "", "histology", "texture", most_mb=3000)  # libraries are loaded

    @settings(some, max_examples=2)
    @given(edits(header))
    def through(files: list[Edits]) -> None:
        contents = {"good": whole} | {f"c{i}": edited(whole, changes) for i, changes in enumerate(files)}
        if kind == "DICOM":  # a series each
            for i, case in enumerate(contents):
                contents[case] = contents[case].replace(SERIES, b"1.2.840.%02d.1" % (i + 10))
        outcome, folder = encode(contents, "", "histology", "texture")
        if kind != "deep TIFF":  # of the others OpenSlide is the reader
            return
        rows = EmbeddingStore.open(folder / "store").snapshot().rows("images").to_pylist()
        white = {row["case_id"]: row["scaling"] for row in rows}
        for case in (case for case, reason in outcome.items() if not reason):
            with tifffile.TiffFile(folder / case) as tiff:
                page: Any = tiff.pages.first
                values = np.atleast_3d(page.asarray()).astype(np.float64)
            with Slide(folder / case, mpp=0.5) as slide:
                region = slide.read(0, 0, slide.width_px, slide.height_px, 1)
            scaled = np.floor(values / float(white[case] or 255) * 255 + 0.5).astype(np.uint8)
            assert np.array_equal(region, 255 - scaled if int(page.photometric) == 0 else scaled)

    through()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with a run, and that run exported."""
    folder = tmp_path_factory.mktemp("doors")
    (folder / "codes.csv").write_bytes(of_csv())
    labels = "".join(f"{case},{'ab'[i % 2]}\n" for i, case in enumerate(IDS))
    (folder / "labels.csv").write_text("case_id,grade\n" + labels)
    place = ("--store", folder / "store")
    for modality in ("m", "s"):
        told = ("--cohort", "c", "--modality", modality, "--encoder", "e")
        assert guidestore("import", folder / "codes.csv", *told, *place).returncode == 0
    assert guidestore("cohort", "add", "manifest", "c", "--labels", folder / "labels.csv", *place).returncode == 0
    assert guidestore("cohort", "split", "c", "--folds", 2, "--val", 0.4, *place).returncode == 0
    (folder / "s.yaml").write_text(
        "name: s\ncohort: c\ntargets: [grade]\ninferior: [m/e]\nsuperior: [s/e]\nsplit: cv2\nfolds: [0]\n"
        "guidance: [ridge]\ndecoder: [logistic]\nseeds: [0]\n"
    )
    done = guidestore("sweep", "run", folder / "s.yaml", *place)
    assert done.returncode == 0, done.stderr
    runs = EmbeddingStore.open(folder / "store").snapshot().rows("runs").to_pylist()
    run = next(row["run"] for row in runs if row["row"] == "G(I)+I")
    done = guidestore("export-model", run, "--output", folder / "model", *place)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ["card.json", "head.onnx"])
def test_exported_models(name: str, store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = (store / "model" / name).read_bytes()

    @settings(FEW, max_examples=12, phases=(Phase.generate,))
    @given(mutated(whole))
    def predict(data: bytes) -> None:
        folder = tmp_path_factory.mktemp("model") / "model"
        shutil.copytree(store / "model", folder)
        (folder / name).write_bytes(data)
        if name != "card.json":  # somebody who means it makes the digest right
            card = json.loads((folder / "card.json").read_text())
            card["files"][name]["sha256"] = hashlib.sha256(data).hexdigest()
            (folder / "card.json").write_text(json.dumps(card))
        told = ("predict", "--model", folder, "--codes", store / "codes.csv", "--encoder", "e", "--format", "json")
        done = guidestore(*told)
        # 4: a file is not the one that the card says.
        assert done.returncode in (0, 2, 3, 4, 5, 7, 8), done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            rows = json.loads(done.stdout)
            assert [row["case_id"] for row in rows] == IDS

    predict()


def test_weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    import timm
    from safetensors.torch import load, save

    module = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    whole = save(module.state_dict())
    folder = tmp_path_factory.mktemp("weights")
    write_tiff(folder / "a.tif", PIXELS)
    (folder / "i.csv").write_text("case_id,modality,path\na,histology,a.tif\n")
    place = ("--store", folder / "store")
    assert guidestore("cohort", "add", "manifest", "c", "--images", folder / "i.csv", *place).returncode == 0
    told = ("encode", "c", "--modality", "histology", "--encoder", "test_resnet", "--device", "cpu", *place)
    length = 8 + int.from_bytes(whole[:8], "little")

    @settings(FEW, max_examples=3)
    @given(mutated(whole[:length]))
    def load_them(header: bytes) -> None:
        data = header + whole[length:]
        (folder / "w.safetensors").write_bytes(data)
        if checked(*told, "--weights", folder / "w.safetensors") == 0:
            load(data)  # as safetensors itself reads it

    load_them()


@pytest.mark.parametrize("door", ["--classes", "--groups", "--key"])
def test_small_files(door: str, store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("small")
    whole: dict[str, bytes] = {
        "--classes": b"a\nb\n",
        "--groups": "\n".join(["case_id,patient", *(f"{case},{i // 2}" for i, case in enumerate(IDS))]).encode(),
    }
    (folder / "i.csv").write_text("case_id,modality,path\nP00,m,x.png\n")
    (folder / "x.png").write_bytes(picture("PNG"))
    add = ("cohort", "add", "manifest", "p", "--images", folder / "i.csv", "--pseudonymize")
    if door == "--key":
        assert guidestore(*add, folder / "key", "--store", folder / "s").returncode == 0
        whole["--key"] = (folder / "key").read_bytes()
    commands: dict[str, Callable[[Path], tuple[object, ...]]] = {
        "--classes": lambda file: (
            *("cohort", "add", "manifest", "c", "--labels", store / "labels.csv", "--dry-run"),
            *("--classes", f"grade=@{file}"),
        ),
        "--groups": lambda file: ("cohort", "split", "c", "--folds", 2, "--group", "patient", "--groups", file),
        "--key": lambda file: (*add, file, "--dry-run"),
    }

    @settings(FEW, max_examples=12)
    @given(mutated(whole[door]))
    def knock(data: bytes) -> None:
        (folder / "given").write_bytes(data)
        checked(*commands[door](folder / "given"), "--store", store / "store")

    knock()
