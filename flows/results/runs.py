"""Stored runs: their facts and metrics, and the newest of each place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.results.predictions import Part

HOW_TO_GET_RUNS = (
    "train some with `guidestore guide`, or score those of a sweep on test with `guidestore sweep show FILE --test N`"
)
"""For sentences about runs that are not there, or that a sweep left unscored on test."""


def load_runs(
    snapshot: Snapshot, runs: Sequence[str], part: Part = "test"
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], float]]:
    """Rows of schema ``runs`` for these ids, and their metrics on `part` by (run, metric).

    Raises NotFoundInStoreError where none of them is there.
    """
    wanted = pa.array(list(dict.fromkeys(runs)), pa.string())
    facts = snapshot.rows("runs").filter(pc.field("run").isin(wanted)).to_pylist()
    if not facts:
        raise NotFoundInStoreError(f"there are no such runs to evaluate; {HOW_TO_GET_RUNS}")
    stored = snapshot.rows("metrics").filter(pc.field("run").isin(wanted) & (pc.field("part") == part)).to_pylist()
    return facts, {(row["run"], row["metric"]): row["value"] for row in stored}


PLACE = ("cohort", "target", "split", "fold", "row", "mode", "guidance", "decoder", "control", "permutation", "seed")
"""What, with the names of the code sets, a run is asked for by."""


def place_of(fact: Mapping[str, Any]) -> tuple[Any, ...]:
    """The code sets without their digests, the label budget of a sweep, then the columns of `PLACE`."""
    stems = [fact[side].partition("@")[0] for side in ("inferior", "superior")]
    return (*stems, label_budget(fact), *(fact[name] for name in PLACE))


def label_budget(fact: Mapping[str, Any]) -> int | str:
    """How many labels of the train part the run saw: a number, or all."""
    return json.loads(fact["settings"]).get("labelled", "all")


def scored_runs(snapshot: Snapshot, part: Part) -> set[str]:
    """Ids of the runs that have metrics on `part`; a sweep leaves test alone until heads were chosen."""
    metrics = snapshot.rows("metrics")
    return set(metrics.filter(pc.field("part") == part)["run"].unique().to_pylist())


def newest_runs(
    snapshot: Snapshot, condition: Callable[[dict[str, Any]], bool], part: Part = "test"
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Place -> row of schema ``runs`` of its newest run, of those that fulfil the condition and were scored on `part`
    (or have diverged)."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    scored = scored_runs(snapshot, part)
    for run in snapshot.rows("runs").to_pylist():
        if condition(run) and (run["run"] in scored or run["status"] != "ok"):
            place = place_of(run)
            if place not in newest or newest[place]["snapshot"] <= run["snapshot"]:
                newest[place] = run
    return newest
