"""Stored predictions -> what the significance tests take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.outcomes import KINDS, ONE_CLASS_KINDS, Outcome, Target
from guidestore.embeddings.pairing import outcomes_of
from guidestore.embeddings.runs import Part, Run, RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.warehouse.row_source import RowSource


def load_predictions(snapshot: RowSource, runs: Iterable[Run], part: Part = "test") -> dict[str, RunPredictions]:
    """Run id -> predictions of the labelled cases of `part`, for those of the runs that have two such cases or more.

    A run that diverged has none.
    """
    by_id = {run.id: run for run in runs}
    wanted = pc.field("run").isin(pa.array(list(by_id), pa.string())) & (pc.field("part") == part)
    every = snapshot.rows("predictions").filter(wanted)
    of_outcomes = [run for run in by_id.values() if run.kind not in ONE_CLASS_KINDS]
    others = _of_outcomes(snapshot, of_outcomes, every) if of_outcomes else {}
    table = every.filter(pc.field("label").is_valid())
    if not table.num_rows:
        return others
    ids = np.asarray(table["run"].to_pylist(), dtype=object)
    order = np.argsort(ids, kind="stable")
    names, starts = np.unique(ids[order], return_index=True)
    case_ids, labels = table["case_id"].to_pylist(), table["label"].to_pylist()
    lists = table["probabilities"]
    predictions = {}
    for name, rows in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        if len(rows) < 2:
            continue
        run = by_id[name]
        class_index = {label: index for index, label in enumerate(run.classes)}
        flat = pc.list_flatten(lists.take(pa.array(rows))).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
        predictions[name] = RunPredictions(
            name,
            run.unit,
            tuple(case_ids[row] for row in rows),
            np.array([class_index[labels[row]] for row in rows]),
            flat.reshape(len(rows), len(run.classes)),
            kind=run.kind,
        )
    return predictions | others


def _of_outcomes(snapshot: RowSource, runs: Iterable[Run], table: pa.Table) -> dict[str, RunPredictions]:
    """Of runs whose outcomes are no classes: these stand in the labels of the snapshot that a run was trained at."""
    by_id = {run.id: run for run in runs}
    outcomes: dict[tuple[str, str, int], tuple[Target, dict[str, Outcome]]] = {}
    said: dict[str, list[dict[str, Any]]] = {}
    for row in table.filter(pc.field("run").isin(pa.array(list(by_id), pa.string()))).to_pylist():
        said.setdefault(row["run"], []).append(row)
    predictions = {}
    for name, rows in said.items():
        run = by_id[name]
        asked = (run.cohort, run.target, run.snapshot)
        if asked not in outcomes:
            of_run = replace(snapshot, version=run.snapshot) if isinstance(snapshot, Snapshot) else snapshot
            outcomes[asked] = outcomes_of(cast(Snapshot, of_run), run.cohort, run.target, KINDS)
        target, known = outcomes[asked]
        rows = [row for row in rows if row["case_id"] in known]
        if len(rows) < 2:
            continue
        case_ids = tuple(row["case_id"] for row in rows)
        outputs = np.array([_outputs(run, row) for row in rows])
        y = target.y_of(known, case_ids)
        predictions[name] = RunPredictions(name, run.unit, case_ids, y, outputs, kind=run.kind, reference=run.reference)
    return predictions


def _outputs(run: Run, row: Mapping[str, Any]) -> list[float]:
    if run.kind == "multilabel":
        return row["probabilities"]
    return [row["value"]] if run.kind == "value" else [row["risk"], *(row["survival"] or ())]
