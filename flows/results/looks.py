"""Looks at test, counted: one for every distinct set of runs whose test results somebody was shown.

The oftener test decides something, the less it says. So training that scores test counts a look, and so do commands
that show test results of other runs than those that were looked at before, together.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from guidestore.embeddings.errors import StorageError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore


def count_look(
    store: EmbeddingStore, runs: Iterable[Run], why: str, *, told: Iterable[Run] | None = None, on: str = ""
) -> str:
    """Counts a look at test of these runs, all of one cohort, unless the same set was looked at before.

    told: those that the look is about, which get a row each; None: all but the controls. on: the cohort whose cases
    were shown, where it is not that of the runs. '' or, where the store cannot
    be written, a sentence that says it was not counted.
    """
    looked = sorted({run.id: run for run in runs}.values(), key=lambda run: run.id)
    if not looked:
        return ""
    about = [run for run in looked if not run.control] if told is None else told
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    cohort = on or looked[0].cohort
    rows = [
        {"cohort": cohort, "target": run.target, "run": run.id, "part": "test", "why": why, "at": now} for run in about
    ]
    recipe = {"looked at": [run.id for run in looked], "part": "test"} | ({"on": on} if on else {})
    try:
        with store.begin(f"a look at test: {why}") as transaction:
            transaction.write_rows("looks", rows, cohort=cohort, recipe=recipe)
    except StorageError as error:
        return f"this look at test was not counted, the store cannot be written: {error}"
    return ""


def count_looks(snapshot: Snapshot, cohort: str) -> int:
    """How often somebody has looked at test of the cohort."""
    looks = snapshot.rows("looks", cohort=cohort)
    return len(set(zip(looks["why"].to_pylist(), looks["at"].to_pylist(), strict=True)))
