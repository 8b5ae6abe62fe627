"""Stored predictions -> what the significance tests take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.snapshot import Snapshot

Part = Literal["test", "val"]


def load_predictions(
    snapshot: Snapshot, facts: Sequence[Mapping[str, Any]], part: Part = "test"
) -> dict[str, RunPredictions]:
    """Run id -> its predictions of the labelled cases of `part`, for the runs whose rows (schema ``runs``) are `facts`.

    A run with fewer than two such cases (one that diverged has none) is left out. Units are (split, fold, seed).
    """
    by_run = {fact["run"]: fact for fact in facts}
    wanted = pc.field("run").isin(pa.array(list(by_run), pa.string())) & (pc.field("part") == part)
    table = snapshot.rows("predictions").filter(wanted & pc.field("label").is_valid())
    if not table.num_rows:
        return {}
    runs = np.asarray(table["run"].to_pylist(), dtype=object)
    order = np.argsort(runs, kind="stable")
    names, starts = np.unique(runs[order], return_index=True)
    case_ids, labels = table["case_id"].to_pylist(), table["label"].to_pylist()
    lists = table["probabilities"]
    found = {}
    for name, rows in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        if len(rows) < 2:
            continue
        fact = by_run[name]
        classes = {label: index for index, label in enumerate(json.loads(fact["settings"])["classes"])}
        flat = pc.list_flatten(lists.take(pa.array(rows))).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
        found[name] = RunPredictions(
            name,
            (fact["split"], fact["fold"], fact["seed"]),
            tuple(case_ids[row] for row in rows),
            np.array([classes[labels[row]] for row in rows]),
            flat.reshape(len(rows), len(classes)),
        )
    return found
