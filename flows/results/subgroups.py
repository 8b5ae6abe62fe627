"""Gains by subgroup (site, scanner, sex, …): exploratory, with the number of cases, and no verdict.

A subgroup is a class of another target of the cohort, such as one that a manifest brought as a column of its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.runs import Head, Run, RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.results.effects import ComparisonGroup, comparison_groups, ends_of, main_metric
from guidestore.heads.significance import Interval, compare, draw_metrics

MISSING = "(none)"
"""The subgroup of the cases that have no label of it."""


@dataclass(frozen=True, slots=True)
class SubgroupGain:
    """What a guided head gained over row I among the test cases of one subgroup."""

    head: Head
    by: str
    subgroup: str
    n_cases: int
    metric: str
    score: float | None
    """Of the guided head; None where the metric is not defined there."""
    gain: Interval | None
    """Over row I; its interval covers cases alone."""
    note: str

    def as_row(self) -> dict[str, Any]:
        """Flat, for tables, CSV, JSON and Parquet."""
        head = self.head
        inferior, superior = (name.within if name else "" for name in (head.inferior, head.superior))
        return {
            "target": head.target,
            "mode": head.mode,
            "split": head.split,
            "inferior": inferior,
            "superior": superior,
            "labelled": str(head.labelled),
            "row": head.row,
            "guidance": head.guidance,
            "decoder": head.decoder,
            "by": self.by,
            "subgroup": self.subgroup,
            "n_cases": self.n_cases,
            "metric": self.metric,
            "score": self.score,
            **ends_of("gain_over_i", self.gain),
            "note": self.note,
        }


def subgroup_gains(
    snapshot: Snapshot,
    runs: Sequence[Run],
    predictions: Mapping[str, RunPredictions],
    by: str,
    *,
    cohort: str,
    metric: str = "",
) -> list[SubgroupGain]:
    """For each guided head and each class of the target `by`, its gain over row I; metric: '' for the main one.

    cohort: of the predicted cases. Raises NotFoundInStoreError where the cohort has no such target.
    """
    classes, labels = labels_of(snapshot, cohort, by)
    gains = []
    for group in comparison_groups(runs, predictions):
        if group.row is None:
            continue
        asked = metric or main_metric(group.common)
        groups = {name: {case for case, label in labels.items() if label == name} for name in classes}
        everyone = {case for run in group.common for case in run.case_ids}
        groups[MISSING] = everyone - labels.keys()
        gains += [_gain(group, by, name, cases & everyone, asked) for name, cases in groups.items() if cases & everyone]
    return gains


def _gain(group: ComparisonGroup, by: str, name: str, cases: set[str], metric: str) -> SubgroupGain:
    row = group.row
    assert row is not None  # noqa: S101  (of its caller)
    wanted = {*row.guided, *row.inferior}
    try:
        kept = [_within(run, cases) for run in group.common if run.run in wanted]
        drawn = draw_metrics(kept, metrics=(metric,))
        gain = compare(drawn, metric, row.guided, row.inferior).gain
        score: float | None = float(drawn.row(metric, row.guided)[0])
        note = ""
    except InvalidInputError as error:  # fewer than 2 cases of a fold, or a class without any
        gain, score, note = None, None, str(error)
    return SubgroupGain(group.head, by, name, len(cases), metric, score, gain, note)


def _within(run: RunPredictions, cases: Iterable[str]) -> RunPredictions:
    keep = np.isin(run.case_ids, list(cases))
    return replace(
        run,
        case_ids=tuple(case for case, kept in zip(run.case_ids, keep, strict=True) if kept),
        labels=run.labels[keep],
        probabilities=run.probabilities[keep],
    )
