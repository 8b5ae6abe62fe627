"""Two snapshots: what the heads that both have gained between them, from stored predictions alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.changed_cases import changed_cases
from guidestore.flows.results.effects import METRIC
from guidestore.flows.results.predictions import Part, load_predictions
from guidestore.flows.results.runs import PLACE, newest_runs, place_of
from guidestore.heads.significance import compare, draw_metrics, on_common_cases

_OVER = ("fold", "seed", "permutation")
"""What a row of the comparison is a mean over."""

Fact = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SnapshotComparison:
    """Snapshot b minus snapshot a. `rows`: per target, code sets, mode, row and heads the metric at a and at b, gain,
    low, high (95 %, over cases), p, cases, and how many predictions changed. `changed`: the cases whose prediction
    did, per target and head without the controls; of several seeds their mean says it."""

    snapshots: tuple[int, int]
    rows: list[dict[str, Any]]
    changed: list[dict[str, Any]]
    notes: tuple[str, ...]


def names_snapshots(store: EmbeddingStore, *names: str) -> bool:
    """Whether all of `names` are snapshot numbers or tags; other names are of runs."""
    tags = store.tags()
    return all(name in tags or (name.isascii() and name.isdigit() and len(name) < 8) for name in names)


def compare_snapshots(
    root: Path | str, a: int | str, b: int | str, *, part: Part = "test", metric: str = METRIC
) -> SnapshotComparison:
    """Compares the newest run of each place at snapshot `b` with that at snapshot `a`, over the folds and seeds of
    both.

    Raises NotFoundInStoreError for an unknown snapshot, and InvalidInputError where nothing is there to compare.
    """
    store = EmbeddingStore.open(root)
    snapshots = store.snapshot(a), store.snapshot(b)
    if snapshots[0].version == snapshots[1].version:
        raise InvalidInputError(f"{a} and {b} are the same snapshot {snapshots[0].version}; name two")
    newest = [newest_runs(snapshot, lambda run: run["status"] == "ok") for snapshot in snapshots]
    both = newest[0].keys() & newest[1].keys()
    changed = [place for place in newest[1] if place in both and newest[0][place]["run"] != newest[1][place]["run"]]
    notes = []
    for name, ours, theirs in ((a, *newest), (b, *reversed(newest))):
        alone = len(ours.keys() - theirs.keys())
        if alone:
            notes.append(f"{alone} heads are in snapshot {name} alone")
    if len(both) > len(changed):
        notes.append(f"{len(both) - len(changed)} heads are the same runs in both")
    if not changed:
        raise InvalidInputError(
            f"no head was trained anew between snapshots {a} and {b} ({'; '.join(notes) or 'they hold no runs'}); "
            "compare two runs, or evaluate a snapshot with --at"
        )
    predictions = [
        load_predictions(snapshot, [facts[place] for place in changed], part)
        for snapshot, facts in zip(snapshots, newest, strict=True)
    ]
    groups: dict[tuple[Any, ...], list[tuple[Fact, Fact]]] = {}
    for place in changed:
        pair = newest[0][place], newest[1][place]
        if all(fact["run"] in found for fact, found in zip(pair, predictions, strict=True)):
            groups.setdefault(_row_of(pair[1]), []).append(pair)
    if not groups:
        raise InvalidInputError(f"none of the {len(changed)} changed heads has labelled {part} predictions to compare")
    rows, changed_of = [], []
    with threadpool_limits(1):
        for pairs in groups.values():
            row, cases = _compared(pairs, predictions, metric)
            rows.append(row)
            changed_of += [] if pairs[0][1]["control"] else cases
    notes.append(f"{metric} on {part} cases; 95 % intervals and p over the cases that both have, heads as trained")
    return SnapshotComparison((snapshots[0].version, snapshots[1].version), rows, changed_of, tuple(notes))


def _row_of(fact: Fact) -> tuple[Any, ...]:
    over = {len(place_of(fact)) - len(PLACE) + PLACE.index(name) for name in _OVER}
    return tuple(value for index, value in enumerate(place_of(fact)) if index not in over)


def _compared(
    pairs: list[tuple[Fact, Fact]], predictions: list[dict[str, RunPredictions]], metric: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of these pairs of runs, and the cases that they say otherwise."""
    found: list[list[RunPredictions]] = [[], []]
    for number, facts in enumerate(pairs):
        runs = (predictions[side][fact["run"]] for side, fact in enumerate(facts))
        # One unit per pair: a permutation of the control is compared with the same permutation.
        here = on_common_cases([replace(run, run=f"{side} {run.run}", unit=(number,)) for side, run in enumerate(runs)])
        for side, run in enumerate(here):
            found[side].append(run)
    ids = [[run.run for run in side] for side in found]
    drawn = draw_metrics([run for side in found for run in side], metrics=(metric,))
    gain = compare(drawn, metric, ids[1], ids[0])
    fact = pairs[0][1]
    control = f", {fact['control']} pairs" if fact["control"] else ""
    row = {
        "target": fact["target"],
        "mode": fact["mode"],
        "row": fact["row"] + control,
        "inferior": fact["inferior"].partition("@")[0].partition("/")[2],
        "superior": fact["superior"].partition("@")[0].partition("/")[2],
        "guidance": fact["guidance"],
        "decoder": fact["decoder"],
        "a": float(drawn.row(metric, ids[0])[0]),
        "b": float(drawn.row(metric, ids[1])[0]),
        "gain": gain.gain.value,
        "low": gain.gain.low,
        "high": gain.gain.high,
        "p": gain.p_value,
        "runs": len(pairs),
        "cases": len({case for run in found[0] for case in run.case_ids}),
        "changed": sum(
            int((one.probabilities.argmax(axis=1) != other.probabilities.argmax(axis=1)).sum())
            for one, other in zip(*found, strict=True)
        ),
    }
    head = {name: row[name] for name in ("target", "row", "guidance", "decoder")}
    classes = json.loads(fact["settings"])["classes"]
    return row, [{**head, **case} for case in changed_cases(found[0], found[1], classes)]
