"""Sweeps on stored codes: what is planned is what is trained, nothing twice, ranked on val, looks at test counted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.plan import plan_sweep
from guidestore.flows.sweeps.ranking import rank_sweep
from guidestore.flows.sweeps.run import run_sweep
from guidestore.flows.work.stores import opened
from guidestore.heads.references.train import REFERENCES
from guidestore.warehouse.indexer import build_index
from tests.commandline import guidestore
from tests.flows.serving.waiting import until
from tests.heads.counting import CountedRidge, offer_counted
from tests.report_store import make_store

GRID = {
    "name": "ablation",
    "cohort": "skin",
    "targets": ["DIAG", "PIG"],
    "inferior": "clinical/made",
    "superior": "dermoscopy/made",
    "guidance": ["ridge", "linear"],
    "decoder": [{"name": "logistic", "Cs": [[0.1], [1.0]]}],
    "seeds": [0],
    "labelled": [20, "all"],
    "permutations": 1,
}
R = len(REFERENCES)
"""Of each target and budget."""
G = 1 + 1 + 1 + 2
"""Runs of a guided row: true pairs, shuffled ones, those within their class, and two codes made of z_I."""
PLANNED = 2 * 2 * (R + 2 * 3 + 2 * 2 * 2 * G)
"""Targets x budgets x (references + decoders x rows without G + G x decoders x guided rows)."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codes, labels and a split, without runs. Nobody writes to it."""
    return make_store(tmp_path_factory.mktemp("sweeps"), targets=())


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "store"))


def sweep(**changes: object) -> SweepFile:
    return SweepFile(**{**GRID, **changes})  # pyright: ignore[reportArgumentType]


def stored_runs(root: Path) -> list[dict]:
    return EmbeddingStore.open(root).snapshot().rows("runs").to_pylist()


def test_it_trains_what_is_planned_once_and_ranks_on_val(store: Path) -> None:
    plan = plan_sweep(EmbeddingStore.open(store), sweep())
    assert (len(plan.runs), plan.missing) == (PLANNED, PLANNED)
    # G sees pairs, not labels, so budgets and targets share it, but for the order within classes: G x runs.
    assert plan.guidance_fits == 2 * (G - 1 + 2 * 2)
    assert plan.decoder_fits == 2 * 2 * (2 * 3 + 2 * 2 * G)
    assert plan.seconds > 0
    report = run_sweep(EmbeddingStore.open(store), sweep())
    assert (report.trained, report.existing, report.diverged) == (PLANNED, 0, 0)
    runs = stored_runs(store)
    assert sorted(run["run"] for run in runs) == sorted(plan.runs)
    assert {json.loads(run["settings"])["labelled"] for run in runs} == {20, "all"}
    assert {run["n_train"] for run in runs if json.loads(run["settings"])["labelled"] == 20} == {20}
    g = {json.loads(run["weights"])["guidance"] for run in runs if "G(" in run["row"]}
    assert len(g) == 2 * (G - 1 + 2 * 2)
    again = run_sweep(EmbeddingStore.open(store), sweep())
    assert (again.trained, again.existing) == (0, PLANNED)
    assert plan_sweep(EmbeddingStore.open(store), sweep()).missing == 0
    ranked = rank_sweep(EmbeddingStore.open(store), sweep())
    assert len(ranked) == 2 * 2 * 2 * 2 * 2  # targets, budgets, G, decoders, guided rows
    for target in ("DIAG", "PIG"):
        of_target = [one.effect for one in ranked if one.effect.head.target == target]
        scores = [effect.score.value for effect in of_target if effect.score]
        assert scores == sorted(scores, reverse=True)
    assert all(ranked_head.test is None for ranked_head in ranked)
    assert fsck(LocalStorage(store)).clean


def test_what_another_command_trained_is_not_trained_again(store: Path) -> None:
    grid = sweep(targets="PIG", guidance="ridge", decoder="logistic", labelled="all", seeds=0)
    guide(
        EmbeddingStore.open(store),
        GuideSettings(
            cohort="skin", targets=("PIG",), inferior="clinical/made", superior="dermoscopy/made",
            guidance="ridge", decoder="logistic", permutations=1,
        )
    )  # fmt: skip
    assert plan_sweep(EmbeddingStore.open(store), grid).missing == 0
    wider = sweep(targets="PIG", guidance="ridge", decoder="logistic", labelled="all", seeds=[0, 1])
    assert plan_sweep(EmbeddingStore.open(store), wider).missing == R + 3 + 2 * G
    assert run_sweep(EmbeddingStore.open(store), wider).trained == R + 3 + 2 * G


def test_yesterdays_sweep_on_new_codes_reuses_what_did_not_change(store: Path) -> None:
    grid = sweep(targets=["PIG"], guidance="ridge", decoder="logistic", labelled="all", seeds=0)
    run_sweep(EmbeddingStore.open(store), grid)
    opened_store = EmbeddingStore.open(store)
    rows = opened_store.snapshot().rows("labels", cohort="skin").to_pylist()
    train = next(row for row in rows if row["target"] == "PIG" and row["case_id"] == "lesion-000")
    train["class"] = "present" if train["class"] == "absent" else "absent"
    with opened_store.begin("a label is corrected") as transaction:
        corrected = transaction.write_rows("labels", rows, cohort="skin")
        for entry in opened_store.snapshot().entries(kind="rows:labels", cohort="skin"):
            transaction.replace(entry, by=corrected)
    assert plan_sweep(EmbeddingStore.open(store), grid).missing == R + 3 + 2 * G
    assert (
        plan_sweep(EmbeddingStore.open(store), grid.model_copy(update={"targets": ("DIAG",)})).missing == R + 3 + 2 * G
    )
    before = EmbeddingStore.open(store).snapshot().version - 1
    assert plan_sweep(EmbeddingStore.open(store), grid.model_copy(update={"at": before})).missing == 0


def test_the_commands_plan_run_show_and_count_looks(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "ablation.yaml"
    text = json.dumps({**GRID, "targets": ["PIG"], "guidance": ["ridge"], "labelled": ["all"], "seeds": [0, 1]})
    file.write_text(text)  # JSON is YAML
    options = ("--store", store)
    n_runs = 2 * (R + 2 * 3 + 2 * 2 * G)
    (planned,) = json.loads(guidestore("sweep", "plan", file, *options, "--format", "json").stdout)
    assert (planned["runs"], planned["to train"], planned["distinct G"]) == (n_runs, n_runs, 2 * G)
    done = guidestore("sweep", "run", file, *options)
    assert done.returncode == 0, done.stderr
    assert f"{n_runs} trained, 0 there already, 0 diverged" in done.stdout
    shown = json.loads(guidestore("sweep", "show", file, *options, "--format", "json").stdout)
    assert len(shown) == 4
    assert shown[0]["val_low"] <= shown[0]["val"] <= shown[0]["val_high"]
    assert "test" not in shown[0]
    assert EmbeddingStore.open(store).snapshot().rows("looks").num_rows == 0
    looked = guidestore("sweep", "show", file, *options, "--test", 1, "--format", "json")
    assert "looks at test of cohort skin so far: 1" in looked.stderr
    assert "1 hypothesis, one for each target and guided head chosen on val and scored on test" in looked.stderr
    best = json.loads(looked.stdout)
    assert best[0]["test"] is not None
    assert [row.get("test") for row in best[1:]] == [None] * 3
    assert "so far: 2" in guidestore("sweep", "show", file, *options, "--test", 2).stderr
    asked = guidestore("sql", "SELECT count(*) AS n FROM looks", *options, "--format", "csv")
    assert asked.stdout.split() == ["n", str(2 + 4)]  # a row per run: two seeds of one head, then of two
    table = guidestore("sweep", "show", file, *options).stdout
    assert "PIG: 4 guided heads, auroc, 95 % intervals; mode matched" in " ".join(table.split())
    for name in ("I", "S", "S+I"):
        assert shown[0][f"{name}_low"] <= shown[0][name] <= shown[0][f"{name}_high"]
    assert shown[0]["verdict_is"] == "on val, which chose it"
    assert {"gain_over_shuffled_low", "gain_over_within_class_high", "gain_over_self"} <= set(shown[0])
    assert best[0]["test_I_low"] <= best[0]["test_I"] <= best[0]["test_I_high"]
    assert best[0]["test_p_holm"] is not None


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"guidance": "rigde"}, InvalidInputError, "did you mean 'ridge'"),
        ({"decoder": "logistics"}, InvalidInputError, "did you mean 'logistic'"),
        ({"decoder": [{"name": "logistic", "depth": 3}]}, InvalidInputError, "parameter 'depth' is unknown"),
        ({"superior": "histology/made"}, NotFoundInStoreError, "histology"),
        ({"at": "nightly"}, NotFoundInStoreError, "no tag or alias 'nightly'"),
        ({"targets": "STR"}, NotFoundInStoreError, "STR"),
        ({"labelled": 1000}, InvalidInputError, "1000"),
        ({"seeds": list(range(20000))}, InvalidInputError, r"the most is 1,000,000 runs"),
        ({"seeds": list(range(10_000_000 // 16))}, InvalidInputError, r"asks for 10,000,000 heads"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_a_sentence(
    store: Path, changes: dict, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        plan_sweep(EmbeddingStore.open(store), sweep(**changes))
    assert not stored_runs(store)


def test_a_sweep_without_runs_says_so(store: Path) -> None:
    with pytest.raises(InvalidInputError, match="run `guidestore sweep run` first"):
        rank_sweep(EmbeddingStore.open(store), sweep())


def test_a_head_that_diverges_is_marked_and_harms_no_other(store: Path) -> None:
    wild = {"name": "autoencoder", "hidden": [[8]], "standardise": False, "epochs": 20, "learning_rate": [0.01, 1e6]}
    mixed = sweep(targets="PIG", guidance=[wild], decoder="logistic", labelled="all", seeds=0)
    report = run_sweep(EmbeddingStore.open(store), mixed)
    assert report.diverged == 2 * G
    runs = stored_runs(store)
    assert {run["guidance"] for run in runs if run["status"] == "diverged"} == {
        "autoencoder(epochs=20, hidden=8, learning_rate=1e+06, standardise=False)"
    }
    assert sum(run["status"] == "ok" for run in runs) == R + 3 + 2 * G
    assert len(rank_sweep(EmbeddingStore.open(store), mixed)) == 2


def test_students_of_label_transfer_stand_beside_their_controls(store: Path) -> None:
    """T(I) with its controls, at two budgets; run again, nothing is trained."""
    taught = sweep(targets="PIG", guidance=[], students=["ridge"], seeds=0, labelled=[12, "all"], permutations=2)
    report = run_sweep(EmbeddingStore.open(store), taught)
    assert report.trained == 2 * (R + 4 + 2 + 2 + 1)
    assert run_sweep(EmbeddingStore.open(store), taught).trained == 0
    runs = stored_runs(store)
    assert {(run["row"], run["control"]) for run in runs} == {
        *((row, "") for row in ("S+I", "S", "I", "R(I)", "T(I)")),
        *(("T(I)", control) for control in ("shuffled", "within class", "own")),
    }
    ranked = rank_sweep(EmbeddingStore.open(store), taught)
    assert [ranked_head.effect.head.row for ranked_head in ranked] == ["T(I)", "T(I)"]
    assert all(ranked_head.effect.effect and ranked_head.effect.effect.over("own") for ranked_head in ranked)
    with pytest.raises(InvalidInputError, match="asks for 0 heads: it has neither guidance"):
        plan_sweep(EmbeddingStore.open(store), sweep(guidance=[], students=[]))
    with pytest.raises(InvalidInputError, match="did you mean 'ridge'"):
        plan_sweep(EmbeddingStore.open(store), sweep(students="rigde"))


def parts_of(root: Path, kind: str) -> dict[str, set[str]]:
    """Run -> parts that the store has rows of `kind` for."""
    parts: dict[str, set[str]] = {}
    for row in EmbeddingStore.open(root).snapshot().rows(kind).to_pylist():
        parts.setdefault(row["run"], set()).add(row["part"])
    return parts


def test_test_is_scored_for_the_chosen_and_what_they_are_compared_with(store: Path) -> None:
    grid = sweep(targets="PIG", decoder="logistic", labelled="all", seeds=[0, 1])
    with opened(store) as to_fill:
        run_sweep(to_fill, grid)
    for kind in ("metrics", "predictions"):
        assert set().union(*parts_of(store, kind).values()) == {"val"}
    assert "has no" not in guidestore("sql", "FROM metrics WHERE part = 'test'", "--store", store).stderr
    asked = ("--store", store)
    for command in (("evaluate", "skin", *asked), ("report", "skin", "--out", store / "r.html", *asked)):
        assert "score those of a sweep on test with `guidestore sweep show" in guidestore(*command).stderr
    ranked = rank_sweep(EmbeddingStore.open(store), grid, chosen=1)
    build_index(EmbeddingStore.open(store))
    assert ranked[0].test
    assert ranked[0].test.effect
    assert ranked[1].test is None
    scored = {run for run, parts in parts_of(store, "predictions").items() if "test" in parts}
    facts = {run["run"]: run for run in stored_runs(store)}
    best = ranked[0].effect.head
    kept = {(facts[run]["row"], facts[run]["control"], facts[run]["guidance"]) for run in scored}
    assert kept == {
        ("I", "", ""),
        ("S", "", ""),
        ("S+I", "", ""),
        (best.row, "", best.guidance),
        ("R(I)", "", ""),
        *((best.row, control, best.guidance) for control in ("shuffled", "within class", "self")),
    }
    assert len(scored) == 2 * (R + 3 + G)
    shown = guidestore(
        "sql", "SELECT count(DISTINCT run) AS n FROM metrics WHERE part = 'test'", "--store", store, "--format", "json"
    )
    assert json.loads(shown.stdout) == [{"n": len(scored)}]
    head = EmbeddingStore.open(store).snapshot().version
    rank_sweep(EmbeddingStore.open(store), grid, chosen=1)  # the same runs: no look more, and nothing to score
    assert EmbeddingStore.open(store).snapshot().version == head
    assert fsck(LocalStorage(store)).clean


def test_scored_later_is_as_if_scored_at_once(store: Path, tmp_path: Path) -> None:
    """Rows with and without G, baselines and students: predictions on test from the stored weights, to the bit."""
    settings = {
        "cohort": "skin", "targets": ("PIG",), "inferior": "clinical/made", "superior": "dermoscopy/made",
        "guidance": "ridge", "decoder": "logistic", "permutations": 1,
    }  # fmt: skip
    other = Path(shutil.copytree(store, tmp_path / "other"))
    guide(EmbeddingStore.open(other), GuideSettings(**settings))  # pyright: ignore[reportArgumentType]
    grid = sweep(targets="PIG", guidance="ridge", decoder="logistic", labelled="all", seeds=0)
    run_sweep(EmbeddingStore.open(store), grid)
    guide(EmbeddingStore.open(store), GuideSettings(**settings))  # pyright: ignore[reportArgumentType]

    def rows(root: Path, kind: str) -> list[dict]:
        rows = EmbeddingStore.open(root).snapshot().rows(kind).to_pylist()
        return sorted(rows, key=lambda row: (row["run"], row["part"], row.get("case_id", ""), row.get("metric", "")))

    assert rows(store, "predictions") == rows(other, "predictions")
    assert rows(store, "metrics") == rows(other, "metrics")


def test_baselines_and_a_taught_decoder_stand_in_the_ranking(store: Path) -> None:
    small = {"name": "mlp", "hidden_units": 4, "epochs": 30}
    grid = sweep(
        targets="PIG", guidance="ridge", decoder=[small, "logistic"], labelled="all", seeds=0,
        baselines=["KD(I)", "GD(I)", "E(I)"], students={"name": "ridge", "guidance": "linear"},
    )  # fmt: skip
    alone = sweep(targets="PIG", guidance=[], students="ridge", labelled="all", seeds=0)
    assert plan_sweep(EmbeddingStore.open(store), alone).missing == R + 7
    assert run_sweep(EmbeddingStore.open(store), alone).trained == R + 7
    report = run_sweep(EmbeddingStore.open(store), grid)
    assert report.existing == R + 3  # the references; S+I, S and I of the student are the same without G
    # Per decoder: rows, E(I), all with their controls; of the mlp KD(I) and GD(I) too; T(I).
    assert report.trained == 2 * (3 + 2 * G + G) + 2 * 4 + 4
    assert report.notes == ["KD(I) and GD(I) distil into an mlp, so they are left out with decoder logistic"]
    assert run_sweep(EmbeddingStore.open(store), grid).trained == 0
    ranked = rank_sweep(EmbeddingStore.open(store), grid, chosen=100)
    heads = {(ranked_head.effect.head.row, ranked_head.effect.head.guidance) for ranked_head in ranked}
    assert heads >= {("KD(I)", ""), ("GD(I)", ""), ("E(I)", "ridge"), ("T(I)", "label_transfer(guidance=linear)")}
    assert all(ranked_head.test and ranked_head.test.effect for ranked_head in ranked)
    plan = plan_sweep(EmbeddingStore.open(store), grid.model_copy(update={"seeds": (5,)}))
    assert plan.student_fits == 7
    assert plan.seconds > 0
    with pytest.raises(InvalidInputError, match=r"did you mean 'KD\(I\)'"):
        plan_sweep(EmbeddingStore.open(store), sweep(baselines="KD(i)"))


def test_margins_and_plug_stand_beside_other_guidance(store: Path) -> None:
    schemes = ["margins", "plug", "plug-logistic"]
    grid = sweep(targets="PIG", guidance=["ridge", *schemes], decoder="logistic", labelled="all", seeds=0)
    plan = plan_sweep(EmbeddingStore.open(store), grid)
    taught = 3 + 4 + 2 * 5  # S+I, S and I, which all share; M(I) and two P(I), each with its controls
    assert (plan.missing, plan.student_fits) == (R + 3 + 2 * G + taught, taught)
    assert plan.seconds > 0
    assert run_sweep(EmbeddingStore.open(store), grid).trained == plan.missing
    ranked = rank_sweep(EmbeddingStore.open(store), grid, chosen=100)
    assert {ranked_head.effect.head.row for ranked_head in ranked} == {"G(I)", "G(I)+I", "M(I)", "P(I)"}
    heads = {run["row"]: run for run in stored_runs(store) if run["guidance"] == "margins" and not run["control"]}
    assert heads["M(I)"]["decoder"] == "kernel ridge"
    plugged = {(run["guidance"], run["decoder"]) for run in stored_runs(store) if run["row"] == "P(I)"}
    assert plugged == {("plug", "block ridge"), ("plug-logistic", "block logistic")}
    again = plan_sweep(EmbeddingStore.open(store), sweep(guidance="margins", targets="PIG", labelled="all", seeds=0))
    assert again.missing == 0


def test_fusions_are_a_part_of_the_grid(store: Path) -> None:
    """Rows of one code are shared by all fusions; a fused head is compared with I of its own decoder."""
    grid = sweep(
        targets="PIG", guidance="ridge", decoder=["logistic", "prototype"], labelled="all", seeds=0,
        fusion=["concatenation", "late", {"name": "gated", "epochs": 20}],
    )  # fmt: skip
    report = run_sweep(EmbeddingStore.open(store), grid)
    # Per decoder: S, I, G(I) and its controls; of each fusion S+I, G(I)+I and its controls.
    assert report.trained == R + 2 * (2 + G + 3 * (1 + G))
    assert run_sweep(EmbeddingStore.open(store), grid).trained == 0
    decoders = {run["decoder"] for run in stored_runs(store) if run["row"] == "G(I)+I"}
    assert {"logistic", "logistic, fusion=late", "prototype, fusion=gated(epochs=20)"} <= decoders
    ranked = rank_sweep(EmbeddingStore.open(store), grid, chosen=100)
    assert len(ranked) == 2 * 4
    assert all(ranked_head.test and ranked_head.test.effect for ranked_head in ranked)
    with pytest.raises(InvalidInputError, match="did you mean 'gated'"):
        plan_sweep(EmbeddingStore.open(store), sweep(fusion="gate"))


def test_each_guidance_is_fitted_once_for_all_decoders_targets_and_budgets(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_counted(monkeypatch)
    three_decoders = sweep(guidance="counted_ridge", decoder=["logistic", "prototype", "knn"])
    plan = plan_sweep(EmbeddingStore.open(store), three_decoders)
    each = G - 1 + 2 * 2  # true pairs and controls; the order within classes is that of a target and budget
    assert plan.guidance_fits == each
    CountedRidge.fits.clear()  # a plan times a fit or two
    run_sweep(EmbeddingStore.open(store), three_decoders)
    assert len(CountedRidge.fits) == each


def test_a_curve_shows_what_labels_buy(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "budget.yaml"
    file.write_text(
        "cohort: skin\ntargets: PIG\ninferior: clinical/made\nsuperior: dermoscopy/made\nguidance: ridge\n"
        "decoder: logistic\nstudents: ridge\nlabelled: [8, 16, all]\npermutations: 1\n"
    )
    assert guidestore("sweep", "run", file, "--store", store).returncode == 0
    drawn = tmp_path / "out" / "curve.svg"
    done = guidestore("sweep", "curve", file, "--output", drawn, "--format", "json", "--store", store)
    assert done.returncode == 0, done.stderr
    assert drawn.read_text().count('<g id="axes_') == 3  # a panel each for G(I), G(I)+I and T(I)
    rows = json.loads(done.stdout)
    taught = [row for row in rows if row["row"] == "T(I)"]
    lines = {"guided", "I", "shuffled pairs", "teacher on I", "I, all labels"}
    assert {row["line"] for row in taught} == lines
    assert {row["labels"] for row in taught if row["line"] == "I"} == {8.0, 16.0, 36.0}
    assert {row["line"] for row in rows if row["row"] == "G(I)"} == lines - {"teacher on I"}
    assert all(row["low"] <= row["auroc"] <= row["high"] for row in rows)
    assert set().union(*parts_of(store, "predictions").values()) == {"val"}
    done = guidestore("sweep", "curve", file, "--output", drawn, "--test", "--heads", 1, "--store", store)
    assert done.returncode == 0, done.stderr
    assert json.loads(guidestore("sql", "SELECT count(*) AS n FROM looks", "--store", store, "--format", "json").stdout)
    bad = guidestore("sweep", "curve", file, "--output", tmp_path / "curve.txt", "--store", store)
    assert bad.returncode != 0
    assert "curve.txt" in bad.stderr
    no_curve = guidestore("sweep", "curve", write_sweep(tmp_path / "one.yaml"), "--output", drawn, "--store", store)
    assert "one label budget" in no_curve.stderr


def write_sweep(file: Path) -> Path:
    file.write_text(json.dumps({**GRID, "labelled": "all"}))
    return file


def test_a_superior_modality_that_many_lack_is_said(store: Path) -> None:
    from guidestore.flows.encoding.import_codes import import_codes

    root, half = EmbeddingStore.open(store), store.parent / "half.csv"
    codes = root.snapshot().codes(root.snapshot().code_set("skin/dermoscopy/made"))
    lines = [
        f"{case}," + ",".join(map(str, code))
        for case, code in zip(codes.case_ids, codes.codes_nd.tolist(), strict=True)
    ]
    half.write_text("\n".join(["case_id," + ",".join(f"c{d}" for d in range(codes.codes_nd.shape[1])), *lines[::2]]))
    import_codes(EmbeddingStore.create(store), half, cohort="skin", modality="dermoscopy", encoder="half")
    report = run_sweep(
        EmbeddingStore.open(store),
        sweep(targets="PIG", superior="dermoscopy/half", guidance="ridge", labelled="all", seeds=0),
    )
    assert any("18 of 36 train cases" in note and "G learns from the 18 pairs" in note for note in report.notes)
    assert report.trained


def test_killed_it_trains_only_what_is_missing(store: Path, tmp_path: Path) -> None:
    """kill -9 after the first commit; then all is there once."""
    file = tmp_path / "s.yaml"
    grid = {**GRID, "targets": "PIG", "guidance": "ridge", "decoder": "logistic", "labelled": "all"}
    grid["seeds"] = list(range(6))
    file.write_text(json.dumps(grid))
    command = [sys.executable, "-m", "guidestore", "sweep", "run", str(file), "--store", str(store)]
    commits = store / "commits"
    before = len(list(commits.iterdir()))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ))
    until(lambda: len(list(commits.iterdir())) > before or process.poll() is not None, "a commit", every_s=0.02)
    assert process.poll() in (None, 0), process.stderr
    process.send_signal(signal.SIGKILL)
    process.communicate()
    survived = len(stored_runs(store))
    total = 6 * (R + 3 + 2 * G)
    assert 0 < survived <= total
    report = run_sweep(EmbeddingStore.open(store), sweep(**{**grid, "name": "s"}))
    assert report.trained == total - survived
    runs = [run["run"] for run in stored_runs(store)]
    assert len(runs) == len(set(runs)) == total
    assert fsck(LocalStorage(store)).clean
