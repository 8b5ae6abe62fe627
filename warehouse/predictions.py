"""Stored predictions -> what the significance tests take."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.runs import Part, Run, RunPredictions
from guidestore.warehouse.row_source import RowSource


def load_predictions(snapshot: RowSource, runs: Iterable[Run], part: Part = "test") -> dict[str, RunPredictions]:
    """Run id -> predictions of the labelled cases of `part`, for those of the runs that have two such cases or more.

    A run that diverged has none.
    """
    by_id = {run.id: run for run in runs}
    wanted = pc.field("run").isin(pa.array(list(by_id), pa.string())) & (pc.field("part") == part)
    table = snapshot.rows("predictions").filter(wanted & pc.field("label").is_valid())
    if not table.num_rows:
        return {}
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
        )
    return predictions
