"""Real cohorts of other kinds of outcome, from a table to a verdict.

Diabetes comes with scikit-learn (BSD): 442 patients, age, sex, body mass index and blood pressure as I, six blood serum
measurements as S, progression after a year as the value (Efron et al., Least angle regression, 2004).

GSE7390 (Desmedt et al. 2007) is in the Gene Expression Omnibus, which names no licence, and a copy of it is part of
scikit-survival (GPL), so neither is here: GUIDESTORE_GSE7390 names the file ``breast_cancer_GSE7390-metastasis.arff``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.cohorts import add_files, add_split
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.guiding.guide import GuideReport, guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs

GSE7390 = Path(os.environ.get("GUIDESTORE_GSE7390", ""))


def write(file: Path, columns: Mapping[str, Sequence]) -> Path:
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["case_id", *columns])
        for number, row in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([f"p{number:03d}", *row])
    return file


def guided(
    folder: Path,
    views: Mapping[str, Mapping[str, Sequence]],
    labels: Mapping[str, Sequence],
    target: str,
    **said: object,
) -> tuple[EmbeddingStore, GuideReport]:
    """I and S in the views clinical and tissue, one of five folds, by ridge."""
    store = EmbeddingStore.create(folder / "store")
    for modality, columns in views.items():
        file = write(folder / f"{modality}.csv", columns)
        import_codes(store, file, cohort="c", modality=modality, encoder="table")
    layout = Manifest.model_validate({"labels": write(folder / "labels.csv", labels), **said})
    report = add_files(store, "c", layout)
    assert not [issue for issue in report.issues if issue.kind not in ("taken for values",)]
    drawn = add_split(store, "c", target, name="cv5", folds=5, seed=0, val_fraction=0.15)
    assert drawn.issues == ()
    asked = {"inferior": "clinical/table", "superior": "tissue/table", "guidance": "ridge", "decoder": "ridge"}
    settings = {"cohort": "c", "targets": (target,), "folds": (0,), "permutations": 1, "device": "cpu", **asked}
    return store, guide(store, GuideSettings.model_validate(settings))


def test_diabetes_is_a_value_that_two_views_foretell(tmp_path: Path) -> None:
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score

    data = load_diabetes(scaled=False)
    columns = {name: data.data[:, d].tolist() for d, name in enumerate(data.feature_names)}
    views = {
        "clinical": {name: columns[name] for name in ("age", "sex", "bmi", "bp")},
        "tissue": {name: columns[name] for name in ("s1", "s2", "s3", "s4", "s5", "s6")},
    }
    labels = {"progression": data.target.tolist()}
    said = {"kind": ("progression=value",), "unit": ("progression=points",)}
    store, report = guided(tmp_path, views, labels, "progression", **said)
    snapshot = store.snapshot()
    runs = {run.row: run for run in load_runs(snapshot, report.runs) if not run.control and run.row != "R(I)"}
    predictions = load_predictions(snapshot, runs.values())
    parts = {row["case_id"]: row["part"] for row in snapshot.rows("splits").to_pylist() if row["fold"] == 0}
    train = np.array([parts[f"p{n:03d}"] == "train" for n in range(442)])
    for row, names in (("I", views["clinical"]), ("S", views["tissue"]), ("S+I", columns)):
        told = predictions[runs[row].id]
        test = np.array([int(case[1:]) for case in told.case_ids])
        np.testing.assert_array_equal(told.labels, data.target[test])
        x_nd = np.array([columns[name] for name in names]).T
        least_squares = LinearRegression().fit(x_nd[train], data.target[train]).predict(x_nd[test])
        ours, theirs = (r2_score(told.labels, said) for said in (told.probabilities[:, 0], least_squares))
        assert ours == pytest.approx(theirs, abs=0.04), row
    stored = [row for row in snapshot.rows("predictions").to_pylist() if row["run"] == runs["I"].id]
    assert all(row["low"] < row["value"] < row["high"] and row["level"] == 0.9 for row in stored)


@pytest.mark.slow
@pytest.mark.skipif(not GSE7390.is_file(), reason="GUIDESTORE_GSE7390 names no file")
def test_breast_cancer_is_survival_that_genes_foretell(tmp_path: Path) -> None:
    names: list[str] = []
    rows: list[list[str]] = []
    for line in GSE7390.read_text().splitlines():
        if line.lower().startswith("@attribute"):
            names.append(line.split(None, 2)[1].strip("'\""))
        elif line and line[0] not in "@%":
            rows.append(next(csv.reader([line], quotechar="'")))
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    grades = ("well differentiated", "intermediate", "poorly differentiated")
    clinical = {"age": columns["age"], "size": columns["size"], "er": [int(er == "positive") for er in columns["er"]]}
    clinical["grade"] = [grades.index(grade) if grade in grades else 1 for grade in columns["grade"]]
    genes = {name: column for name, column in columns.items() if name.startswith("X")}
    labels = {"days": columns["t.tdm"], "metastasis": columns["e.tdm"]}
    store, report = guided(
        tmp_path,
        {"clinical": clinical, "tissue": genes},
        labels,
        "tdm",
        survival=("tdm=days,metastasis",),
        unit=("tdm=days",),
    )
    snapshot = store.snapshot()
    runs = load_runs(snapshot, report.runs)
    assert {run.kind for run in runs} == {"survival"}
    assert not any(run.diverged for run in runs)
    on_test = [row for row in snapshot.rows("metrics").to_pylist() if row["part"] == "test"]
    metrics = {(row["run"], row["metric"]): row["value"] for row in on_test}
    for run in runs:
        told = load_predictions(snapshot, [run])[run.id]
        assert metrics[run.id, "harrell_c"] == pytest.approx(_harrell(told.labels, told.probabilities[:, 0]))
    plain = {run.row: metrics[run.id, "harrell_c"] for run in runs if not run.control and run.row in ("I", "S", "S+I")}
    assert min(plain.values()) > 0.5, plain


def _harrell(y: np.ndarray, risk: np.ndarray) -> float:
    """Pair by pair, as Harrell has it."""
    good = pairs = 0.0
    for (time, event), said in zip(y, risk, strict=True):
        if event:
            later = (y[:, 0] > time) | ((y[:, 0] == time) & (y[:, 1] == 0))
            pairs += later.sum()
            good += (risk[later] < said).sum() + 0.5 * (risk[later] == said).sum()
    return good / pairs
