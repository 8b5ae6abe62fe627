"""An exported model predicts without the store, and in a process without guidestore, what the store's run predicts."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from guidestore.embeddings.errors import CorruptArtifactError, InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.export import export_model
from guidestore.flows.models.exported import ExportedModel
from guidestore.flows.models.predict import predict
from tests.commandline import guidestore
from tests.flows.conftest import Phantom

IMAGE_TOLERANCE = 1e-5
"""Of a probability from pixels: two runtimes add up float32 in another order. From codes it is 1e-12."""


def run_of(root: Path, row: str, *, mode: str = "matched", control: str = "") -> str:
    runs = EmbeddingStore.open(root).snapshot().rows("runs").to_pylist()
    return next(r["run"] for r in runs if (r["row"], r["mode"], r["control"]) == (row, mode, control))


def test_margins_travel_and_those_that_hold_codes_are_asked_about(tmp_path: Path) -> None:
    from tests.report_store import make_store

    root = make_store(tmp_path, targets=())
    common = {"cohort": "skin", "targets": ("PIG",), "inferior": "clinical/made", "superior": "dermoscopy/made"}
    store = EmbeddingStore.open(root)
    guide(store, GuideSettings(**common, guidance="margins", permutations=0))  # pyright: ignore[reportArgumentType]
    runs = {run["row"] + run["decoder"]: run["run"] for run in store.snapshot().rows("runs").to_pylist()}
    key = store.snapshot().code_set("skin/clinical/made")
    codes = store.snapshot().codes(key)
    for name in ("M(I)kernel ridge", "R(I)reference, linear ridge, by loss"):
        run = runs[name]
        exported = export_model(store, run, tmp_path / name[:4], allow_train_codes=True)
        said = ExportedModel.open(exported.folder).predict(
            codes=CaseCodes(codes.case_ids[:5], codes.codes_nd[:5], key=key), encoder=""
        )
        stored = predict(store, run, cases=codes.case_ids[:5])
        np.testing.assert_allclose(said.probabilities_nk, stored.probabilities_nk, atol=1e-9)
    with pytest.raises(InvalidInputError, match=r"smoother hold codes of the train cases.*--allow-train-codes"):
        export_model(store, runs["R(I)reference, RBF ridge, by loss"], tmp_path / "refused")


def run_readme(folder: Path, **arrays: np.ndarray) -> np.ndarray:
    """(n, k) what the README's lines print in a fresh process that cannot import guidestore."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 12
    code += "import sys\nprint([m for m in sys.modules if m.split('.')[0] in ('guidestore', 'torch')])"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed, modules = done.stdout.splitlines()
    assert modules == "[]"
    classes = json.loads((folder / "card.json").read_text())["classes"]
    return np.array([[row[name] for name in classes] for row in ast.literal_eval(printed)])


def test_a_network_and_its_head_travel(encoded: Phantom, tmp_path: Path) -> None:
    from guidestore.encoders.volumes import VolumeSettings, load_volume

    run = run_of(encoded.store, "G(I)+I", mode="as-published")
    exported = export_model(encoded.opened, run, tmp_path / "model")
    names = {"decoder.safetensors", "encoder.onnx", "encoder.safetensors", "guidance.safetensors", "head.onnx"}
    assert {*exported.files} == names | {"README.md"}
    folders = sorted((encoded.images / "Radiology").iterdir())[:3]
    expected = predict(encoded.opened, run, files=folders)

    model = ExportedModel.open(tmp_path / "model")
    prediction = model.predict(files=folders)
    assert (prediction.run, prediction.classes) == (run, expected.classes)
    assert prediction.case_ids == expected.case_ids
    np.testing.assert_allclose(prediction.probabilities_nk, expected.probabilities_nk, atol=IMAGE_TOLERANCE, rtol=0)

    settings = VolumeSettings(**model.card.encoders[0]["preprocessing"])
    pixels = np.stack([load_volume(folder, settings) for folder in folders])
    given = run_readme(tmp_path / "model", pixels=pixels)
    np.testing.assert_allclose(given, expected.probabilities_nk, atol=IMAGE_TOLERANCE, rtol=0)

    card = json.loads((model.folder / "card.json").read_text())
    assert card["classes"] == list(expected.classes)
    assert card["inferior"]["trained_on"] == "phantom/cv2/0"
    assert card["metrics"]["val"].keys() >= {"balanced_accuracy"}
    assert card["test"]["scored"]
    assert card["test"]["looks"] >= 1  # of `guide`
    assert "resample linearly" in card["preprocessing"][0]
    assert str(encoded.store) not in json.dumps(card)
    for case in encoded.opened.snapshot().rows("cases")["case_id"].to_pylist():
        assert case not in json.dumps(card)


def test_other_encoders_travel_as_far_as_they_can(phantom: Phantom, tmp_path: Path) -> None:
    """Of a slide the network over its tiles, whose codes guidestore makes; of an encoder without weights the name."""
    encode(phantom.opened, EncodeSettings(cohort="phantom", modality="mri_all", encoder="first_order"))
    given = {"cohort": "phantom", "modes": ("matched",), "permutations": 0, "folds": (0,), "guidance": "ridge"}
    case = "PHANTOM_0001"
    for inferior, superior, file, note in (
        ("histology/attention_pooling", "mri_all/densenet3d", f"Pathology/{case}.tiff", "patch encoder texture"),
        ("mri_all/first_order", "histology/attention_pooling", f"Radiology/{case}", "encoder first_order is not"),
    ):
        report = guide(phantom.opened, GuideSettings(**given, inferior=inferior, superior=superior))
        rows = phantom.opened.snapshot().rows("runs").to_pylist()
        run = next(r["run"] for r in rows if r["run"] in report.runs and r["row"] == "G(I)+I")
        exported = export_model(phantom.opened, run, tmp_path / inferior.partition("/")[2])
        assert ("encoder.onnx" in exported.files) == inferior.startswith("histology")
        assert any(note in text for text in exported.notes)
        expected = predict(phantom.opened, run, files=[phantom.images / file])
        got = ExportedModel.open(exported.folder).predict(files=[phantom.images / file])
        assert got.case_ids == (case,)
        np.testing.assert_allclose(got.probabilities_nk, expected.probabilities_nk, atol=IMAGE_TOLERANCE, rtol=0)


def test_codes_travel_and_files_are_the_same_each_time(report_store: Path, tmp_path: Path) -> None:
    run = run_of(report_store, "G(I)+I")
    for name in ("first", "second"):
        done = guidestore("export-model", run, "--output", tmp_path / name, "--store", report_store)
        assert done.returncode == 0, done.stderr
    assert "Codes of made were imported" in done.stderr
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / n).iterdir()} for n in ("first", "second"))
    cards = [json.loads(files.pop("card.json")) for files in (first, second)]
    assert first == second
    assert [card.pop("created_at") and card for card in cards] == [cards[0]] * 2

    snapshot = EmbeddingStore.open(report_store).snapshot()
    codes = snapshot.codes(snapshot.code_set("skin/clinical/made"))
    expected = predict(EmbeddingStore.open(report_store), run, codes=codes)
    given = run_readme(tmp_path / "first", codes=codes.codes_nd)
    np.testing.assert_allclose(given, expected.probabilities_nk, atol=1e-12, rtol=0)

    table = tmp_path / "new.npz"
    np.savez(table, case_id=np.array(codes.case_ids), codes=codes.codes_nd)
    by_run, by_model = (
        guidestore("predict", *which, "--codes", table, "--encoder", "made", "--format", "csv")
        for which in (("--store", report_store, "--run", run), ("--model", tmp_path / "first"))
    )
    assert by_model.returncode == 0, by_model.stderr
    rows = [[line.split(",") for line in done.stdout.splitlines()] for done in (by_run, by_model)]
    assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]


@pytest.mark.parametrize(("row", "control", "sentence"), [
    ("S+I", "", "needs the superior image"),
    ("S", "", "needs the superior image"),
    ("G(I)+I", "shuffled", "is a control"),
])  # fmt: skip
def test_runs_that_cannot_travel_are_refused(
    report_store: Path, tmp_path: Path, row: str, control: str, sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        export_model(EmbeddingStore.open(report_store), run_of(report_store, row, control=control), tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("row", ["I", "G(I)"])
def test_other_rows_travel(report_store: Path, tmp_path: Path, row: str) -> None:
    run = run_of(report_store, row)
    exported = export_model(EmbeddingStore.open(report_store), run, tmp_path / "model")
    assert ("guidance.safetensors" in exported.files) == (row == "G(I)")
    codes = CaseCodes(("a", "b"), np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32))
    expected = predict(EmbeddingStore.open(report_store), run, codes=codes, encoder="made")
    given = ExportedModel.open(exported.folder).predict(codes=codes, encoder="made")
    np.testing.assert_allclose(given.probabilities_nk, expected.probabilities_nk, atol=1e-12, rtol=0)


def test_baselines_travel(report_store: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(report_store, root)
    sweep = tmp_path / "baselines.yaml"
    sweep.write_text(
        "cohort: skin\ninferior: clinical/made\nsuperior: dermoscopy/made\nguidance: ridge\ndecoder: "
        "{name: mlp, epochs: 3}\ntargets: [PIG]\npermutations: 0\nbaselines: [KD(I), GD(I), E(I)]\n"
    )
    done = guidestore("sweep", "run", sweep, "--store", root)
    assert done.returncode == 0, done.stderr
    codes = CaseCodes(("a", "b"), np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32))
    for row in ("KD(I)", "GD(I)", "E(I)"):
        run = run_of(root, row)
        exported = export_model(EmbeddingStore.open(root), run, tmp_path / row)
        card = json.loads((ExportedModel.open(exported.folder).folder / "card.json").read_text())
        assert card["test"] == {"scored": False, "looks": 0}
        assert "test" not in card["metrics"]
        expected = predict(EmbeddingStore.open(root), run, codes=codes, encoder="made").probabilities_nk
        given = ExportedModel.open(exported.folder).predict(codes=codes, encoder="made").probabilities_nk
        np.testing.assert_allclose(given, expected, atol=1e-12, rtol=0)


def test_train_codes_leave_only_when_they_may(report_store: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(report_store, root)
    done = guidestore(
        *("guide", "skin", "--inferior", "clinical/made", "--superior", "dermoscopy/made", "--target", "PIG"),
        *("--guidance", "retrieval", "--decoder", "knn", "--permutations", 0, "--store", root),
    )
    assert done.returncode == 0, done.stderr
    runs = EmbeddingStore.open(root).snapshot().rows("runs").to_pylist()
    run = next(r["run"] for r in runs if (r["row"], r["guidance"], r["decoder"]) == ("G(I)+I", "retrieval", "knn"))
    with pytest.raises(
        InvalidInputError, match=r"knn and retrieval hold codes of the train cases.*--allow-train-codes"
    ):
        export_model(EmbeddingStore.open(root), run, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    exported = export_model(EmbeddingStore.open(root), run, tmp_path / "model", allow_train_codes=True)
    assert "treat the folder as patient data" in exported.notes[0]
    assert json.loads((exported.folder / "card.json").read_text())["holds_train_codes"] == ["knn", "retrieval"]


def test_a_folder_is_whole_or_refused(report_store: Path, tmp_path: Path) -> None:
    run, folder = run_of(report_store, "I"), tmp_path / "model"
    folder.mkdir()
    export_model(EmbeddingStore.open(report_store), run, folder)
    with pytest.raises(InvalidInputError, match="is there already"):
        export_model(EmbeddingStore.open(report_store), run, folder)
    codes = CaseCodes(("a",), np.zeros((1, 4), np.float32))
    model = ExportedModel.open(folder)
    for arguments, sentence in (
        ({}, "one source"),
        ({"codes": codes}, "say which encoder"),
        ({"codes": codes, "encoder": "made"}, "4 dimensions"),
        ({"files": [folder / "a.png"]}, "were imported"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            model.predict(**arguments)
    done = guidestore("predict", "--model", folder, "--case", "lesion-000")
    assert done.returncode == 2
    assert "--case reads codes of the store" in done.stderr
    tampered = bytearray((folder / "head.onnx").read_bytes())
    tampered[-1] ^= 1
    (folder / "head.onnx").write_bytes(tampered)
    with pytest.raises(CorruptArtifactError, match=r"head\.onnx is not the file that was exported"):
        ExportedModel.open(folder)
    (folder / "head.onnx").unlink()
    with pytest.raises(CorruptArtifactError, match=r"head\.onnx is missing"):
        ExportedModel.open(folder)
    with pytest.raises(InvalidInputError, match="is no exported model"):
        ExportedModel.open(tmp_path)


@pytest.fixture(scope="module")
def exported(report_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(EmbeddingStore.open(report_store), run_of(report_store, "I"), folder)
    return folder


def test_codes_are_predicted_from_without_a_framework(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("case_id,c0,c1,c2,c3,c4\nx,1,2,3,4,5\n")
    code = (
        "import atexit, sys\n"
        "from guidestore.flows.cli.main import main\n"
        "heavy = {'torch', 'monai', 'prefect', 'ray', 'timm', 'sklearn', 'onnx', 'onnxscript', 'zarr', 'duckdb'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
        "main()"
    )
    words = ("predict", "--model", exported, "--codes", tmp_path / "codes.csv", "--encoder", "made", "--format", "csv")
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (("files",), None, "files: "),
        (("files", "../head.onnx"), {"sha256": "0" * 64}, "is no name of a file in the folder"),
        (("files",), {}, "names no head.onnx"),
        (("classes",), "ab", "classes: "),
        (("classes",), ["a"], "classes: "),
        (("inferior", "trained_on"), "a/b/c", "inferior.trained_on: "),
        (("inferior", "code_dim"), "5", "inferior.code_dim: "),
        (("format",), 2, "is of format 2, this guidestore reads 1"),
        (("format",), True, "format: "),
        ((), "[" * 100_000, "cannot be read"),
        ((), "{}", "format: Field required"),
        ((), "[]", "the whole: "),
        ((), "\x00", "cannot be read"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_card_of_anybody_is_a_sentence(exported: Path, tmp_path: Path, field, value, said: str) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    card = json.loads((folder / "card.json").read_text())
    place = card
    for name in field[:-1]:
        place = place[name]
    if field:
        place[field[-1]] = value
    (folder / "card.json").write_text(json.dumps(card) if field else value)
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        ExportedModel.open(folder)


def _graph(*nodes: tuple[str, list[str], list[str]], tensors=(), output: str = "p") -> bytes:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node(op, given, made) for op, given, made in nodes],
        "foreign",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        list(tensors),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.ModelProto.SerializeToString(model)


def _external() -> bytes:
    from onnx import TensorProto, helper

    secret = helper.make_tensor("w", TensorProto.FLOAT, [5], np.zeros(5, np.float32))
    secret.ClearField("float_data")
    secret.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../secret"), ("offset", "0"), ("length", "20")):
        entry = secret.external_data.add()
        entry.key, entry.value = key, value
    return _graph(("Add", ["z", "w"], ["p"]), tensors=[secret])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: b"no model", "cannot be run"),
        (lambda: b"", "cannot be run"),
        (_external, "reads weights from other files"),
        (lambda: _graph(("Identity", ["z"], ["p"])), "not 3 numbers for each case"),
        (lambda: _graph(("Shape", ["z"], ["p"])), "cannot be run"),
        (lambda: _graph(("Unknown", ["z"], ["p"])), "cannot be run"),
    ],
    ids=["bytes", "nothing", "external", "shape", "type", "operation"],
)
def test_a_foreign_graph_is_a_sentence(exported: Path, tmp_path: Path, content, said: str) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    (folder / "head.onnx").write_bytes(content())
    card = json.loads((folder / "card.json").read_text())
    card["files"]["head.onnx"]["sha256"] = hashlib.sha256(content()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    (tmp_path / "codes.csv").write_text("case_id,c0,c1,c2,c3,c4\nx,1,2,3,4,5\n")
    done = guidestore("predict", "--model", folder, "--codes", tmp_path / "codes.csv", "--encoder", "made")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.replace("\n", " ")


def test_missing_values_are_filled_with_the_medians_of_train(tmp_path: Path) -> None:
    """With or without the store: those of numpy over the train cases of the run's fold."""
    rng, cases = np.random.default_rng(0), [f"c{i:02}" for i in range(40)]
    codes = {name: rng.normal(np.arange(40)[:, None] % 2, 1, (40, 3)) for name in ("mri", "histology")}
    codes["mri"][::7, 1] = np.nan
    store = ("--store", tmp_path / "store")
    for name, values in codes.items():
        pd.DataFrame(values, cases, ["a", "b", "c"]).to_csv(tmp_path / f"{name}.csv", index_label="case_id")
        told = ("--cohort", "c", "--modality", name, "--encoder", "e", "--nan", "median")
        assert guidestore("import", tmp_path / f"{name}.csv", *told, *store).returncode == 0
    pd.DataFrame({"y": np.arange(40) % 2}, cases).to_csv(tmp_path / "y.csv", index_label="case_id")
    guidestore("cohort", "add", "manifest", "c", "--labels", tmp_path / "y.csv", *store)
    guidestore("cohort", "split", "c", "--folds", 2, *store)
    heads = ("--guidance", "ridge", "--decoder", "logistic", "--permutations", 0, "--fold", 0)
    guidestore("guide", "c", "--inferior", "mri/e", "--superior", "histology/e", *heads, *store)
    run = run_of(tmp_path / "store", "G(I)+I")
    exported = export_model(EmbeddingStore.open(tmp_path / "store"), run, tmp_path / "model")
    splits = EmbeddingStore.open(tmp_path / "store").snapshot().rows("splits").to_pylist()
    train = [cases.index(row["case_id"]) for row in splits if (row["fold"], row["part"]) == (0, "train")]
    medians = np.nanmedian(codes["mri"][train].astype(np.float32), axis=0)
    missing = np.isnan(codes["mri"][:8]).any(axis=1)
    lacking = pd.DataFrame(codes["mri"][:8], cases[:8], ["a", "b", "c"])
    answers = []
    for table in (lacking, lacking.fillna({"b": float(medians[1])})):
        table.to_csv(tmp_path / "new.csv", index_label="case_id")
        for where in ((*store, "--run", run), ("--model", exported.folder)):
            done = guidestore("predict", *where, "--codes", tmp_path / "new.csv", "--encoder", "e", "--format", "csv")
            answers.append(pd.read_csv(StringIO(done.stdout)))
    assert missing.sum() == 2
    for other in answers[1:]:
        pd.testing.assert_frame_equal(answers[0], other, rtol=1e-9)
