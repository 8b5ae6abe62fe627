"""Two stored runs compared: the figures are those of the stored metrics, and the cases those that changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embeddings.errors import InvalidInputError, NotFoundInStoreError
from embeddings.store import EmbeddingStore
from flows.compare import compare_runs
from flows.compare_snapshots import compare_snapshots
from flows.guide import guide
from flows.import_codes import import_codes
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


def _import_noisy(phantom: Phantom, version: str, noise: float) -> str:
    """mri_all's codes of fold 0 under the name noisy, with noise; their digest."""
    snapshot = EmbeddingStore.open(phantom.store).snapshot()
    codes = snapshot.codes(snapshot.code_set("phantom/mri_all/densenet3d"))
    noisy_nd = codes.codes_nd + noise * np.random.default_rng(0).normal(size=codes.codes_nd.shape)
    file = phantom.store.parent / f"noisy{version}.npz"
    np.savez(file, case_id=np.array(codes.case_ids), codes=noisy_nd.astype(np.float32))
    report = import_codes(phantom.store, file, cohort="phantom", modality="mri_all", encoder="noisy", version=version)
    return report.code_set.encoder_digest[:12]


def test_two_snapshots_are_compared_head_by_head(phantom: Phantom) -> None:
    """The same heads on a second version of an encoder, whose codes are noise."""
    store = EmbeddingStore.open(phantom.store)
    before = store.snapshot().version
    store.tag("before")
    settings = {**common(phantom.store), **GUIDE, "modes": ("matched",), "guidance": "ridge", "decoder": "logistic"}
    first, second = (_import_noisy(phantom, version, noise) for version, noise in (("1", 0.0), ("2", 1e4)))
    with pytest.raises(InvalidInputError, match=r"no head was trained anew .* are the same runs in both"):
        compare_snapshots(phantom.store, before, store.snapshot().version)
    guide(GuideSettings(**{**settings, "inferior": f"mri_all/noisy@{first}"}))
    middle = store.snapshot().version
    guide(GuideSettings(**{**settings, "inferior": f"mri_all/noisy@{second}"}))
    found = compare_snapshots(phantom.store, middle, store.snapshot().version)
    rows = {row["row"]: row for row in found.rows}
    assert rows.keys() == {"S+I", "S", "I", "G(I)", "G(I)+I", "G(I), shuffled pairs", "G(I)+I, shuffled pairs"}
    assert rows["S"]["gain"] == 0
    assert rows["I"]["b"] < rows["I"]["a"]
    for row in found.rows:
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["gain"] == pytest.approx(row["b"] - row["a"])
    assert any("same runs in both" in note for note in found.notes)
    done = guidestore("compare", "before", middle, "--store", phantom.store)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = guidestore("compare", middle, store.snapshot().version, "--store", phantom.store, "--format", "json")
    assert [row["row"] for row in json.loads(done.stdout)] == [row["row"] for row in found.rows]
    with pytest.raises(NotFoundInStoreError, match="no snapshot 99999"):
        compare_snapshots(phantom.store, middle, 99999)
    with pytest.raises(InvalidInputError, match="the same snapshot"):
        compare_snapshots(phantom.store, "before", before)
