"""What the training of the runs of a table warns of, a sentence per head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from guidestore.embeddings.runs import Head, Run


def training_warnings(runs: Iterable[Run]) -> list[str]:
    """Of heads that are no controls (which may well learn nothing), as `Run.note` has it; diverged runs are told
    elsewhere."""
    heads: dict[Head, list[Run]] = {}
    for run in runs:
        if not run.control and not run.diverged:
            heads.setdefault(replace(run.head, permutation=-1), []).append(run)
    told = {}
    for head, members in heads.items():
        noted = [run.note for run in members if run.note]
        if noted:
            budget = "" if head.labelled == "all" else f", {head.labelled} labels"
            name = f"{head.target}, {head.name}{budget}, {head.mode}"
            told[f"training of {name} warns in {len(noted)} of {len(members)} runs: {noted[0]}"] = None
    return list(told)
