"""Gains and verdicts of guided rows, from hand-made predictions whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.results.effects import row_effects, spread
from guidestore.flows.results.evaluation import evaluate
from guidestore.heads.significance import Interval
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.flows.conftest import Phantom

N = 200
LABELS = np.arange(N) % 2


def make_run(row: str, control: str = "", seed: int = 0, permutation: int = -1) -> Run:
    return Run(
        f"{row}/{control}/{permutation}/{seed}/t",
        "skin",
        "t",
        "published",
        0,
        row,
        inferior=CodeSetName("skin", "clinical", "x", "123456789012"),
        superior=CodeSetName("skin", "dermoscopy", "x", "123456789012"),
        guidance="ridge" if row.startswith("G") else "",
        decoder="mlp",
        control=control,
        permutation=permutation,
        seed=seed,
        classes=("a", "b"),
    )


def says(run: Run, right: float, cases: range = range(N)) -> RunPredictions:
    """Right in that share of the cases, wrong ones spread evenly; other seeds err on other cases."""
    rng = np.random.default_rng([run.seed, run.permutation + 1, *map(ord, run.row)])
    rank = rng.permutation(len(cases)) / len(cases)
    labels = LABELS[list(cases)]
    predicted = np.where(rank < right, labels, 1 - labels)
    names = tuple(f"case-{case:03d}" for case in cases)
    return RunPredictions(run.id, run.unit, names, labels, np.eye(2)[predicted] * 0.8 + 0.1)


def made(
    guided: float, shuffled: float, inferior: float = 0.6, both: float = 0.95
) -> tuple[list[Run], dict[str, RunPredictions]]:
    shares = {"I": inferior, "R(I)": inferior, "S+I": both, "G(I)+I": guided}
    runs = [(make_run(row, seed=seed), share) for row, share in shares.items() for seed in (0, 1)]
    runs += [
        (make_run("G(I)+I", control, seed, permutation), shuffled)
        for control, n in (("shuffled", 3), ("within class", 1), ("self", 2))
        for seed in (0, 1)
        for permutation in range(n)
    ]
    return [run for run, _ in runs], {run.id: says(run, share) for run, share in runs}


@pytest.mark.parametrize(
    ("guided", "shuffled", "verdict"),
    [
        (0.9, 0.6, "guidance helps"),
        (0.9, 0.9, "capacity, not guidance"),
        (0.6, 0.6, "cannot tell"),
        (0.3, 0.6, "hurts"),
    ],
)
def test_the_verdict_is_the_known_one(guided: float, shuffled: float, verdict: str) -> None:
    runs, predictions = made(guided, shuffled)
    (found,) = row_effects(runs, predictions)
    assert found.verdict == verdict
    assert (found.head.row, found.n_cases, found.n_units, found.note) == ("G(I)+I", N, 2, "")
    assert found.effect is not None
    assert found.effect.gain_over_i.gain.value == pytest.approx(guided - 0.6, abs=0.03)
    assert found.effect.gap_closed is not None
    assert found.effect.gap_closed.value == pytest.approx((guided - 0.6) / 0.35, abs=0.1)
    flat = found.as_row()
    assert flat["gain_over_i_low"] < flat["gain_over_i"] < flat["gain_over_i_high"]
    assert flat["verdict"] == verdict
    assert flat["metric"] == "auroc"
    for control in ("shuffled", "within_class", "self"):
        assert flat[f"gain_over_{control}"] == pytest.approx(guided - shuffled, abs=0.04)
    assert flat["gain_over_own"] is None
    assert flat["nearest_control"].partition(",")[0] in ("shuffled", "within class", "self")


def test_what_was_not_run_is_said_and_no_help() -> None:
    runs, predictions = made(0.9, 0.6)
    for control in ("within class", "self"):
        (found,) = row_effects([run for run in runs if run.control != control], predictions)
        assert found.verdict == f"control {control} not run"
    (found,) = row_effects([run for run in runs if run.row != "S+I"], predictions)
    assert found.verdict == "S not shown to exceed I"
    (found,) = row_effects([run for run in runs if run.row != "R(I)"], predictions)
    assert found.verdict == "control R(I) not run"
    of_older_code = [run for run in runs if (run.control, run.permutation) != ("self", 1)]
    (found,) = row_effects(of_older_code, predictions)
    assert found.verdict == "control self, random features not run"


def test_one_code_set_on_both_sides_never_helps() -> None:
    runs, predictions = made(0.9, 0.6)
    (found,) = row_effects([replace(run, superior=run.inferior) for run in runs], predictions)
    assert found.verdict == "I alone, re-expressed"
    assert found.effect is not None
    assert found.effect.p_helps == 1.0


@pytest.mark.parametrize(
    ("rare", "note"),
    [
        (1, "the rarest class has 1 test cases, and of fewer than 5 nothing can be told"),
        (4, "the rarest class has 4 test cases, and of fewer than 5 nothing can be told"),
        (12, "the rarest class has 12 test cases: with fewer than 20 intervals are too narrow"),
        (20, ""),
    ],
)
def test_of_a_class_with_few_test_cases_nothing_is_told(rare: int, note: str) -> None:
    runs, predictions = made(0.9, 0.6)
    kept = np.flatnonzero((LABELS == 0) | (np.cumsum(LABELS) <= rare))
    for run, of in predictions.items():
        ids = tuple(of.case_ids[case] for case in kept)
        predictions[run] = replace(of, case_ids=ids, labels=of.labels[kept], probabilities=of.probabilities[kept])
    (found,) = row_effects(runs, predictions)
    assert found.note.startswith(note)
    assert bool(found.note) is bool(note)
    assert found.effect is not None
    assert found.verdict == ("guidance helps" if rare >= 12 else "cannot tell")
    assert (found.effect.p_helps <= 0.05) is (rare >= 12)


def test_each_kind_of_code_made_of_i_is_a_control_of_its_own() -> None:
    """Their mean would be passed: one of them reaches the row."""
    runs, predictions = made(0.9, 0.6)
    for run in runs:
        if (run.control, run.permutation) == ("self", 1):
            predictions[run.id] = says(run, 0.9)
    (found,) = row_effects(runs, predictions)
    assert found.verdict == "I alone, re-expressed"
    assert found.effect is not None
    assert found.effect.nearest_control.rival.name == "self, random features"


def test_a_better_model_of_i_explains_the_gain() -> None:
    runs, predictions = made(0.9, 0.6)
    for decoder, share in (("ridge by loss", 0.7), ("ridge by score", 0.9)):
        for seed in (0, 1):
            run = replace(make_run("R(I)", seed=seed), decoder=decoder, id=f"R {decoder} {seed}")
            runs.append(run)
            predictions[run.id] = says(run, share)
    (found,) = row_effects(runs, predictions)
    assert found.verdict == "row I is under-trained"
    assert found.as_row()["nearest_reference"] == "ridge by score"


def test_no_effect_is_said_only_inside_the_margin() -> None:
    runs, predictions = made(0.6, 0.6)
    for run in runs:  # the very same predictions
        if run.row in ("I", "G(I)+I"):
            predictions[run.id] = replace(says(replace(run, row="I", permutation=0), 0.6), run=run.id)
    (found,) = row_effects(runs, predictions)
    assert found.verdict == "no effect"
    runs, predictions = made(0.6, 0.6)
    (found,) = row_effects(runs, predictions, margin=0.2)
    assert found.verdict == "no effect"


@pytest.mark.parametrize(("n", "verdict"), [(12, "cannot tell"), (60, "no effect")])
def test_rows_that_call_all_of_a_few_cases_right_do_not_show_that_there_is_no_effect(n, verdict) -> None:
    runs, _ = made(0.6, 0.6)
    shares = {run.id: 0.6 if run.control == "shuffled" else 1.0 for run in runs}
    (found,) = row_effects(runs, {run.id: says(run, shares[run.id], range(n)) for run in runs})
    assert found.verdict == verdict


def test_where_a_test_set_lacks_a_class_balanced_accuracy_decides() -> None:
    runs, predictions = made(0.9, 0.6)
    for run, known in predictions.items():
        both = np.pad(known.probabilities, ((0, 0), (0, 1)))
        predictions[run] = replace(known, probabilities=both)
    (found,) = row_effects(runs, predictions)
    assert (found.metric, found.verdict) == ("balanced_accuracy", "guidance helps")
    assert "lacks a class" in found.note


@pytest.mark.parametrize(("self_training", "verdict"), [(0.6, "guidance helps"), (0.9, "self-training, not guidance")])
def test_what_an_inferior_teacher_gains_too_is_not_guidance(self_training: float, verdict: str) -> None:
    shares = {("I", ""): 0.6, ("R(I)", ""): 0.6, ("S+I", ""): 0.95, ("T(I)", ""): 0.9, ("T(I)", "own"): self_training}
    made = [(make_run(row, control, seed), share) for (row, control), share in shares.items() for seed in (0, 1)]
    made += [(make_run("T(I)", "shuffled", seed, p), 0.6) for seed in (0, 1) for p in range(3)]
    made += [(make_run("T(I)", "within class", seed, 0), 0.6) for seed in (0, 1)]
    runs, predictions = [run for run, _ in made], {run.id: says(run, share) for run, share in made}
    (found,) = row_effects(runs, predictions)
    assert (found.head.row, found.verdict, found.n_units) == ("T(I)", verdict, 2)
    assert found.effect is not None
    assert found.as_row()["gain_over_own"] == pytest.approx(0.9 - self_training, abs=0.03)
    gone = {f.id for f in runs if f.control == "own" and f.seed == 1}
    (found,) = row_effects(runs, {run: p for run, p in predictions.items() if run not in gone})
    assert found.n_units == 1


def test_a_row_without_its_control_gets_no_verdict() -> None:
    runs, predictions = made(0.9, 0.6)
    (found,) = row_effects([run for run in runs if not run.control], predictions)
    assert found.effect is None
    assert "shuffled control" in found.note
    assert found.verdict == "–"
    assert found.as_row()["gain_over_i"] is None
    (found,) = row_effects([run for run in runs if run.row != "I"], predictions)
    assert "row I" in found.note


def test_only_units_that_all_rows_have_count_and_s_plus_i_may_have_fewer_cases() -> None:
    runs, predictions = made(0.9, 0.6)
    gone = next(run for run in runs if run.row == "I" and run.seed == 1)
    (found,) = row_effects(runs, {run: p for run, p in predictions.items() if run != gone.id})
    assert found.n_units == 1
    for run in runs:
        if run.row == "S+I":
            predictions[run.id] = says(run, 0.95, range(N // 2))
    (found,) = row_effects(runs, predictions)
    assert found.n_cases == N
    assert found.effect is not None
    assert found.effect.gap_closed is None
    assert "gap open" in found.note


def test_one_permutation_and_a_metric_that_is_not_defined_are_said() -> None:
    runs, predictions = made(0.9, 0.6)
    first = [run for run in runs if run.permutation < (2 if run.control == "self" else 1) and run.seed == 0]
    (found,) = row_effects(first, predictions)
    assert "one permutation" in found.note
    assert found.verdict == "cannot tell"
    assert found.effect is not None
    assert found.effect.p_helps == 1.0
    one_class = {
        run: RunPredictions(run, p.unit, p.case_ids, np.zeros(N, np.int64), p.probabilities)
        for run, p in predictions.items()
    }
    found = row_effects(runs, one_class, metrics=("auroc",))[0]
    assert found.effect is None
    assert "undefined" in found.note


def test_rows_of_other_targets_and_decoders_keep_to_themselves() -> None:
    runs, predictions = made(0.9, 0.6)
    others = [replace(run, target="u", id=f"u{run.id}") for run in runs]
    others += [replace(run, decoder="logistic", id=f"l{run.id}") for run in runs]
    every = {**predictions}
    for run in others:
        every[run.id] = says(run, 0.6)
    found = row_effects([*runs, *others], every)
    assert [(e.head.target, e.head.decoder, e.verdict) for e in found] == [
        ("t", "mlp", "guidance helps"),
        ("t", "logistic", "cannot tell"),
        ("u", "mlp", "cannot tell"),
    ]


def test_spread_is_what_tables_print() -> None:
    assert spread(Interval(0.031, 0.0041, 0.0583)) == "+0.031 [+0.004, +0.058]"
    assert spread(Interval(0.5, -0.25, 1.0), ".0%") == "50% [-25%, 100%]"
    assert spread(None) == "–"


def test_stored_predictions_come_back_as_they_were_stored(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    runs = all_runs(snapshot)
    found = load_predictions(snapshot, runs)
    assert found.keys() == set(encoded.runs)
    rows = [row for row in snapshot.rows("predictions").to_pylist() if row["part"] == "test"]
    for run in runs:
        mine = sorted((row for row in rows if row["run"] == run.id), key=lambda row: row["case_id"])
        read = found[run.id]
        assert read.case_ids == tuple(row["case_id"] for row in mine)
        assert read.unit == ("cv2", 0, 0)
        assert np.allclose(read.probabilities, [row["probabilities"] for row in mine])
        assert [run.classes[label] for label in read.labels] == [row["label"] for row in mine]
    assert load_predictions(snapshot, runs[:1]).keys() == {runs[0].id}


def test_the_table_of_stored_runs_carries_them(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    found = evaluate(snapshot, encoded.runs)
    rows = [(effect.head.mode, effect.head.row) for effect in found.effects]
    assert rows == [(mode, row) for mode in ("as-published", "matched") for row in ("G(I)", "G(I)+I")]
    runs = all_runs(snapshot)
    again = row_effects(runs, load_predictions(snapshot, runs))
    assert {effect.as_row()["gain_over_i"] for effect in again} == {e.as_row()["gain_over_i"] for e in found.effects}
    means = {(row.mode, row.row, row.control): row.mean["auroc"] for row in found.rows}
    for effect in found.effects:
        assert effect.effect is not None
        gain = means[effect.head.mode, effect.head.row, ""] - means[effect.head.mode, "I", ""]
        assert effect.effect.gain_over_i.gain.value == pytest.approx(gain)
    flat = found.as_rows()
    assert {row["verdict"] for row in flat if row["row"] == "I"} == {None}
    assert all(row["verdict"] for row in flat if row["row"].startswith("G") and not row["control"])
