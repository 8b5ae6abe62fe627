"""Whether codes or labels that heads were trained on were superseded since: a fact that warns of old figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pyarrow.compute as pc

from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetName
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.seen import seen_in

_SAID = ("case_id", "class", "value", "time", "event")
"""Of a label: whose, and what it says."""


def notes_on(snapshot: Snapshot, runs: Sequence[Run]) -> list[str]:
    """What is to be known of the codes and labels of runs: `seen_in` and `corrected_in`."""
    return [*seen_in(snapshot, runs), *corrected_in(snapshot, runs)]


def corrected_in(snapshot: Snapshot, runs: Iterable[Run]) -> list[str]:
    """A sentence on those of the runs that were trained on codes or labels which the snapshot has otherwise, or has no
    more. Cases and labels that came since correct nothing."""
    gone = _Gone(snapshot)
    changed: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    stale = 0
    for run in runs if gone.rows else ():
        found = {("label", run.target): gone.labels(snapshot.first_name(run.cohort), run.target, run.snapshot)}
        for name in (run.inferior, run.superior):
            if name is not None:
                found["code", name.stem.within] = gone.codes(name, run.snapshot)
        stale += any(found.values())
        for what, cases in found.items():
            changed[what] |= cases
    if not stale:
        return []
    listed = [f"{count_of(len(cases), kind)} of {name}" for (kind, name), cases in changed.items() if cases]
    return [
        f"{count_of(stale, 'run')} {'was' if stale == 1 else 'were'} trained before {' and '.join(listed)} were "
        "superseded, on the old ones; train anew for what the new ones say"
    ]


class _Gone:
    """Codes and tables of labels that were taken away up to a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        rows = snapshot.log.filter(pc.field("removed_at") <= snapshot.version)
        rows = rows.filter(pc.field("kind").isin(["bag", "codes", "rows:labels"]))
        columns = ["cohort", "modality", "encoder", "encoder_digest", "case_id", "artifact", "added_at", "removed_at"]
        self.rows: defaultdict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        """By cohort, modality and encoder; of labels the last two are empty."""
        for row in rows.select(columns).to_pylist():
            self.rows[row["cohort"], row["modality"] or "", row["encoder"] or ""].append(row)
        self.codes, self.labels = cache(self._codes), cache(self._labels)

    def _codes(self, name: CodeSetName, at: int) -> set[str]:
        """Cases whose code of snapshot `at` is there no more."""
        name = replace(name, cohort=self._snapshot.first_name(name.cohort))
        of = {"cohort": name.cohort, "modality": name.modality, "encoder": name.encoder}
        gone = [
            row
            for row in self.rows.get((name.cohort, name.modality, name.encoder), ())
            if row["added_at"] <= at < row["removed_at"] and row["encoder_digest"].startswith(name.digest)
        ]
        there = set(self._snapshot.select(**of)["artifact"].to_pylist()) if gone else ()  # compaction moves them
        return {row["case_id"] for row in gone if row["artifact"] not in there}

    def _labels(self, cohort: str, target: str, at: int) -> set[str]:
        """Cases whose label of snapshot `at` is another now, or none."""
        tables = self.rows.get((cohort, "", ""), ())
        if not any(row["added_at"] <= at < row["removed_at"] for row in tables):
            return set()
        before = replace(self._snapshot, version=at)
        return {row[0] for row in _said(before, cohort, target) - _said(self._snapshot, cohort, target)}


def _said(snapshot: Snapshot, cohort: str, target: str) -> set[tuple[Any, ...]]:
    rows = snapshot.rows("labels", cohort=cohort).filter(pc.field("target") == target)
    return {tuple(row[name] for name in _SAID) for row in rows.select(list(_SAID)).to_pylist()}
