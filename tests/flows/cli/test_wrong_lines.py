"""Mistakes of a new user: one sentence, which names the nearest or the flag that would work."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.commandline import guidestore

MISTAKES = {
    "evalute skin": "did you mean 'evaluate'",
    "cohort add manifst x": "did you mean 'manifest'? there are derm7pt, ",
    "evaluate": "missing argument 'cohort'; `guidestore evaluate --help` has examples",
    "cohort list --json": "did you mean --format json",
    "evaluate skin --fromat json": "--format",
    "evaluate skin --format jsn": "'markdown'",
    "sql FROM code_sets": 'text with blanks needs quotes, as "FROM code_sets"',
    "neighbours lesion-001 --code-set skin/clinical/mada": "did you mean skin/clinical/made?",
    "guide skin --inferior clinical/made --superior dermoscopy/made --target PIG --metric AUC": "did you mean 'auroc'?",
    "guide skin --inferior clinical/made --superior dermoscopy/made --guidance cca --guidance ridge": "given 2 times",
    "sql 'FROM runs' --format csv --format json": "--format is given 2 times and takes one value",
    "cohort show skni": "did you mean 'skin'?",
    "predict --run {run} --case lesion-0001": "did you mean lesion-001?",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_answered_in_one_sentence(line: str, report_store: Path) -> None:
    run = guidestore("sql", "SELECT run FROM runs WHERE row = 'I' LIMIT 1", "--store", report_store, "--format", "csv")
    line = line.format(run=run.stdout.split()[-1])
    store = [] if line.startswith("cohort add") else ["--store", report_store]
    done = guidestore(*shlex.split(line), *store)
    assert done.returncode in (2, 3)
    assert MISTAKES[line if line in MISTAKES else "predict --run {run} --case lesion-0001"] in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
