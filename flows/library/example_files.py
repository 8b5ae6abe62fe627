"""The example cohort as files, for the command line: codes, labels, folds and a sweep."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import Target
from guidestore.flows.library.datasets import BLURRED, COHORT, ENCODER, FULL, TARGET, two_views
from guidestore.warehouse.cohorts.outcome_splits import draw_outcome_splits
from guidestore.warehouse.cohorts.splits import Split

SWEEP = f"""\
# 50 of some 1,220 train cases have a label, all have both views: a teacher on the strong view labels the others.
cohort: {COHORT}
inferior: {BLURRED}/{ENCODER}
superior: {FULL}/{ENCODER}
guidance: []
students: ridge
labelled: 50
seeds: [0, 1]
permutations: 2
"""


@dataclass(frozen=True, slots=True)
class ExampleFiles:
    """What was written, and what to do with it."""

    files: tuple[Path, ...]
    commands: tuple[str, ...]
    """Shell commands, from an empty store to both verdicts."""


def write_digits(folder: Path) -> ExampleFiles:
    """Writes blurred.csv and full.csv (codes), labels.csv, splits.csv and few-labels.yaml, and makes the folder.

    The cohort is that of `datasets.digits`. Raises InvalidInputError where one of them is there with other content, or
    the disk refuses.
    """
    views = two_views()
    classes = tuple(sorted(set(views.labels)))
    split = Split("cv5", 5, 0, 0.15)
    parts, _ = draw_outcome_splits(
        views.case_ids, Target(TARGET, "classes", classes), dict(zip(views.case_ids, views.labels, strict=True)), split
    )
    columns = ("split", "fold", "part")
    contents = {
        f"{BLURRED}.csv": _codes(views.case_ids, views.blurred_nd),
        f"{FULL}.csv": _codes(views.case_ids, views.full_nd),
        "labels.csv": [["case_id", TARGET], *zip(views.case_ids, views.labels, strict=True)],
        "splits.csv": [["case_id", *columns], *([row["case_id"], *(row[c] for c in columns)] for row in parts)],
    }
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in contents.items():
            with (folder / name).open("w", newline="", encoding="utf-8") as handle:
                csv.writer(handle).writerows(rows)
            files.append(folder / name)
        files.append(folder / "few-labels.yaml")
        files[-1].write_text(SWEEP, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written ({error.strerror}); name another with --dir") from error
    return ExampleFiles(tuple(files), _commands(folder))


def _codes(case_ids: Sequence[str], codes_nd: np.ndarray) -> list[list[str]]:
    """Numbers with as many digits as float32 needs."""
    rows = [[case_id, *map(str, code)] for case_id, code in zip(case_ids, codes_nd, strict=True)]
    return [["case_id", *(f"d{d}" for d in range(codes_nd.shape[1]))], *rows]


def _commands(folder: Path) -> tuple[str, ...]:
    from shlex import quote

    def at(name: str) -> str:
        return quote(str(folder / name))

    named = f"--cohort {COHORT} --encoder {ENCODER} --trained-on none"
    pair = f"--inferior {BLURRED}/{ENCODER} --superior {FULL}/{ENCODER}"
    return (
        f"export GUIDESTORE_STORE={at('store')}",
        *(f"guidestore import {at(f'{name}.csv')} --modality {name} {named}" for name in (BLURRED, FULL)),
        f"guidestore cohort add manifest {COHORT} --labels {at('labels.csv')} --splits {at('splits.csv')}",
        f"guidestore guide {COHORT} {pair} --guidance ridge --decoder least_squares",
        f"guidestore sweep run {at('few-labels.yaml')}",
        f"guidestore sweep show {at('few-labels.yaml')} --test 1",
    )
