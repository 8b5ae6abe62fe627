"""Targets of every kind, from stored codes to a verdict: runs, controls, predictions, and their tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import parts_of
from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.explore.cases import case_of, neighbours_of
from guidestore.flows.explore.explored import Explored
from guidestore.flows.explore.outcomes import source_of
from guidestore.flows.explore.verdicts import guided_heads, verdicts
from guidestore.flows.guiding.advise import advise, models_of
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.export import export_model
from guidestore.flows.models.exported import ExportedModel
from guidestore.flows.models.on_cohort import predict_cohort
from guidestore.flows.models.predict import predict
from guidestore.flows.results.champion import decide
from guidestore.flows.results.effects import row_effects
from guidestore.flows.results.evaluation import evaluate
from guidestore.flows.results.gates import CLOSED
from guidestore.flows.results.pooled import pooled_effects
from guidestore.flows.results.two_runs import compare_runs
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.ranking import rank_sweep
from guidestore.flows.sweeps.run import run_sweep
from guidestore.heads.advice.advise import CANDIDATES
from guidestore.heads.metrics import main_metric_of
from guidestore.heads.registry import build_decoder_of
from guidestore.heads.significance import VERDICTS
from guidestore.warehouse.catalog import query
from guidestore.warehouse.indexer import build_index
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores
from tests.outcome_store import TARGETS, make_store, mediated

CODES = {"cohort": "made", "inferior": "clinical/made", "superior": "dermoscopy/made", "permutations": 2}
DECODERS = {"length": "ridge", "os": "ridge", "grade": "proportional_odds", "findings": "logistic"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return EmbeddingStore.open(make_store(tmp_path_factory.mktemp("outcomes"), cases=150))


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_goes_the_whole_way(store: EmbeddingStore, target: str) -> None:
    settings = GuideSettings(**CODES, targets=(target,), guidance="ridge", decoder=DECODERS[target])
    report = guide(store, settings, looks=False)
    snapshot = store.snapshot()
    runs = load_runs(snapshot, report.runs)
    kind = TARGETS[target]["kind"]
    assert {run.kind for run in runs} == {kind}
    assert {run.target_unit for run in runs} == {TARGETS[target].get("unit", "")}
    assert {"S+I", "S", "I", "G(I)", "G(I)+I", "R(I)"} == {run.row for run in runs}
    assert {"", "shuffled", "within class", "self"} == {run.control for run in runs}
    main = main_metric_of(kind).name
    predictions, scores = load_predictions(snapshot, runs), load_scores(snapshot, runs)
    made = mediated(150, 0)[target]
    parts = parts_of(snapshot, "made", "drawn", 0)
    for run in runs:
        said = predictions[run.id]
        rows = [int(case.removeprefix("case-")) for case in said.case_ids]
        assert all(parts[case] == "test" for case in said.case_ids)
        np.testing.assert_array_equal(said.labels, made[rows])
        assert (run.id, main) in scores
    evaluation = evaluate(snapshot, report.runs)
    assert {effect.metric for effect in evaluation.effects} == {main}
    assert all(effect.verdict in VERDICTS for effect in evaluation.effects)
    assert evaluation.family.p_values
    again = guide(store, settings, looks=False)
    assert (again.trained, again.existing) == (0, len(runs))


def test_what_is_stored_of_a_value_and_of_survival(store: EmbeddingStore) -> None:
    for target in ("length", "os"):
        settings = GuideSettings(**CODES, targets=(target,), guidance="ridge", decoder="ridge")
        ids = set(guide(store, settings, looks=False).runs)
        rows = [row for row in store.snapshot().rows("predictions").to_pylist() if row["run"] in ids]
        assert rows
        for row in rows:
            assert row["label"] is None
            if target == "length":
                assert row["low"] < row["value"] < row["high"]
                assert row["level"] == 0.9
            else:
                assert np.all(np.diff(row["survival"]) <= 0)
                assert 0 <= min(row["survival"]) <= max(row["survival"]) <= 1
                assert len(row["times"]) == len(row["survival"])


BOTH = {"margins": "M(I)", "plug": "P(I)"}


@pytest.mark.parametrize(
    ("target", "guidance", "row"),
    [("length", "plug", "P(I)"), ("os", "margins", "M(I)")]
    + [
        pytest.param(target, guidance, row, marks=pytest.mark.slow)
        for target in TARGETS
        for guidance, row in BOTH.items()
        if (target, guidance) not in (("length", "plug"), ("os", "margins"))
    ],
)
def test_margins_and_plug(store: EmbeddingStore, target: str, guidance: str, row: str) -> None:
    report = guide(store, GuideSettings(**CODES, targets=(target,), guidance=guidance), looks=False)
    (effect,) = evaluate(store.snapshot(), report.runs).effects
    assert effect.head.row == row
    assert effect.metric == main_metric_of(TARGETS[target]["kind"]).name
    assert effect.verdict in (*VERDICTS, "the teacher was not allowed to teach")


def test_stored_heads_predict_new_cases_as_they_did(store: EmbeddingStore) -> None:
    for target in TARGETS:
        settings = GuideSettings(**CODES, targets=(target,), guidance="ridge", decoder=DECODERS[target])
        runs = load_runs(store.snapshot(), guide(store, settings, looks=False).runs)
        (run,) = [run for run in runs if run.row == "G(I)+I" and not run.control]
        said = load_predictions(store.snapshot(), [run])[run.id]
        told = predict(store, run.id, cases=said.case_ids)
        np.testing.assert_allclose(told.probabilities_nk, said.probabilities)
        json.dumps(told.as_rows())


def test_an_exported_head_says_the_same(store: EmbeddingStore, tmp_path: Path) -> None:
    for target in TARGETS:
        settings = GuideSettings(**CODES, targets=(target,), guidance="ridge", decoder=DECODERS[target])
        runs = load_runs(store.snapshot(), guide(store, settings, looks=False).runs)
        (run,) = [run for run in runs if run.row == "G(I)+I" and not run.control]
        export_model(store, run.id, tmp_path / target)
        codes = store.snapshot().codes(store.snapshot().code_set(run.inferior))  # pyright: ignore[reportArgumentType]
        there = ExportedModel.open(tmp_path / target).predict(codes=codes)
        here = predict(store, run.id, cases=codes.case_ids)
        width = there.probabilities_nk.shape[1]
        np.testing.assert_allclose(there.probabilities_nk, here.probabilities_nk[:, :width], rtol=1e-6, atol=1e-6)
        assert there.as_rows()[0].keys() <= here.as_rows()[0].keys()


def test_heads_are_held_against_another_cohorts_outcomes(store: EmbeddingStore) -> None:
    runs = [run for run in load_runs(store.snapshot(), _of(store, "length")) if not run.control]
    with pytest.raises(InvalidInputError, match="was trained on cohort made"):
        predict_cohort(store, runs, "made")


def test_what_has_no_meaning_for_a_kind_is_said(store: EmbeddingStore) -> None:
    with pytest.raises(
        InvalidInputError, match="decoder 'logistic' learns classes, and os is of kind survival; choose"
    ):
        guide(store, GuideSettings(**CODES, targets=("os",), guidance="ridge", decoder="logistic"))
    for target, decoder, learns in (
        ("findings", "ridge", "value and survival"),
        ("length", "discrete_time", "survival"),
    ):
        with pytest.raises(InvalidInputError, match=f"decoder '{decoder}' learns {learns}, and {target} is of kind"):
            guide(store, GuideSettings(**CODES, targets=(target,), guidance="ridge", decoder=decoder))


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_advised_of_every_kind_can_be_run(store: EmbeddingStore, target: str) -> None:
    settings = GuideSettings(**{**CODES, "permutations": 1}, targets=(target,))
    (told,) = advise(store.snapshot(), settings)
    kind = TARGETS[target]["kind"]
    assert told["metric"] == main_metric_of(kind).name
    assert told["s"] > told["i"] + 0.02
    assert told["advice"].count("in inner cross-validation") == 1
    assert told["gain_low"] < told["gain"] < told["gain_high"]
    for row in CANDIDATES:
        models = models_of(row, kind)
        if "students" not in models:
            asked = GuideSettings(**CODES, targets=(target,), **models)
            build_decoder_of(kind, asked.decoder)
    (few,) = advise(store.snapshot(), settings, labelled=30)
    assert few["n_unlabelled_pairs"] > told["n_unlabelled_pairs"]
    if few["row"]:
        assert '"labelled": 30' in few["command"]


def test_a_metric_of_another_kind_is_refused_or_noted(store: EmbeddingStore) -> None:
    os, length = _of(store, "os"), _of(store, "length")
    with pytest.raises(InvalidInputError, match=r"is for classes, and these runs foretell os \(survival\)"):
        evaluate(store.snapshot(), os, metric="auroc")
    told = evaluate(store.snapshot(), [*os, *length], metric="r2")
    assert {effect.head.target for effect in told.effects} == {"length"}
    assert "r2 is for value, so gains of os (survival) are left out" in told.notes


def test_of_few_events_nothing_is_told(store: EmbeddingStore) -> None:
    ids = _of(store, "os")
    runs = load_runs(store.snapshot(), ids)
    said = load_predictions(store.snapshot(), runs)
    n = len(next(iter(said.values())).case_ids)
    for events, note in (
        (4, f"4 of the {n} cases have an event before the horizon, and of fewer than 5 nothing can be told"),
        (12, f"12 of the {n} cases have an event before the horizon: with fewer than 20 intervals are too narrow"),
        (30, ""),
    ):
        few = {}
        for run, of in said.items():
            labels = of.labels.copy()
            late = labels[:, 0] >= of.reference  # Uno's C does not look at those
            labels[:, 1] = late | (np.argsort(np.argsort(labels[:, 0])) < events)
            few[run] = replace(of, labels=labels)
        for effect in row_effects(runs, few):
            assert (effect.effect is None) is (events == 4)
            assert effect.note.startswith(note)
            assert ("events are" in effect.note or "have an event" in effect.note) is bool(note)


def test_rows_that_say_one_grade_of_all_cases_tell_nothing(store: EmbeddingStore) -> None:
    runs = load_runs(store.snapshot(), _of(store, "grade"))
    said = load_predictions(store.snapshot(), runs)
    middle = {
        run.id: replace(said[run.id], probabilities=np.tile([0.0, 1.0, 0.0], (len(said[run.id]), 1)))
        if run.row in ("I", "G(I)+I") and not run.control
        else said[run.id]
        for run in runs
    }
    told = next(effect for effect in row_effects(runs, middle) if effect.head.row == "G(I)+I")
    assert told.verdict == "cannot tell"
    assert told.note.startswith("both rows say one grade of all cases, of which kappa tells nothing")
    assert told.as_row()["smallest_gain_shown"] is None
    assert all("one grade" not in effect.note for effect in row_effects(runs, said))


def _of(store: EmbeddingStore, target: str) -> list[str]:
    settings = GuideSettings(**CODES, targets=(target,), guidance="ridge", decoder=DECODERS[target])
    return guide(store, settings, looks=False).runs


def test_two_runs_of_a_value_have_gains_and_no_right_and_wrong(store: EmbeddingStore) -> None:
    runs = load_runs(store.snapshot(), _of(store, "length"))
    of_i, guided = (next(run for run in runs if run.row == row and not run.control) for row in ("I", "G(I)+I"))
    told = compare_runs(store, of_i.id, guided.id, part="val")
    assert told.mcnemar is None
    assert told.changed == ()
    gains = {gain.metric: gain for gain in told.gains}
    assert gains["mae"].gain.value == pytest.approx(gains["mae"].a - gains["mae"].b)  # less of an error is a gain
    assert gains["r2"].gain.value == pytest.approx(gains["r2"].b - gains["r2"].a)


def test_targets_of_one_kind_are_pooled_and_those_of_several_are_not(store: EmbeddingStore) -> None:
    runs = load_runs(store.snapshot(), [*_of(store, "length"), *_of(store, "os")])
    with pytest.raises(InvalidInputError, match="no guided head was trained for two targets"):
        pooled_effects([run for run in runs if run.target == "os"], {})
    pooled = pooled_effects(runs, load_predictions(store.snapshot(), runs))
    assert all("of different kinds" in effect.note and effect.effect is None for effect in pooled)


def test_the_page_of_codes_tells_verdicts_of_every_kind(store: EmbeddingStore) -> None:
    _of(store, "length")
    _of(store, "os")
    build_index(store)
    told = verdicts(Explored(str(store.storage.local_folder)).view(), "made")
    by_target = {row["target"]: row["metric"] for row in told["verdicts"]}
    assert (by_target["length"], by_target["os"]) == ("R²", "Uno's C")
    for block in told["blocks"]:
        assert all(set(row["mean"]) <= set(told["metrics"]) for row in block["rows"])


def test_a_case_gains_by_heads_that_are_not_right_or_wrong(store: EmbeddingStore) -> None:
    """In the page's columns: by what is nearer to the truth, in scipy's words for the order of survival times."""
    for target in ("length", "os", "findings", "grade"):
        _of(store, target)
    build_index(store)
    view = Explored(str(store.storage.local_folder)).view()
    snapshot = store.snapshot()
    turns = {row["target"]: row["turns"] for row in verdicts(view, "made")["verdicts"]}
    assert turns == {"length": False, "os": False, "findings": False, "grade": True}
    seen = set()
    for guided in guided_heads(view, "made"):
        target = guided.head.target
        _, source, columns = source_of(view, "made", guided.key)
        names = ["case_id", *(column.name for column in columns if column.name.startswith(("i_", "guided_", "gain")))]
        found = {line["case_id"]: line for line in view.ask(f"SELECT {', '.join(names)} FROM {source}")}
        assert ("turned" in {column.name for column in columns}) == (target == "grade")
        if target == "grade":
            continue
        assert guided.group.row is not None
        sides = {"guided": guided.group.row.guided, "i": guided.group.row.inferior}
        told = {side: load_predictions(snapshot, load_runs(snapshot, ids)) for side, ids in sides.items()}
        if any(len(runs) > 1 for runs in told.values()):  # what other tests trained with several seeds
            continue
        seen.add(target)
        for side, runs in told.items():
            (said,) = runs.values()
            assert {case for case, line in found.items() if line["gain"] is not None} <= set(said.case_ids)
            for case, expected in zip(said.case_ids, _expected(target, said), strict=True):
                for column, value in expected.items():
                    assert found[case][f"{side}_{column}"] == pytest.approx(value), (guided.head, column)
        of_side = {"length": "error", "os": "order", "findings": "p"}[target]
        sign = -1 if target == "length" else 1
        gains = [
            (line["gain"], line[f"guided_{of_side}"] - line[f"i_{of_side}"]) for line in found.values() if line["gain"]
        ]
        assert len(gains) > 20
        assert [gain for gain, _ in gains] == pytest.approx([sign * more for _, more in gains])
    assert seen == {"length", "os", "findings"}


def test_a_case_is_told_in_words_of_its_kind(store: EmbeddingStore) -> None:
    """A risk by its place among those of its run, a value in its unit, labels in their order; neighbours by what they
    have, as SQL's neighbours() has it."""
    for target in ("length", "os", "findings"):
        _of(store, target)
    build_index(store)
    view, snapshot = Explored(str(store.storage.local_folder)).view(), store.snapshot()
    facts = ("row", "control", "guidance", "decoder", "mode", "split")
    stored: dict[tuple[str, ...], list[RunPredictions]] = {}
    of_os = [run for run in load_runs(snapshot, _of(store, "os")) if run.fold == 0]
    for run, said in load_predictions(snapshot, of_os).items():
        head = next(one for one in of_os if one.id == run)
        stored.setdefault(tuple(str(getattr(head, name)) for name in facts), []).append(said)
    case = next(iter(stored.values()))[0].case_ids[3]
    told = case_of(view, "made", case)
    units = {label["target"]: label["unit"] for label in told["labels"]}
    assert (units["length"], units["os"]) == ("mm", "months")
    by_target = {row["target"]: row for row in told["predictions"]}
    assert (by_target["length"]["kind"], by_target["length"]["unit"]) == ("value", "mm")
    assert by_target["findings"]["classes"] == ["effusion", "nodule"]
    seen = 0
    for row in told["predictions"]:
        assert (row["higher_than"] is None) == (row["target"] != "os")
        said = stored.get(tuple(str(row[name]) for name in facts), []) if row["target"] == "os" else []
        if len(said) == row["runs"]:  # other tests train with other seeds and labels
            seen += 1
            risks = [one.probabilities[:, 0] for one in said]
            places = [(rankdata(risk, "min")[3] - 1) / (len(risk) - 1) for risk in risks]
            assert row["higher_than"] == pytest.approx(np.mean(places))
    assert seen > 2
    near = neighbours_of(view, "made", case, "made/clinical/made")
    expected = query(store.storage.local_folder, f"FROM neighbours('{case}', 'made/clinical/made', k := 12)").table
    assert [(row["case_id"], row["labels"]) for row in near] == [
        (row["case_id"], re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.4g}", row["labels"]))
        for row in expected.to_pylist()
    ]


def _expected(target: str, said: RunPredictions) -> Iterator[dict[str, float]]:
    y, outputs = said.labels, said.probabilities
    if target == "length":
        yield from ({"predicted": of, "error": abs(of - true)} for of, true in zip(outputs[:, 0], y, strict=True))
    elif target == "findings":
        for true, p in zip(y, outputs, strict=True):
            known = ~np.isnan(true)
            right = ((p >= 0.5) == (true == 1))[known].mean()
            yield {"right": right, "p": np.where(true == 1, p, 1 - p)[known].mean()}
    else:
        risk, (time, event) = outputs[:, 0], y.T
        ranks = (rankdata(risk, "min") - 1) / (len(risk) - 1)
        for n in range(len(y)):
            before, after = (event == 1) & (time < time[n]), (time > time[n]) & (event[n] == 1)
            in_order = np.where(before, risk > risk[n], risk < risk[n]) + 0.5 * (risk == risk[n])
            yield {"predicted": ranks[n], "order": in_order[before | after].mean()}


def test_a_head_of_an_outcome_becomes_champion_by_val(store: EmbeddingStore) -> None:
    decision = decide(store, "champion", _of(store, "os"))
    assert decision.run in _of(store, "os")


@pytest.mark.parametrize(
    "target", [pytest.param(target, marks=[] if target == "os" else pytest.mark.slow) for target in TARGETS]
)
def test_a_sweep_has_budgets_fusions_distillation_and_label_transfer(store: EmbeddingStore, target: str) -> None:
    small = {"name": "mlp", "hidden_units": 4, "epochs": 15}
    given = {"cohort": "made", "inferior": "clinical/made", "superior": "dermoscopy/made", "permutations": 1}
    models = {
        "guidance": "ridge",
        "fusion": ["late"] if target == "os" else ["concatenation", "late"],
        "decoder": [small],
        "students": "ridge",
    }
    sweep = SweepFile(**given, **models, name="all", targets=target, baselines=["KD(I)", "E(I)"], labelled=[30, "all"])  # pyright: ignore[reportArgumentType]
    report = run_sweep(store, sweep)
    runs = load_runs(store.snapshot(), report.runs)
    assert {run.status for run in runs} == {"ok"}
    guided = {"G(I)", "G(I)+I", "KD(I)", "E(I)", "T(I)"}
    for budget in (30, "all"):
        rows = {run.row for run in runs if run.labelled == budget}
        assert guided <= rows
        assert any(run.decoder.endswith("fusion=late") for run in runs if run.labelled == budget)
    n_train = {run.labelled: run.n_train for run in runs if run.row == "I" and run.decoder.startswith("mlp")}
    assert n_train[30] == 30 < n_train["all"]
    (of_pairs,) = {run.n_train for run in runs if run.row == "KD(I)" and run.labelled == 30 and not run.control}
    assert of_pairs > n_train["all"] - 1  # what has no outcome is taught too
    ranked = rank_sweep(store, sweep, chosen=100)
    assert {head.effect.head.row for head in ranked} == guided
    assert all(head.test and head.test.verdict in (*VERDICTS, CLOSED) for head in ranked)
    told = next(run for run in runs if run.row == "T(I)" and not run.control and run.labelled == 30)
    assert len(predict(store, told.id, cases=["case-0000"]).as_rows()) == 1
