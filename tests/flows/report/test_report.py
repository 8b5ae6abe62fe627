"""The report: its figures are those of the Python calls, it is one file that needs no other, faults are sentences."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.report import write_report
from guidestore.flows.report.calibration import calibrated
from guidestore.flows.report.code_map import Places, method_for
from guidestore.flows.report.confusion import confusions_of
from guidestore.flows.report.guided_codes import foretell, guided_pairs_of
from guidestore.flows.report.sections import Section, sections_of
from guidestore.flows.results.effects import row_effects, spread
from guidestore.flows.results.evaluation import evaluate
from guidestore.flows.results.selection import RunSelection
from guidestore.heads.prediction import predict_row
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.commandline import guidestore
from tests.report_store import CLASSES

SKIN = RunSelection("skin")


@pytest.fixture
def store(report_store: Path) -> Path:
    return report_store


@pytest.fixture
def page(report_file: Path) -> str:
    return report_file.read_text(encoding="utf-8")


def sections(store: Path, runs: list[Run] | None = None) -> list[Section]:
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = all_runs(snapshot) if runs is None else runs
    return sections_of(runs, {}, load_predictions(snapshot, runs))


def plain(text: str) -> str:
    """The page's text without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_tables_and_verdicts_are_those_of_the_python_calls(store: Path, page: str) -> None:
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = all_runs(snapshot)
    told = plain(page)
    for row in evaluate(snapshot, [run.id for run in runs]).rows:
        for name in row.mean:
            assert f"{row.mean[name]:.3f} ± {row.sd[name]:.3f}" in told
    effects = row_effects(runs, load_predictions(snapshot, runs))
    assert {(effect.head.target, effect.head.row) for effect in effects} == {
        (t, r) for t in CLASSES for r in ("G(I)", "G(I)+I")
    }
    for found in effects:
        assert found.effect is not None
        nearest = found.effect.nearest_control
        line = f"{spread(found.effect.gain_over_i)} {nearest.rival.name}: {spread(nearest.over)}"
        assert f"{found.head.row} {found.verdict} {line}" in told


def test_it_is_one_file_that_needs_no_other(page: str) -> None:
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"<(script|link|img|iframe|object|embed|base)\b|\bsrc=|@import", page)
    assert re.findall(r"url\((?!#)", page) == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) <= {(i, "") for i in ids} | {("", i) for i in ids}
    assert re.findall(r'href="[^#]', page) == []


def test_names_stay_names_and_cases_stay_out(page: str) -> None:
    assert "<b>bold" not in page
    for names in CLASSES.values():
        assert all(html.escape(name) in page for name in names)
    assert "lesion-" not in page


def test_the_command_prints_the_verdicts(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    done = guidestore("report", "skin", "--target", "PIG", "--store", store, "--out", out)
    assert done.returncode == 0, done.stderr
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    for effect in row_effects(runs, load_predictions(snapshot, runs)):
        assert f"PIG, {effect.head.row} (ridge, logistic, matched): {effect.verdict}\n" in done.stdout
    text = out.read_text(encoding="utf-8")
    assert "DIAG" not in text
    assert "guidestore report skin --target PIG --at" in text
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_provenance_names_what_the_page_was_made_from(store: Path, page: str) -> None:
    snapshot = EmbeddingStore.open(store).snapshot()
    told = plain(page)
    for run in all_runs(snapshot):
        assert run.id in told
        assert str(run.inferior) in told
        assert all(f"{name} {version}" in told for name, version in run.versions.items())
    assert f"snapshot {snapshot.version}" in told
    assert "official/0" in told
    assert "unknown" in told


def test_faults_are_one_sentence_and_leave_no_file(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundInStoreError, match="of skin --target BWV is there; --target may be DIAG, PIG;"):
        write_report(EmbeddingStore.open(store), RunSelection("skin", target="BWV"), tmp_path / "r.html")
    with pytest.raises(NotFoundInStoreError, match="there are runs of none yet"):
        write_report(EmbeddingStore.open(store), SKIN, tmp_path / "r.html", at=1)
    with pytest.raises(InvalidInputError, match="is a folder; name the file"):
        write_report(EmbeddingStore.open(store), SKIN, tmp_path)
    with pytest.raises(InvalidInputError, match="there is no folder"):
        write_report(EmbeddingStore.open(store), SKIN, tmp_path / "missing" / "r.html")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_report(EmbeddingStore.open(store), RunSelection("skin", target="PIG"), tmp_path / ("r" * 300))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidInputError, match=r"cannot be written \(No space left on device\)"):
        write_report(EmbeddingStore.open(store), RunSelection("skin", target="PIG"), tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def copied_runs(store: Path, cohort: str, change) -> None:
    """The runs of PIG, seed 0, again as runs of `cohort`; `change` gets (run row, its metrics, its predictions)."""
    opened = EmbeddingStore.open(store)
    snapshot = opened.snapshot()
    rows = {kind: snapshot.rows(kind).to_pylist() for kind in ("runs", "metrics", "predictions")}
    chosen = [row for row in rows["runs"] if row["target"] == "PIG" and row["seed"] == 0 and row["cohort"] == "skin"]
    made: dict[str, list[dict]] = {"runs": [], "metrics": [], "predictions": []}
    for fact in chosen:
        new = f"{cohort}-{fact['run']}"
        run, metrics, predictions = change(
            {**fact, "run": new, "cohort": cohort},
            [{**row, "run": new} for row in rows["metrics"] if row["run"] == fact["run"]],
            [{**row, "run": new, "cohort": cohort} for row in rows["predictions"] if row["run"] == fact["run"]],
        )
        for kind, new_rows in (("runs", [run]), ("metrics", metrics), ("predictions", predictions)):
            made[kind] += new_rows
    with opened.begin("copied runs") as transaction:
        transaction.write_runs(
            [Run.from_row(row) for row in made["runs"]],
            made["metrics"],
            made["predictions"],
            inputs={row["run"]: [] for row in made["runs"]},
        )


def report_of(store: Path, cohort: str) -> str:
    file = store.parent / f"{cohort}.html"
    write_report(EmbeddingStore.open(store), RunSelection(cohort), file)
    return plain(file.read_text(encoding="utf-8"))


@pytest.fixture
def own_store(store: Path, page: str, tmp_path: Path) -> Path:
    """With the look of the page in it."""
    shutil.copytree(store, tmp_path / "store")
    return tmp_path / "store"


def test_the_same_snapshot_gives_the_same_bytes(own_store: Path, page: str, tmp_path: Path) -> None:
    before = int(re.findall(r"report skin --at (\d+)", page)[0])
    twice = [tmp_path / "one.html", tmp_path / "two.html"]
    for file in twice:
        write_report(EmbeddingStore.open(own_store), SKIN, file)
    assert twice[0].read_bytes() == twice[1].read_bytes()  # the second is no new look at test
    copied_runs(own_store, "skin", lambda run, *stored: ({**run, "seed": 5}, *stored))
    write_report(EmbeddingStore.open(own_store), SKIN, tmp_path / "report.html", at=before)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert f"guidestore report skin --at {before} --out report.html" in page
    assert "seeds 0, 1, 5" in report_of(own_store, "skin")


def test_diverged_runs_are_counted_and_said(own_store: Path) -> None:
    def diverge(run: dict, metrics: list, predictions: list) -> tuple[dict, list, list]:
        if run["row"] == "G(I)+I":
            return {**run, "status": "diverged", "weights": "{}"}, [], []
        return run, metrics, predictions

    copied_runs(own_store, "wild", diverge)
    told = report_of(own_store, "wild")
    wild = [run for run in all_runs(EmbeddingStore.open(own_store).snapshot()) if run.cohort == "wild"]
    assert f"{sum(run.row == 'G(I)+I' for run in wild)} runs diverged and left out" in told
    assert "G(I)+I has no test predictions" in told
    assert "Nothing can be said of G: code set skin/" in told  # the codes are of another cohort than these runs
    copied_runs(own_store, "gone", lambda run, *_: ({**run, "status": "diverged", "weights": "{}"}, [], []))
    told = report_of(own_store, "gone")
    assert "No guided row here has stored test predictions" in told
    assert "nothing is drawn" in told
    assert "No fold here has a trained G" in told


def test_runs_without_predictions_keep_their_table(own_store: Path) -> None:
    copied_runs(own_store, "mute", lambda run, metrics, _: (run, metrics, []))
    told = report_of(own_store, "mute")
    mute = [run for run in all_runs(EmbeddingStore.open(own_store).snapshot()) if run.cohort == "mute"]
    assert f"{len(mute)} runs without stored predictions of labelled test cases" in told
    assert "nothing is drawn" in told
    assert "There are no stored predictions" in told


def test_a_class_without_test_cases_is_said(own_store: Path) -> None:
    def one_class(run: dict, metrics: list, predictions: list) -> tuple[dict, list, list]:
        return run, metrics, [row for row in predictions if row["label"] == "present"]

    copied_runs(own_store, "half", one_class)
    told = report_of(own_store, "half")
    assert "AUROC of I is not defined: a class has no test cases" in told
    assert re.search(r"absent 0 – 0 – present \d+", told)  # its line of the confusion matrix


def test_confusions_count_every_prediction(store: Path) -> None:
    predictions = EmbeddingStore.open(store).snapshot().rows("predictions").to_pylist()
    (section,) = (one for one in sections(store) if one.target == "DIAG")
    for found in confusions_of(section):
        runs = {run.run for run in section.of_row(found.row)}
        assert (len(runs), found.runs) == (2, 2)
        said = [(row["label"], row["predicted"]) for row in predictions if row["run"] in runs and row["part"] == "test"]
        assert found.predictions == len(said)
        for true, cells in found.lines:
            assert [n for n, _ in cells] == [said.count((true, name)) for name in section.classes]
            assert sum(share for _, share in cells if share is not None) == pytest.approx(1)


def test_the_stored_g_is_the_one_that_predicted(store: Path) -> None:
    """G(z_I) of the map and the reliability, sent through the stored decoder, gives the stored probabilities."""
    snapshot = EmbeddingStore.open(store).snapshot()
    (section,) = (one for one in sections(store) if one.target == "DIAG")
    pairs = guided_pairs_of(snapshot, section)
    assert [one.unit for one in pairs] == [("official", 0, 0), ("official", 0, 1)]
    assert [len(one.shuffled) for one in pairs] == [2, 2]
    one = pairs[0]
    (predicted,) = (run for run in section.of_row("G(I)") if run.unit == one.unit)
    run = next(run for run in section.runs if run.id == predicted.run)
    weights = {role: snapshot.weights(artifact) for role, artifact in run.weights.items()}
    components = {role: (entry.meta["config"], tensors) for role, (tensors, entry) in weights.items()}
    assert run.weights["guidance"] == one.guidance
    assert foretell(snapshot, one.guidance, one).shape == one.superior_nd.shape
    assert one.case_ids == predicted.case_ids
    assert (one.y == predicted.labels).all()
    expected = predicted.probabilities
    assert predict_row("G(I)", components, one.inferior_nd) == pytest.approx(expected)


def make_run(
    row: str, guidance: str = "", decoder: str = "mlp", mode: str = "as-published", inferior: str = "i/e@1"
) -> Run:
    return Run(
        f"{row} {guidance} {decoder} {mode} {inferior}",
        "c",
        "t",
        "s",
        0,
        row,
        inferior=CodeSetName.parse(inferior, "c"),
        superior=CodeSetName("c", "s", "e", "2"),
        mode=mode,
        guidance=guidance,
        decoder=decoder,
        classes=("a", "b"),
    )


def test_calibration_by_hand() -> None:
    # Bin .5 to .6: two predictions at .55, one right. Bin .9 to 1: two at 1, both right.
    found = calibrated("I", np.array([0.55, 0.55, 1.0, 1.0 + 1e-16]), np.array([True, False, True, True]))
    assert found.confidence_b == pytest.approx([0.55, 1.0])
    assert found.accuracy_b == pytest.approx([0.5, 1.0])
    assert found.share_b == pytest.approx([0.5, 0.5])
    assert found.error == pytest.approx(0.025)
    assert found.overconfidence == pytest.approx(0.025)
    surely = calibrated("I", np.array([0.7]), np.array([False]))
    assert surely.error == surely.overconfidence == pytest.approx(0.7)


def test_places_are_found_once_and_again() -> None:
    rng = np.random.default_rng(0)
    assert (method_for(20), method_for(200)) == ("PCA", "t-SNE")
    for n, d in ((20, 5), (20, 1), (110, 30)):
        codes_nd = rng.normal(size=(n, d)).astype(np.float32)
        one = Places()
        first = one.of(codes_nd, method_for(n))
        assert first.shape == (n, 2)
        assert one.of(codes_nd.copy(), method_for(n)) is first
        assert (Places().of(codes_nd, method_for(n)) == first).all()
    for method in ("PCA", "t-SNE"):
        assert (Places().of(np.ones((120, 4), np.float32), method) == 0).all()


def test_a_selection_takes_whole_names() -> None:
    run = make_run("I", inferior="mri_t1ce/densenet3d@abcdef123456")
    for inferior, wanted in (
        ("", True), ("mri_t1ce", True), ("mri_t1ce/densenet3d", True), ("mri_t1ce/densenet3d@abc", True),
        ("mri_t1", False), ("mri_t1ce/dense", False), ("mri_t1ce/densenet3d@bc", False),
    ):  # fmt: skip
        assert RunSelection("c", inferior=inferior).wants(run) is wanted, inferior
    assert RunSelection("c", guidance="ridge", decoder="mlp").wants(run)
    assert not RunSelection("c", split="other").wants(run)
    assert not RunSelection("d").wants(run)
    assert RunSelection("c", mode="matched", target="a b").options() == ["c", "--target", "a b", "--mode", "matched"]
