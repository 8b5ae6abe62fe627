"""Two stored runs compared: the figures are those of the stored metrics, and the cases those that changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embeddings.errors import InvalidInputError, NotFoundInStoreError
from embeddings.store import EmbeddingStore
from flows.compare import compare_runs
from flows.guide import guide
from flows.settings import GuideSettings
from tests.commandline import guidestore
from tests.flows.conftest import GUIDE, Phantom, common


def run_of(phantom: Phantom, row: str, control: str = "", mode: str = "matched") -> str:
    rows = EmbeddingStore.open(phantom.store).snapshot().rows("runs").to_pylist()
    wanted = (row, control, mode)
    return next(found["run"] for found in rows if (found["row"], found["control"], found["mode"]) == wanted)


def test_the_figures_are_those_that_are_stored(encoded: Phantom) -> None:
    a, b = run_of(encoded, "I"), run_of(encoded, "S")
    found = compare_runs(encoded.store, a[:12], b)
    snapshot = EmbeddingStore.open(encoded.store).snapshot()
    metrics = {
        (row["run"], row["metric"]): row["value"]
        for row in snapshot.rows("metrics").to_pylist()
        if row["part"] == "test"
    }
    for row in found.rows:
        assert row["a"] == pytest.approx(metrics[a, row["metric"]])
        assert row["b"] == pytest.approx(metrics[b, row["metric"]])
        assert row["gain"] == pytest.approx(row["b"] - row["a"])
        assert row["low"] <= row["gain"] <= row["high"]
        assert 0 <= row["p"] <= 1
        assert (row["p"] <= 0.05) == (row["low"] > 0 or row["high"] < 0)
    said = {
        (row["run"], row["case_id"]): (row["predicted"], row["label"])
        for row in snapshot.rows("predictions").to_pylist()
        if row["part"] == "test"
    }
    cases = {case for run, case in said if run == a}
    assert found.n_cases == len(cases)
    changed = {case for case in cases if said[a, case][0] != said[b, case][0]}
    assert {row["case_id"] for row in found.changed} == changed
    better = sum(said[b, case][0] == said[b, case][1] != said[a, case][0] for case in cases)
    assert found.mcnemar.only_b == better


def test_the_command_prints_it(encoded: Phantom) -> None:
    a, b = run_of(encoded, "I"), run_of(encoded, "G(I)+I", "shuffled")
    done = guidestore("compare", a, b, "--store", encoded.store)
    assert done.returncode == 0, done.stderr
    assert "G(I)+I, shuffled pairs 0" in done.stdout
    assert "McNemar (exact)" in done.stdout
    rows = json.loads(guidestore("compare", a, b, "--store", encoded.store, "--format", "json").stdout)
    assert [row["metric"] for row in rows] == ["balanced_accuracy", "f1_micro", "auroc"]


def test_runs_that_are_no_pair_are_refused(phantom: Phantom) -> None:
    a = run_of(phantom, "I")
    with pytest.raises(InvalidInputError, match="the same run"):
        compare_runs(phantom.store, a, a[:10])
    with pytest.raises(NotFoundInStoreError, match="no run"):
        compare_runs(phantom.store, a, "champion")
    store = EmbeddingStore.open(phantom.store)
    codes = store.snapshot().codes(store.snapshot().code_set("phantom/mri_all/densenet3d"))
    file = Path(phantom.store).parent / "codes.csv"
    header = "case_id," + ",".join(f"c{i}" for i in range(codes.codes_nd.shape[1]))
    lines = [f"{case},{','.join(map(str, code))}" for case, code in zip(codes.case_ids, codes.codes_nd, strict=True)]
    file.write_text("\n".join([header, *lines]) + "\n")
    imported = ("--cohort", "phantom", "--modality", "mri_all", "--encoder", "mine", "--store", phantom.store)
    assert guidestore("import", file, *imported).returncode == 0
    other = guide(
        GuideSettings(
            **common(phantom.store),
            **{**GUIDE, "inferior": "mri_all/mine", "superior": "mri_all/mine", "folds": (1,), "modes": ("matched",)},
            guidance="ridge",
            decoder="logistic",
        )
    )
    with pytest.raises(InvalidInputError, match="0 test cases in common"):
        compare_runs(phantom.store, a, other.runs[2])
