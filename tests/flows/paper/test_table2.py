"""The paper's Table 2 and melanoma from hand-made predictions: points, tests, published numbers, figures."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.paper.melanoma import AT_THRESHOLD, DIRECT, SCORE, melanoma_runs
from guidestore.flows.paper.report import write_table
from guidestore.flows.paper.table import as_rows, to_markdown
from guidestore.flows.paper.table2 import FORM, PUBLISHED_MCNEMAR, TASKS, build_table2
from guidestore.flows.results.effects import spread
from guidestore.heads.metrics import evaluate
from guidestore.heads.seven_point import POINTS
from guidestore.heads.significance import VERDICTS
from guidestore.warehouse.cohorts.layouts.derm7pt import CLASSES

N = 120
ROWS = {"S+I": 0.9, "S": 0.85, "I": 0.6, "G(I)": 0.55, "G(I)+I": 0.8}


def truth(task: str) -> np.ndarray:
    return np.random.default_rng([1, *map(ord, task)]).integers(0, len(CLASSES[task]), N)


def make_runs(seeds: tuple[int, ...] = (0, 1), tasks: tuple[str, ...] = TASKS) -> tuple[list[Run], dict, dict]:
    """Run rows, metrics and predictions: every row right in its share of the cases."""
    trained, values, predictions = [], {}, {}
    wanted = [(row, "", -1, share) for row, share in ROWS.items()]
    wanted += [("G(I)+I", "shuffled", p, 0.6) for p in range(2)]
    wanted += [("G(I)+I", "within class", 0, 0.6), *(("G(I)+I", "self", kind, 0.6) for kind in range(2))]
    wanted += [("R(I)", "", -1, ROWS["I"])]
    for task in tasks:
        classes = list(CLASSES[task])
        for seed in seeds:
            for row, control, permutation, share in wanted:
                run = f"{task}/{row}/{control}/{permutation}/{seed}"
                made = Run(
                    run,
                    "skin",
                    task,
                    "published",
                    0,
                    row,
                    inferior=CodeSetName("skin", "clinical", "x", "123456789012"),
                    superior=CodeSetName("skin", "dermoscopy", "x", "123456789012"),
                    guidance="autoencoder" if row.startswith("G") else "",
                    decoder="mlp",
                    control=control,
                    permutation=permutation,
                    seed=seed,
                    classes=tuple(classes),
                )
                labels = truth(task)
                rng = np.random.default_rng([seed, permutation + 1, *map(ord, task + row)])
                predicted = np.where(rng.random(N) < share, labels, (labels + 1) % len(classes))
                probabilities = np.eye(len(classes))[predicted] * 0.8 + 0.2 / len(classes)
                cases = tuple(f"case-{i:03d}" for i in range(N))
                predictions[run] = RunPredictions(run, ("published", 0, seed), cases, labels, probabilities)
                metrics = evaluate(labels, probabilities, classes)
                values |= {(run, name): value for name, value in metrics.items()}
                trained.append(made)
    return trained, values, predictions


@pytest.fixture(scope="module")
def runs() -> tuple[list[Run], dict, dict]:
    return make_runs()


def test_melanoma_is_the_sum_of_the_points(runs) -> None:
    trained, _, predictions = runs
    melanoma_of = melanoma_runs(trained, predictions)
    derived, values = melanoma_of.predictions, melanoma_of.scores
    assert len(melanoma_of.runs) == len(derived) == 4 * 2 * 11
    assert {run.target for run in melanoma_of.runs} == {*AT_THRESHOLD, SCORE, DIRECT}
    of_i = {run.target: run.id for run in melanoma_of.runs if (run.row, run.seed) == ("I", 1)}
    says = {task: predictions[f"{task}/I//-1/1"].probabilities.argmax(axis=1) for task in TASKS}
    score = sum(
        np.array([list(points.values())[list(points).index(list(CLASSES[task])[c])] for c in says[task]])
        for task, points in POINTS.items()
    )
    melanoma = truth("DIAG") == list(CLASSES["DIAG"]).index("MEL")
    for target, threshold in AT_THRESHOLD.items():
        run = derived[of_i[target]]
        assert (run.probabilities.argmax(axis=1) == (score >= threshold)).all()
        assert (run.labels == melanoma).all()
        recalls = [np.mean((score >= threshold)[melanoma == truth_] == truth_) for truth_ in (False, True)]
        assert values[of_i[target], "balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert np.allclose(derived[of_i[SCORE]].probabilities[:, 1] * 10, score)
    from sklearn.metrics import roc_auc_score

    assert values[of_i[SCORE], "auroc"] == pytest.approx(roc_auc_score(melanoma, score))
    direct = predictions["DIAG/I//-1/1"].probabilities[:, 2]
    assert values[of_i[DIRECT], "auroc"] == pytest.approx(roc_auc_score(melanoma, direct))


def test_without_all_criteria_there_is_no_melanoma() -> None:
    trained, values, predictions = make_runs((0,), ("PN", "STR"))
    assert not melanoma_runs(trained, predictions).runs
    table = build_table2(trained, values, predictions, cohort="skin")
    assert [column.title for column in table.columns] == ["PN", "STR"]


def test_the_table_stands_beside_the_paper(runs) -> None:
    trained, values, predictions = runs
    table = build_table2(trained, values, predictions, cohort="skin", layout="derm7pt")
    assert [column.title for column in table.columns] == [*TASKS, "MEL t=1", "MEL t=3", "MEL score", "MEL direct"]
    assert list(table.rows)[:6] == ["D+C", "D", "C", "G(C)", "G(C)+C", "G(C)+C, shuffled pairs"]
    streaks = table.cell("G(C)+C", "STR")
    assert streaks is not None
    assert streaks.published == (0.548, 0.630)
    assert streaks.n == 2
    assert streaks.mean[0] == pytest.approx(
        np.mean([values[f"STR/G(I)+I//-1/{seed}", "balanced_accuracy"] for seed in (0, 1)])
    )
    assert table.cell("D+C", SCORE).published == (0.788,)  # pyright: ignore[reportOptionalMemberAccess]
    assert table.cell("C", "PN").published is None  # pyright: ignore[reportOptionalMemberAccess]
    text = to_markdown(table)
    assert " [n/a]<br>" in text
    assert "[0.739]" in text
    # More columns than rows, so it stands turned: a line per task.
    header, *lines = (line.removeprefix("| ").removesuffix(" |").split(" | ") for line in text.splitlines()[:14])
    assert header == ["Table 2", *table.rows]
    streaks = dict(zip(header, next(line for line in lines if line[0] == "STR"), strict=True))
    assert streaks["G(C)+C"].startswith(f"{table.cell('G(C)+C', 'STR').mean[0]:.3f} ±")  # pyright: ignore[reportOptionalMemberAccess]
    assert "[0.548]" in streaks["G(C)+C"]
    assert "[–]" in streaks["G(C)+C, shuffled pairs"]  # the paper has no such row
    assert "n 4" in streaks["G(C)+C, shuffled pairs"]
    assert "pretrained networks, so the comparison is indicative" in text


def test_gains_and_mcnemar_are_given_for_every_task(runs) -> None:
    trained, values, predictions = runs
    table = build_table2(trained, values, predictions, cohort="skin")
    # G(I) has no control here, so only its row says nothing.
    assert {row for row, _ in table.effects} == {"G(C)", "G(C)+C"}
    assert {found.verdict for (row, _), found in table.effects.items() if row == "G(C)"} == {"–"}
    assert table.effects["G(C)+C", "PN"].verdict in VERDICTS
    assert table.effects["G(C)+C", SCORE].metric == "auroc"
    (tests,) = table.more
    assert [row["task"] for row in tests.rows] == list(TASKS)
    for row in tests.rows:
        assert row["in the paper"] == PUBLISHED_MCNEMAR[row["task"]]
        assert len(row["per seed"]) == 2
        assert row["McNemar p, median"] == pytest.approx(np.mean(row["per seed"]))
        assert 0 <= row["p of 'guidance helps', Holm"] <= 1
    told = [found.effect.p_helps for found in table.effects.values() if found.effect]
    assert len(told) == len(table.columns)  # melanoma too
    assert f"family for Holm: {len(told)} hypotheses" in table.below[0].title
    of_all = [row["p, Holm"] for row in table.below[0].rows if row["p, Holm"] is not None]
    assert min(of_all) == pytest.approx(min(1, len(told) * min(told)))
    assert all(row["p of 'guidance helps', Holm"] in of_all for row in tests.rows)


def test_it_is_written_with_side_tables_and_figures(runs, tmp_path: Path) -> None:
    trained, values, predictions = runs
    table = build_table2(trained, values, predictions, cohort="skin")
    files = write_table(table, tmp_path)
    drawn = [f"table2{kind}.{suffix}" for kind in ("", "-gains") for suffix in ("pdf", "svg", "png")]
    names = ["table2.md", "table2.csv", "table2.tex", "table2-mcnemar.csv", *drawn]
    assert [file.name for file in files] == names
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert len(rows) == len(as_rows(table))
    auroc = next(row for row in rows if (row["row"], row["column"]) == ("C", SCORE))
    assert auroc["balanced_accuracy_mean"] == ""
    assert float(auroc["auroc_published"]) == 0.739
    guided = next(row for row in rows if (row["row"], row["column"]) == ("G(C)+C", "PN"))
    assert guided["verdict"] == table.effects["G(C)+C", "PN"].verdict
    assert float(guided["gain_over_i_low"]) < float(guided["gain_over_i"])
    mcnemar = list(csv.DictReader(files[names.index("table2-mcnemar.csv")].read_text().splitlines()))
    assert [len(row["per seed"].split(";")) for row in mcnemar] == [2] * 8
    tex = (tmp_path / "table2.tex").read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\bottomrule") == 1 + len(table.below)
    gain = table.effects["G(C)+C", "PN"].effect
    assert gain is not None
    assert f"{spread(gain.gain_over_i)}".replace("-", "$-$") in tex
    for file in tmp_path.glob("*.png"):
        assert np.asarray(Image.open(file).convert("RGB")).std() > 10
    assert "Is it guidance?" in files[0].read_text()
    assert "G(C)+C against C:" in files[0].read_text()


def test_runs_of_other_targets_are_no_table_2() -> None:
    trained, values, predictions = make_runs((0,), ("PN",))
    with pytest.raises(InvalidInputError, match="no run of DIAG, PN"):
        build_table2([replace(run, target="class") for run in trained], values, predictions, cohort="skin")
    table = build_table2(trained, values, predictions, cohort="skin")
    sd = table.cell("C", "PN").sd  # pyright: ignore[reportOptionalMemberAccess]
    assert all(math.isnan(value) for value in sd)
    assert FORM.name == "Table 2"
