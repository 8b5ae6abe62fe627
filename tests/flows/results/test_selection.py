"""Options that select no run are named, with what there is instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.selection import RunSelection
from guidestore.warehouse.runs import all_runs
from tests.commandline import guidestore


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        (RunSelection("skin", target="PIG", guidance="ridge", inferior="clinical"), ""),
        (RunSelection("skin", target="BWV", decoder="mlp"), "of skin --target BWV is there; --target may be DIAG, PIG"),
        (
            RunSelection("skin", target="PIG", guidance="pls"),
            "--guidance pls is there; --guidance may be ridge",
        ),
        (RunSelection("skin", superior="clinical/made"), "--superior may be dermoscopy/made@"),
        (RunSelection("bone"), "cohort bone has no runs; there are runs of skin/DIAG, skin/PIG"),
    ],
)
def test_what_is_asked_for_in_vain_is_named(report_store: Path, selection: RunSelection, told: str) -> None:
    unmet = selection.unmet(all_runs(EmbeddingStore.open(report_store).snapshot()))
    assert told in unmet
    assert bool(told) == bool(unmet)


def test_evaluate_says_what_there_is(report_store: Path) -> None:
    for words, told in (
        (("skin", "--guidance", "pls"), "--guidance may be ridge"),
        (("skim",), "there is no cohort 'skim'; did you mean 'skin'?"),
    ):
        done = guidestore("evaluate", *words, "--store", report_store)
        assert (done.returncode, told in done.stderr) == (3, True), done.stderr
