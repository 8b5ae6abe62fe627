"""Two stored runs on the same cases: how much better is one, how sure is that, and which cases changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.predictions import load_predictions
from guidestore.flows.results.runs import load_runs
from guidestore.heads.significance import McNemar, compare, draw_metrics, mcnemar, on_common_cases


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Run b minus run a. `rows`: per metric a, b, gain, low, high (95 %, over cases) and p. `changed`: cases whose
    predicted class differs, with what each run says."""

    names: tuple[str, str]
    n_cases: int
    rows: list[dict[str, Any]]
    mcnemar: McNemar
    changed: list[dict[str, Any]]
    notes: tuple[str, ...]


def compare_runs(
    root: Path | str, a: str, b: str, *, part: Literal["test", "val"] = "test", at: int | str | None = None
) -> RunComparison:
    """Compares run `b` with run `a` (aliases, or 8 digits or more of their ids) from stored predictions alone.

    Raises NotFoundInStoreError, and InvalidInputError for runs of other cohorts, targets or cases.
    """
    store = EmbeddingStore.open(root)
    snapshot = store.snapshot(at)
    ids = [store.find_run(name, at).artifact for name in (a, b)]
    if ids[0] == ids[1]:
        raise InvalidInputError(f"{a} and {b} are the same run {ids[0][:12]}; name two")
    found, _ = load_runs(snapshot, ids)
    facts = sorted(found, key=lambda fact: ids.index(fact["run"]))
    for what in ("cohort", "target"):
        if facts[0][what] != facts[1][what]:
            raise InvalidInputError(
                f"run {a} is of {what} {facts[0][what]} and run {b} of {facts[1][what]}; compare runs of one {what}"
            )
    classes = json.loads(facts[0]["settings"])["classes"]
    predictions = load_predictions(snapshot, facts, part)
    for run in ids:
        if run not in predictions:
            raise InvalidInputError(
                f"run {run[:12]} has fewer than 2 labelled {part} predictions: it diverged, or a sweep trained it and "
                "left test alone until it was chosen (`guidestore sweep show --test N`)"
            )
    # One unit: what makes them a pair is the cases, whatever split or seed they come from.
    given = [replace(predictions[run], unit=("pair",)) for run in ids]
    common = set(given[0].case_ids) & set(given[1].case_ids)
    if len(common) < 2:
        raise InvalidInputError(
            f"runs {a} and {b} have {len(common)} {part} cases in common (split {facts[0]['split']}/{facts[0]['fold']} "
            f"and {facts[1]['split']}/{facts[1]['fold']}); compare runs that were tested on the same cases"
        )
    one, other = on_common_cases(given)
    with threadpool_limits(1):
        drawn = draw_metrics([one, other])
        rows = []
        for metric in drawn.values:
            gain = compare(drawn, metric, [other.run], [one.run])
            values = {name: drawn.interval(run.run, metric).value for name, run in (("a", one), ("b", other))}
            interval = {"gain": gain.gain.value, "low": gain.gain.low, "high": gain.gain.high}
            rows.append({"metric": metric, **values, **interval, "p": gain.p_value})
    notes = []
    left_out = max(len(run.case_ids) for run in given) - len(common)
    if left_out:
        notes.append(f"{left_out} cases that only one of them predicts are left out")
    notes.append(f"95 % intervals and p from {drawn.draws} draws of the cases, seed {drawn.seed}; heads as trained")
    return RunComparison(
        (_name(facts[0]), _name(facts[1])),
        len(common),
        rows,
        mcnemar(one, other),
        _changed(one, other, classes),
        tuple(notes),
    )


def _name(facts: dict[str, Any]) -> str:
    control = f", {facts['control']} pairs {facts['permutation']}" if facts["control"] else ""
    heads = " ".join(name for name in (facts["guidance"], facts["decoder"]) if name)
    return f"{facts['row']}{control} ({heads}, {facts['mode']}, fold {facts['fold']}, seed {facts['seed']})"


def _changed(one: RunPredictions, other: RunPredictions, classes: list[str]) -> list[dict[str, Any]]:
    says = [run.probabilities.argmax(axis=1) for run in (one, other)]
    return [
        {"case_id": case_id, "label": classes[label], "a says": classes[first], "b says": classes[second]}
        for case_id, label, first, second in zip(one.case_ids, one.labels, *says, strict=True)
        if first != second
    ]
