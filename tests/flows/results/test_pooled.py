"""Pooled targets are the mean of their metrics under joint draws of the cases; subgroups count their cases."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.effects import row_effects
from guidestore.flows.results.families import family_of
from guidestore.flows.results.gates import CLOSED
from guidestore.flows.results.pooled import pooled_effects
from guidestore.heads.controls import CONTROLS, DECIDING
from guidestore.heads.input_rows import GUIDED_PLUS_I, INPUT_ROWS, REFERENCE
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.commandline import Done, guidestore
from tests.report_store import CASES, write

N = 200
DUE = [control for control in INPUT_ROWS[GUIDED_PLUS_I].controls if control in DECIDING]


def made(target: str, gain: float, seed: int) -> tuple[list[Run], dict[str, RunPredictions]]:
    """Runs of a target in which G(I)+I is right by `gain` more often than all that it is held against."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, N)
    arms = [("I", "", -1), ("S", "", -1), ("S+I", "", -1), (GUIDED_PLUS_I, "", -1), (REFERENCE, "", -1)]
    for control in DUE:
        count = CONTROLS[control].runs(3)
        arms += [(GUIDED_PLUS_I, control, number) for number in range(count)]
    runs, predictions = [], {}
    for row, control, permutation in arms:
        for training_seed in (0, 1):
            better = 0.3 if row in ("S", "S+I") else gain if row == GUIDED_PLUS_I and not control else 0.0
            p = np.clip(0.5 + (2 * labels - 1) * (0.1 + better) + 0.2 * rng.normal(size=N), 0.01, 0.99)
            name = f"{target} {row} {control} {permutation} {training_seed}"
            run = Run(
                name, "c", target, "s", 0, row, decoder="mlp" if row != REFERENCE else "reference", control=control,
                guidance="ridge" if row == GUIDED_PLUS_I else "", permutation=permutation, seed=training_seed,
                classes=("a", "b"),
            )  # fmt: skip
            runs.append(run)
            cases = tuple(f"case-{i:03d}" for i in range(N))
            predictions[name] = RunPredictions(name, run.unit, cases, labels, np.stack([1 - p, p], axis=1))
    return runs, predictions


def test_the_pooled_gain_is_the_mean_of_the_targets() -> None:
    sides = [made(f"t{number}", 0.05, number) for number in range(4)]
    runs = [run for of_target, _ in sides for run in of_target]
    predictions = {name: one for _, of_target in sides for name, one in of_target.items()}
    (pooled,) = pooled_effects(runs, predictions)
    assert pooled.effect is not None
    assert pooled.head.target == "4 targets: t0, t1, t2, t3"

    def auroc(run: Run) -> float:
        one = predictions[run.id]
        return float(roc_auc_score(one.labels, one.probabilities[:, 1]))

    def mean(row: str) -> float:
        return float(np.mean([auroc(run) for run in runs if (run.row, run.control) == (row, "")]))

    gain = pooled.effect.gain_over_i.gain
    assert gain.value == pytest.approx(mean(GUIDED_PLUS_I) - mean("I"))
    singly = [effect.effect.gain_over_i.gain for effect in row_effects(runs, predictions) if effect.effect]
    assert len(singly) == 4
    assert gain.value == pytest.approx(np.mean([one.value for one in singly]))
    # Four targets of the same cases say more than one.
    widths = [one.high - one.low for one in singly]
    assert gain.high - gain.low < np.median(widths)
    by_balanced = pooled_effects(runs, predictions, metric="balanced_accuracy")[0]
    expected = np.mean(
        [
            (1 if run.row == GUIDED_PLUS_I else -1)
            * balanced_accuracy_score(predictions[run.id].labels, predictions[run.id].predicted)
            for run in runs
            if run.row in (GUIDED_PLUS_I, "I") and not run.control
        ]
    )
    assert by_balanced.effect is not None
    assert by_balanced.effect.gain_over_i.gain.value == pytest.approx(2 * expected)


def test_one_target_is_nothing_to_pool() -> None:
    with pytest.raises(InvalidInputError, match="nothing to pool"):
        pooled_effects(*made("t", 0.1, 0))


def test_the_family_is_every_target_and_row() -> None:
    sides = [made(f"t{number}", 0.2, number) for number in range(3)]
    effects = [effect for side in sides for effect in row_effects(*side)]
    family = family_of([*effects, *effects])
    assert (
        "family for Holm: 3 hypotheses, one for each target and guided head asked for (3 targets; G(I)+I), in AUROC"
        in (family.sentence)
    )
    p_values = [effect.effect.p_helps for effect in effects if effect.effect]
    assert min(family.p_values.values()) == pytest.approx(min(1.0, 3 * min(p_values)))


def test_a_closed_gate_is_said_in_words() -> None:
    runs, predictions = made("t", 0.0, 0)
    gated = [
        Run(**{**{name: getattr(run, name) for name in Run.__slots__}, "training": {"guidance_gate": 0.0}})
        if run.row == GUIDED_PLUS_I and not run.control
        else run
        for run in runs
    ]
    (effect,) = row_effects(gated, predictions)
    assert effect.verdict == CLOSED == "the teacher was not allowed to teach"
    assert effect.as_row()["gain_over_i"] is None
    half = [run if run.seed else gated[i] for i, run in enumerate(runs)]
    (effect,) = row_effects(half, predictions)
    assert "in 1 of 2 runs the teacher was not allowed to teach" in effect.note


@pytest.fixture(scope="module")
def store(report_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a further target, the site of a case."""
    root = tmp_path_factory.mktemp("sites") / "store"
    shutil.copytree(report_store, root)
    cases = sorted(EmbeddingStore.open(root).snapshot().rows("cases")["case_id"].to_pylist())
    sites = [(case, ("north", "south")[number % 3 == 0]) for number, case in enumerate(dict.fromkeys(cases))]
    labels = write(root.parent / "sites.csv", ["case_id", "site"], sites)
    done = guidestore("cohort", "add", "manifest", "skin", "--labels", labels, "--store", root)
    assert done.returncode == 0, done.stderr
    return root


def test_gains_by_subgroup_count_their_cases_and_have_no_verdict(store: Path) -> None:
    done = guidestore("evaluate", "skin", "--target", "PIG", "--by", "site", "--format", "json", "--store", store)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {(row["row"], row["subgroup"]) for row in rows} == {
        (r, s) for r in ("G(I)", "G(I)+I") for s in ("north", "south")
    }
    assert "verdict" not in rows[0]
    snapshot = EmbeddingStore.open(store).snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    predictions = load_predictions(snapshot, runs)
    tested = set(next(iter(predictions.values())).case_ids)
    labels = {row["case_id"]: row["class"] for row in snapshot.rows("labels").to_pylist() if row["target"] == "site"}
    for row in rows:
        members = {case for case in tested if labels[case] == row["subgroup"]}
        assert row["n_cases"] == len(members)
        for run in runs:
            if (run.row, run.control, run.seed) == (row["row"], "", 0):
                one = predictions[run.id]
                keep = [case in members for case in one.case_ids]
                expected = roc_auc_score(one.labels[keep], one.probabilities[keep, 1])
                assert row["score"] == pytest.approx(expected)  # both seeds of these closed forms are the same
    wrong = guidestore("evaluate", "skin", "--by", "sex", "--store", store)
    assert wrong.returncode != 0
    assert "has no target 'sex'" in wrong.stderr


def test_pooling_by_the_command(store: Path) -> None:
    done = guidestore("evaluate", "skin", "--pool-targets", "--format", "csv", "--store", store)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["row"] for row in rows] == ["G(I)", "G(I)+I"]
    assert all(row["target"].startswith("2 targets: ") and row["verdict"] for row in rows)
    shown = guidestore("evaluate", "skin", "--pool-targets", "--store", store)
    assert "cases drawn jointly" in shown.stdout


def test_frozen_heads_on_another_cohort(store: Path) -> None:
    snapshot = EmbeddingStore.open(store).snapshot()
    codes = {key.modality: snapshot.codes(key) for key in snapshot.code_sets}
    labels = {row["case_id"]: row["class"] for row in snapshot.rows("labels").to_pylist() if row["target"] == "PIG"}
    ids = [f"other-{number}" for number in range(CASES)]
    for modality, side in codes.items():
        header = ["case_id", *(f"c{d}" for d in range(side.codes_nd.shape[1]))]
        rows = [[case, *code] for case, code in zip(ids, side.codes_nd.tolist(), strict=True)]
        file = write(store.parent / f"{modality}.csv", header, rows)
        words = ("--cohort", "elsewhere", "--modality", modality, "--encoder", "made", "--store", store)
        done = guidestore("import", file, *words)
        assert done.returncode == 0, done.stderr
    own = next(iter(codes.values())).case_ids
    table = write(
        store.parent / "other.csv", ["case_id", "PIG"], [(new, labels[old]) for new, old in zip(ids, own, strict=True)]
    )
    done = guidestore("cohort", "add", "manifest", "elsewhere", "--labels", table, "--store", store)
    assert done.returncode == 0, done.stderr
    words = ("evaluate", "skin", "--target", "PIG", "--on", "elsewhere", "--store", store)
    done = guidestore(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = {row["label"]: row for row in json.loads(done.stdout)}
    # The same codes under other names: the test cases are foretold as in their own cohort.
    runs = [run for run in all_runs(snapshot) if (run.target, run.row, run.control) == ("PIG", "I", "")]
    predictions = load_predictions(snapshot, runs)
    assert rows["I"]["n"] == len(runs)
    assert rows["I"]["auroc_mean"] > 0.5
    assert 0 <= rows["G(I)+I"]["calibration_error"] <= 1
    assert rows["G(I)+I"]["n_cases"] == CASES
    assert rows["G(I)+I"]["verdict"]
    assert all(len(one) < CASES for one in predictions.values())
    assert "Calibration" in guidestore(*words).stdout
    assert f"{CASES} of the cases of elsewhere have the very code of clinical/made" in done.stderr
    asked = guidestore(
        "sql", "SELECT count(*) AS n FROM looks WHERE cohort = 'elsewhere'", "--store", store, "--format", "csv"
    )
    assert int(asked.stdout.split()[1]) > 0
    wrong = guidestore("evaluate", "skin", "--target", "DIAG", "--on", "elsewhere", "--store", store)
    assert wrong.returncode != 0
    assert "has no target 'DIAG'" in wrong.stderr


def on_other_names(store: Path, cohort: str, named: Callable[[str], str], moved: float = 0.0) -> Done:
    """Another cohort of skin's cases under names of its own, inferior codes alone, and the heads of PIG on it. Cases
    whose name is another have their codes moved by so much."""
    snapshot = EmbeddingStore.open(store).snapshot()
    (inferior,) = [snapshot.codes(key) for key in snapshot.code_sets if str(key).startswith("skin/clinical")]
    skin = snapshot.rows("labels", cohort="skin").to_pylist()
    labels = [(named(row["case_id"]), row["class"]) for row in skin if row["target"] == "PIG"]
    coded = zip(inferior.case_ids, inferior.codes_nd, strict=True)
    rows = [[named(case), *(code + moved * (named(case) != case)).tolist()] for case, code in coded]
    header = ["case_id", *(f"c{d}" for d in range(inferior.codes_nd.shape[1]))]
    codes = write(store.parent / f"{cohort}.csv", header, rows)
    table = write(store.parent / f"{cohort}-labels.csv", ["case_id", "PIG"], labels)
    for words in (
        ("import", codes, "--cohort", cohort, "--modality", "clinical", "--encoder", "made"),
        ("cohort", "add", "manifest", cohort, "--labels", table),
        ("evaluate", "skin", "--target", "PIG", "--on", cohort, "--format", "json"),
    ):
        done = guidestore(*words, "--store", store)
        assert done.returncode == 0, done.stderr
    return done


def test_frozen_heads_on_a_cohort_without_the_superior_modality(store: Path) -> None:
    done = on_other_names(store, "cheap", lambda case: f"cheap-{case}")
    assert "row S+I has fewer than 2 labelled cases of cheap with its codes, and is left out" in done.stderr
    rows = {row["label"]: row for row in json.loads(done.stdout)}
    assert not {"S", "S+I"} & {*rows}
    assert {"I", "G(I)", "G(I)+I"} <= {*rows}
    assert rows["G(I)+I"]["n_cases"] == CASES
    assert rows["G(I)+I"]["verdict"] != "guidance helps"  # that S exceeds I was not shown there


def test_cases_that_the_heads_were_trained_on_are_left_out_of_another_cohort(store: Path) -> None:
    cases = EmbeddingStore.open(store).snapshot().rows("cases", cohort="skin")["case_id"].to_pylist()
    new = {*cases[: len(cases) // 2]}  # the others are under their own names
    done = on_other_names(store, "half", lambda case: f"new-{case}" if case in new else case, moved=0.01)
    assert f"{len(cases) - len(new)} of the cases of half are cases of skin" in done.stderr
    rows = {row["label"]: row for row in json.loads(done.stdout)}
    assert rows["G(I)+I"]["n_cases"] == len(new)
