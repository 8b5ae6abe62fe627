"""Two sweeps: per task, how much better is the head that one chose on val than the other's, from stored predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.changed_cases import changed_cases
from guidestore.flows.results.effects import METRIC
from guidestore.flows.results.predictions import Part, load_predictions
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.ranking import Ranked, SweepRuns, ranked_on_val, runs_of_head
from guidestore.flows.sweeps.stored import runs_of_sweep, sweep_names
from guidestore.heads.significance import compare, draw_metrics, holm, on_common_cases

Task = tuple[str, str, str]
"""Cohort, target, split."""


@dataclass(frozen=True, slots=True)
class SweepComparison:
    """Sweep b minus sweep a. `rows`: per task the chosen heads, the metric of each, gain, low, high (95 %, over
    cases), p, p over all tasks (Holm), cases, and how many predictions changed. `changed`: those cases."""

    rows: list[dict[str, Any]]
    changed: list[dict[str, Any]]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The head that a sweep chose for a task: the best guided one on val."""

    head: Ranked
    facts: list[dict]
    rank: int
    """Its place among all guided heads of the sweep; 1 is the best."""

    @property
    def name(self) -> str:
        models = ", ".join(filter(None, (self.head.effect.guidance, self.head.effect.decoder)))
        budget = "" if self.head.labelled == "all" else f", {self.head.labelled} labels"
        return f"{self.head.effect.row} ({models}{budget})"


def names_sweeps(store: EmbeddingStore, *names: str) -> bool:
    """Whether `names` are of sweeps that the store remembers.

    Raises InvalidInputError where a name also is that of a tag or alias, or where only some of them are of sweeps.
    """
    snapshot = store.snapshot()
    known = sweep_names(snapshot)
    of_sweeps = [name for name in names if name in known]
    for name in of_sweeps:
        if name in store.tags() or name in snapshot.aliases:
            raise InvalidInputError(
                f"{name!r} names a sweep and a tag or alias; give the number or the id, or the sweep's YAML file"
            )
    if of_sweeps and len(of_sweeps) < len(names):
        other = next(name for name in names if name not in known)
        raise InvalidInputError(
            f"{of_sweeps[0]!r} names a sweep and {other!r} does not; name two sweeps ({', '.join(sorted(known))}), two "
            "runs or two snapshots"
        )
    return bool(of_sweeps)


def compare_sweeps(
    root: Path | str, a: str | SweepFile, b: str | SweepFile, *, part: Part = "val", metric: str = METRIC
) -> SweepComparison:
    """Compares, task by task, the guided heads that sweeps `a` and `b` (names, or files) have best on val.

    Raises NotFoundInStoreError, and InvalidInputError where they have no task in common, or were not scored on `part`.
    """
    store = EmbeddingStore.open(root)
    snapshot = store.snapshot()
    names = [one if isinstance(one, str) else one.name for one in (a, b)]
    found = [runs_of_sweep(store, one) for one in (a, b)]
    if {fact["run"] for fact in found[0].facts} == {fact["run"] for fact in found[1].facts}:
        raise InvalidInputError(f"sweeps {names[0]} and {names[1]} are the same runs; name two")
    chosen = [_chosen(snapshot, one, metric) for one in found]
    tasks = sorted(chosen[0].keys() & chosen[1].keys())
    if not tasks:
        has = [", ".join(sorted("/".join(task) for task in one)) or "none" for one in chosen]
        raise InvalidInputError(
            f"sweeps {names[0]} and {names[1]} have no cohort, target and split in common: {has[0]} and {has[1]}"
        )
    notes = [
        f"{'/'.join(task)} is in sweep {name} alone"
        for name, ours, theirs in ((names[0], *chosen), (names[1], *reversed(chosen)))
        for task in ours
        if task not in theirs
    ]
    rows, changed = [], []
    with threadpool_limits(1):
        for task in tasks:
            row, cases = _compared(snapshot, task, chosen[0][task], chosen[1][task], names, part, metric)
            rows.append(row)
            changed += cases
    if len(rows) > 1:
        adjusted = holm({str(number): row["p"] for number, row in enumerate(rows)})
        rows = [{**row, "p_holm": adjusted[str(number)]} for number, row in enumerate(rows)]
    notes.append(
        f"of each sweep the guided head that is best on val; {metric} on {part} cases, 95 % intervals over them"
    )
    if part == "val":
        notes.append("val chose both heads, so it flatters both; part test says what is left")
    return SweepComparison(rows, changed, tuple(notes))


def _chosen(snapshot: Snapshot, found: SweepRuns, metric: str) -> dict[Task, _Chosen]:
    best: dict[Task, _Chosen] = {}
    for rank, head in enumerate(ranked_on_val(snapshot, found, metric), 1):
        facts = runs_of_head(found, head)
        if head.effect.score is not None and facts:
            best.setdefault((facts[0]["cohort"], facts[0]["target"], facts[0]["split"]), _Chosen(head, facts, rank))
    return best


def _compared(
    snapshot: Snapshot, task: Task, a: _Chosen, b: _Chosen, names: Sequence[str], part: Part, metric: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    cohort, target, split = task
    sides = [
        _predictions(snapshot, one, f"{side} ", name, part) for side, one, name in zip("ab", (a, b), names, strict=True)
    ]
    folds = {run.unit for run in sides[0]} & {run.unit for run in sides[1]}
    if not folds:
        raise InvalidInputError(f"for {'/'.join(task)} sweeps {names[0]} and {names[1]} have no fold in common")
    runs = on_common_cases([run for side in sides for run in side if run.unit in folds])
    sides = [[run for run in runs if run.run.startswith(side)] for side in "ab"]
    ids = [[run.run for run in side] for side in sides]
    drawn = draw_metrics(runs, metrics=(metric,))
    gain = compare(drawn, metric, ids[1], ids[0])
    classes = json.loads(a.facts[0]["settings"])["classes"]
    changed = changed_cases(sides[0], sides[1], classes)
    place = {"cohort": cohort, "target": target, "split": split}
    row = {
        **place,
        "head a": a.name,
        "head b": b.name,
        "a": float(drawn.row(metric, ids[0])[0]),
        "b": float(drawn.row(metric, ids[1])[0]),
        "gain": gain.gain.value,
        "low": gain.gain.low,
        "high": gain.gain.high,
        "p": gain.p_value,
        "cases": len({case for run in runs for case in run.case_ids}),
        "changed": len(changed),
    }
    return row, [{"target": target, **one} for one in changed]


def _predictions(snapshot: Snapshot, chosen: _Chosen, side: str, name: str, part: Part) -> list[RunPredictions]:
    """Those of the chosen head; one unit per fold, so that sweeps of other seeds can be compared."""
    found = load_predictions(snapshot, chosen.facts, part)
    lacking = [fact for fact in chosen.facts if fact["run"] not in found and fact["status"] == "ok"]
    if lacking or not found:
        how = (
            f"a sweep leaves test alone; `guidestore sweep show FILE --test {chosen.rank}` scores it and what is better"
        )
        raise InvalidInputError(
            f"{chosen.name}, the best of sweep {name} on val for {chosen.head.effect.target}, has no {part} predictions"
            + (f": {how}" if part == "test" else "")
        )
    return [replace(run, run=f"{side}{run.run}", unit=run.unit[:2]) for run in found.values()]
