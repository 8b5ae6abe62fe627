"""Codes that hold what they should foretell: a column that is a target, under whatever numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

FEWEST_CASES = 10
"""Below it a column of two values agrees with two classes by chance."""


def target_among(codes_nd: np.ndarray, case_ids: tuple[str, ...], labels: Mapping[str, str | float]) -> int | None:
    """The first column of codes_nd (n, d) that says the label of every case that has one, each by a value of its own.

    labels: case_id -> class, or a number, which the column must equal. None: there is none, or fewer than FEWEST_CASES
    cases have both.
    """
    rows = [row for row, case_id in enumerate(case_ids) if case_id in labels]
    if len(rows) < FEWEST_CASES:
        return None
    given = [labels[case_ids[row]] for row in rows]
    if isinstance(given[0], float):
        values = np.array(given, dtype=codes_nd.dtype)
        equal = (codes_nd[rows] == values[:, None]).all(axis=0) if np.ptp(values) else np.zeros(codes_nd.shape[1], bool)
        return int(equal.argmax()) if equal.any() else None
    members: dict[str, list[int]] = {}
    for row, name in zip(rows, given, strict=True):
        members.setdefault(str(name), []).append(row)
    if len(members) < 2 or len(members) == len(rows):
        return None
    left = np.arange(codes_nd.shape[1])
    means = []
    for of_class in members.values():
        lowest = np.fmin.reduce(codes_nd[np.ix_(of_class, left)])
        same = lowest == np.fmax.reduce(codes_nd[np.ix_(of_class, left)])
        left, means = left[same], [mean[same] for mean in means] + [lowest[same]]
        if not left.size:
            return None
    for d, column in enumerate(np.stack(means).T):
        if len(np.unique(column)) == len(members):
            return int(left[d])
    return None


def labels_by_target(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str | float]]:
    """What a code must not say -> case_id -> class or value, of rows of kind labels.

    Named by the target; of survival there are ``TARGET (time)`` and ``TARGET (event)``, of several labels each as
    ``TARGET (LABEL)``.
    """
    labels: dict[str, dict[str, str | float]] = defaultdict(dict)
    for row in rows:
        target, case_id = row["target"], row["case_id"]
        if row["time"] is not None:
            labels[f"{target} (time)"][case_id] = float(row["time"])
            labels[f"{target} (event)"][case_id] = str(row["event"])
        elif row["class"]:
            several = row["value"] is not None
            labels[f"{target} ({row['class']})" if several else target][case_id] = (
                str(row["value"]) if several else row["class"]
            )
        elif row["value"] is not None:
            labels[target][case_id] = row["value"]
    return dict(labels)
