"""The methods paragraph and the checklist say what the store knows, and leave open what it cannot know."""

from __future__ import annotations

import re
from pathlib import Path

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.report.methods import OPEN, methods_of
from guidestore.flows.report.provenance import provenance_of
from guidestore.flows.results.effects import row_effects
from guidestore.flows.results.selection import RunSelection
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.report_store import CASES


def test_what_the_store_knows_is_said(report_store: Path) -> None:
    store = EmbeddingStore.open(report_store)
    snapshot = store.snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "PIG"]
    effects = row_effects(runs, load_predictions(snapshot, runs))
    made = provenance_of(store, snapshot, RunSelection("skin", "PIG"), runs)
    methods = methods_of(snapshot, made, runs, effects)
    told = " ".join(methods.sentences)
    assert f"The cohort skin has {CASES} cases" in told
    assert "36 train, 18 val, 36 test (split official, fold 0)" in told
    assert "clinical/made@" in told
    assert "dermoscopy/made@" in told
    assert "The outcome was PIG (absent, present)." in told
    assert "Guidance models: ridge; decoders: logistic; references for I: linear ridge by loss, " in told
    assert dict(made.lines)["permutations of each control"] == "2", "the kinds of `self` are no further ones"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", made.time)
    items = {item.number: item.says for item in methods.checklist}
    assert len(items) == len(methods.checklist) == 52
    assert items["17"] == OPEN
    counts = snapshot.rows("labels", cohort="skin").to_pylist()
    present = sum(row["target"] == "PIG" and row["class"] == "present" for row in counts)
    assert f"present {present}" in items["13"]
    for effect in effects:
        assert effect.verdict in items["23a"]
    assert "lesion-" not in told + " ".join(items.values())
