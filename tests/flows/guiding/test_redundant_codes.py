"""One code set on both sides is said before anything is trained, by guide, sweep and --advise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.run import run_sweep
from tests.commandline import guidestore
from tests.report_store import make_store

TWICE = {"cohort": "skin", "inferior": "clinical/made", "superior": "clinical/made"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("twice"), targets=())


def test_guide_and_sweep_say_it_before_they_train(root: Path) -> None:
    store = EmbeddingStore.open(root)
    said: list[tuple[str, int]] = []

    def say(sentence: str) -> None:
        said.append((sentence, store.snapshot().rows("runs", cohort="skin").num_rows))

    asked = {**TWICE, "targets": ("PIG",), "guidance": "plug", "permutations": 1}
    report = guide(store, GuideSettings(**asked), say=say)
    ((sentence, there),) = said
    assert "clinical/made stands on both sides, so guidance can gain nothing but capacity" in sentence
    assert (there, report.notes[0]) == (0, sentence)
    assert report.trained
    grid = SweepFile(name="twice", seeds=(1,), **{**asked, "superior": ["clinical/made", "dermoscopy/made"]})
    run_sweep(store, grid, say=say)
    assert [text for text, _ in said[1:]] == [sentence]
    assert said[1][1] == report.trained


def test_the_commands_print_it_once(root: Path, tmp_path: Path) -> None:
    flags = ("--inferior", "clinical/made", "--superior", "clinical/made", "--target", "DIAG", "--guidance", "plug")
    done = guidestore("guide", "skin", *flags, "--permutations", "1", "--store", root)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("so guidance can gain nothing but capacity") == 1
    file = tmp_path / "twice.yaml"
    file.write_text(json.dumps({**TWICE, "targets": ["DIAG"], "guidance": "plug", "permutations": 1}))
    for step in ("plan", "run"):
        done = guidestore("sweep", step, file, "--store", root)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("so guidance can gain nothing but capacity") == 1
