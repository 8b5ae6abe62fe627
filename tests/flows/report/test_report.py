"""The report: its figures are those of the Python calls, it is one file that needs no other, faults are sentences."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.report import write_report
from guidestore.flows.report.accounting import accounting_of
from guidestore.flows.report.calibration import calibrated
from guidestore.flows.report.code_map import Places, method_for
from guidestore.flows.report.confusion import confusions_of
from guidestore.flows.report.figures import drawing
from guidestore.flows.report.gains import gains_picture
from guidestore.flows.report.guided_codes import Pairs, foretell, guided_pairs_of
from guidestore.flows.report.plain_words import meaning, modality_name, terms_of
from guidestore.flows.report.sections import Section, sections_of
from guidestore.flows.results.effects import row_effects, spread
from guidestore.flows.results.evaluation import evaluate
from guidestore.flows.results.selection import RunSelection
from guidestore.heads.metrics import drawn_metrics, metric_named
from guidestore.heads.prediction import predict_row
from guidestore.heads.significance.guidance_effect import VERDICTS
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
        assert f"{found.verdict} {found.head.row} {line}" in told


def test_it_is_one_file_that_needs_no_other(page: str) -> None:
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"<(script|link|img|iframe|object|embed|base)\b|\bsrc=|@import", page)
    assert re.findall(r"url\((?!#)", page) == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) <= {(i, "") for i in ids} | {("", i) for i in ids}
    assert re.findall(r'href="[^#]', page) == []


def test_names_stay_names(page: str) -> None:
    assert "<b>bold" not in page
    for names in CLASSES.values():
        assert all(html.escape(name) in page for name in names)


def test_cases_are_named_where_their_points_are_unless_one_asks_for_a_page_without(store: Path, page: str) -> None:
    snapshot = EmbeddingStore.open(store).snapshot()
    splits = snapshot.rows("splits", cohort="skin").to_pylist()
    of_test = {row["case_id"] for row in splits if row["part"] == "test"}
    groups = re.findall(r'<g class="case" id="(section-\d)-case-\d+"><a href="#[^"]+".*?</g>', page)
    assert sorted(groups) == ["section-1"] * len(of_test) + ["section-2"] * len(of_test)
    assert set(re.findall("lesion-[0-9]+", page)) == of_test
    labels = {
        r["case_id"]: r["class"] for r in snapshot.rows("labels", cohort="skin").to_pylist() if r["target"] == "PIG"
    }
    for case in of_test:
        assert re.search(rf"<title>{case}, {labels[case]}, \w+ \(p [01]\.\d\d\), \w+ \(p", page)
    file = store.parent / "without.html"
    write_report(EmbeddingStore.open(store), RunSelection("skin", target="PIG"), file, names_cases=False)
    without = file.read_text(encoding="utf-8")
    assert "lesion-" not in without
    assert without.count('class="case"') == len(of_test)


def test_every_case_is_accounted_for(own_store: Path) -> None:
    opened = EmbeddingStore.open(own_store)
    with opened.begin("two more cases, one in quarantine") as transaction:
        transaction.write_rows("cases", [{"cohort": "skin", "case_id": f"late-{i}"} for i in (1, 2)], cohort="skin")
        refused = {
            "cohort": "skin",
            "case_id": "late-1",
            "image_id": "late-1",
            "modality": "clinical",
            "reason": "dark",
        }
        row = refused | {"encoder": "e", "encoder_digest": "d", "at": "2026-01-01T00:00:00+00:00"}
        transaction.write_rows("quarantine", [row], cohort="skin")
    snapshot = opened.snapshot()
    for section in sections(own_store):
        effects = row_effects(section.runs, section.predictions)
        accounting = accounting_of(snapshot, section, effects, Pairs(snapshot), named=True)
        assert accounting.columns[2:5] == ("code of clinical", "code of dermoscopy", "both codes")
        assert accounting.columns[-2:] == ("predicted by I", "predicted by G(I)+I")
        assert accounting.notes == tuple(
            f"{row}: 72 predictions of 36 test cases by 2 runs (1 fold, 2 seeds)." for row in ("I", "G(I)+I")
        )
        assert dict(accounting.rows) == {
            "train": (36, 0, 36, 36, 36, 36, 0, 0),
            "val": (18, 0, 18, 18, 18, 18, 0, 0),
            "test": (36, 0, 36, 36, 36, 36, 36, 36),
            "in no part": (2, 1, 0, 0, 0, 0, 0, 0),
            "all": (92, 1, 90, 90, 90, 90, 36, 36),
        }


def test_a_case_that_could_be_predicted_and_was_not_is_named(own_store: Path) -> None:
    copied_runs(
        own_store, "part", lambda run, metrics, said: (run, metrics, [r for r in said if r["case_id"] != "lesion-002"])
    )
    opened = EmbeddingStore.open(own_store)
    runs = [run for run in all_runs(opened.snapshot()) if run.cohort == "part"]
    (section,) = sections(own_store, [replace(run, cohort="skin") for run in runs])
    effects = row_effects(section.runs, section.predictions)
    accounting = accounting_of(opened.snapshot(), section, effects, Pairs(opened.snapshot()), named=True)
    assert accounting.notes[0] == "1 test case could be predicted and were not: lesion-002."
    assert dict(accounting.rows)["test"][-2:] == (35, 35)


def test_the_first_thing_said_is_plain(store: Path, page: str) -> None:
    told = plain(page)
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = all_runs(snapshot)
    for effect in row_effects(runs, load_predictions(snapshot, runs)):
        if effect.head.row == "G(I)+I":
            assert effect.effect is not None
            gain = effect.effect.gain_over_i.gain
            assert f"{gain.value:+.3f}, and anything from {gain.low:+.3f} to {gain.high:+.3f} fits these cases" in told
    words = told[: told.index("At a glance verdict")] if "At a glance verdict" in told else told
    assert "On 36 test cases, clinical alone reached AUROC 0." in words
    assert "This cannot be told from luck: these cases are too few." in words
    for word in ("S+I predicts from both", "G(I)+I guidance: predicts from clinical and what G foretells"):
        assert word in told
        assert told.index(word) < told.index("gain over the nearest control")


def test_every_verdict_has_a_sentence_and_every_metric_a_meaning() -> None:
    section = SimpleNamespace(inferior="mri_t1ce/densenet3d", superior="histology/clam")
    for verdict in VERDICTS:
        said = meaning(verdict, cast(Any, section))
        assert "{" not in said
        assert "cannot be told whether" not in said
    assert modality_name("mri_t1ce/densenet3d") == "MRI T1ce"
    assert "MRI T1ce" in meaning("row I is under-trained", cast(Any, section))
    assert "noise" in meaning("control noise not run", cast(Any, section))
    kinds = ("classes", "ordinal", "multilabel", "value", "survival")
    shown = [name for kind in kinds for name in drawn_metrics(kind)]
    assert {metric_named(name).title for name in shown} == set(dict(terms_of([], shown)))


def test_tables_are_files_of_the_numbers_of_the_python_calls(store: Path, tmp_path: Path) -> None:
    opened = EmbeddingStore.open(store)
    done = write_report(opened, RunSelection("skin", target="PIG"), tmp_path / "r.html", tables=tmp_path / "tables")
    assert sorted(done.files) == sorted((tmp_path / "tables").iterdir())
    one = {file.name: file.read_text(encoding="utf-8") for file in done.files}
    assert sorted(one) == ["gains.csv", "gains.tex", "input-rows.csv", "input-rows.tex"]
    snapshot = opened.snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    effects = {effect.head.row: effect for effect in row_effects(runs, load_predictions(snapshot, runs))}
    gains = list(csv.DictReader(io.StringIO(one["gains.csv"])))
    assert [(row["row"], row["verdict"]) for row in gains] == [(row, e.verdict) for row, e in effects.items()]
    for row in gains:
        effect = effects[row["row"]].effect
        assert effect is not None
        gain = effect.gain_over_i.gain
        assert [float(row[f"gain_over_i{end}"]) for end in ("", "_low", "_high")] == [gain.value, gain.low, gain.high]
        assert f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]".replace("-", "$-$") in one["gains.tex"]
    rows = list(csv.DictReader(io.StringIO(one["input-rows.csv"])))
    means = {row.label: row.mean for row in evaluate(snapshot, [run.id for run in runs]).rows}
    assert {row["label"] for row in rows} == set(means)
    for row in rows:
        assert float(row["value"]) == pytest.approx(means[row["label"]][row["metric"]])
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert f"{float(row['value']):.3f} [{float(row['low']):.3f}, {float(row['high']):.3f}]" in one["input-rows.tex"]


@pytest.mark.slow
def test_every_figure_is_in_the_folder(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    write_report(EmbeddingStore.open(store), RunSelection("skin", target="PIG"), tmp_path / "r.html", figures=folder)
    of_section = [f"1-PIG-{name}" for name in ("bars", "calibration", "confusion", "guidance", "map")]
    files = [stem + suffix for stem in (*of_section, "all-gains") for suffix in (".pdf", ".svg", ".png")]
    assert sorted(file.name for file in folder.iterdir()) == sorted(files)


def test_a_figure_is_the_same_files_each_time_and_needs_no_font(store: Path, tmp_path: Path) -> None:
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    picture = gains_picture(row_effects(runs, load_predictions(snapshot, runs)))
    assert picture is not None
    one, two = ({f.suffix: f.read_bytes() for f in picture.save(tmp_path, name, "of 36")} for name in "ab")
    assert one == two
    assert one[".pdf"].startswith(b"%PDF")
    assert b"/Type3" not in one[".pdf"]
    assert b"/FontFile2" in one[".pdf"]  # TrueType, in the file
    assert "<text" not in one[".svg"].decode()  # letters are outlines
    with Image.open(io.BytesIO(one[".png"])) as png:
        assert png.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_gains_in_several_metrics_say_which_is_in_which(store: Path) -> None:
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    one, two = row_effects(runs, load_predictions(snapshot, runs))
    for effects, metrics in (([one, two], ("", "")), ([one, replace(two, metric="r2")], (" in AUROC", " in R²"))):
        picture = gains_picture(effects)
        assert picture is not None
        with drawing(*picture.size_in) as figure:
            picture.fill(figure)
            lines = [label.get_text().split("\n")[0] for label in figure.axes[0].get_yticklabels()]
        assert lines == [f"PIG, {of.head.name}{metric}" for of, metric in zip(effects, metrics, strict=True)]


def test_folders_that_cannot_be_made_are_said_before_the_work(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot be made"):
        write_report(EmbeddingStore.open(store), SKIN, tmp_path / "r.html", figures=tmp_path / "file")
    assert not (tmp_path / "r.html").exists()


def test_the_command_prints_the_verdicts(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    done = guidestore("report", "skin", "--target", "PIG", "--store", store, "--out", out)
    assert done.returncode == 0, done.stderr
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    for effect in row_effects(runs, load_predictions(snapshot, runs)):
        assert f"{effect.verdict}: PIG, {effect.head.row} (ridge, logistic, matched)\n" in done.stdout
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
    with pytest.raises(NotFoundInStoreError, match="has no runs; there are none yet"):
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
    pairs = guided_pairs_of(Pairs(snapshot), section)
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
    # 24 cases, so two bins of twelve. Equals stay together.
    sure = np.repeat([0.55, 1.0 + 1e-16], 12)
    right = np.array([True] * 6 + [False] * 6 + [True] * 12)
    found = calibrated("I", sure, right, [f"c{i}" for i in range(24)])
    assert found.confidence_b == pytest.approx([0.55, 1.0])
    assert found.accuracy_b == pytest.approx([0.5, 1.0])
    assert found.share_b == pytest.approx([0.5, 0.5])
    assert found.error == pytest.approx(0.025)
    assert found.overconfidence == pytest.approx(0.025)
    # Wilson's intervals of 6 and 12 of 12, by statsmodels.
    for low, high, count in zip(found.low_b, found.high_b, (6, 12), strict=True):
        assert (low, high) == pytest.approx(proportion_confint(count, 12, method="wilson"))
    # Another seed on the same cases tells nothing new of how sure the share is.
    twice = calibrated("I", np.tile(sure, 2), np.tile(right, 2), [f"c{i}" for i in range(24)] * 2)
    assert (twice.predictions, twice.cases) == (48, 24)
    assert twice.low_b == pytest.approx(found.low_b)
    one = calibrated("I", np.array([0.7, 0.7]), np.array([False, False]), ["a", "b"])
    assert one.error == one.overconfidence == pytest.approx(0.7)
    many = calibrated("I", np.random.default_rng(0).random(500), np.arange(500) % 2 == 0, [f"c{i}" for i in range(500)])
    assert many.share_b == pytest.approx(0.1)


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
