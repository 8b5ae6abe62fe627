"""What the training of the runs of a table warns of, a sentence per kind of warning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from guidestore.embeddings.runs import Head, Run
from guidestore.embeddings.words import count_of

MOST_NAMED = 3
"""Heads that a sentence names; the column `note` of `FROM runs` has all."""


def training_warnings(runs: Iterable[Run]) -> list[str]:
    """Of heads that are no controls (which may well learn nothing), as `Run.note` has it; diverged runs are told
    elsewhere."""
    heads: dict[Head, list[Run]] = {}
    for run in runs:
        if not run.control and not run.diverged:
            heads.setdefault(replace(run.head, permutation=-1), []).append(run)
    kinds: dict[str, dict[Head, str]] = {}
    for head, members in heads.items():
        for said in dict.fromkeys(sentence for run in members for sentence in run.note.split("; ") if sentence):
            kinds.setdefault(re.sub(r"[\d.]+|val|test", "", said), {}).setdefault(head, said)
    told = []
    for of_kind in kinds.values():
        named = [_name(head) for head in of_kind]
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        example = next(iter(of_kind.values()))
        told.append(
            f"training of {count_of(len(named), 'head')} warns, {'; '.join(named[:MOST_NAMED])}{more}: {example} "
            "(`FROM runs`, note)"
        )
    return told


def _name(head: Head) -> str:
    budget = "" if head.labelled == "all" else f", {head.labelled} labels"
    return f"{head.target}, {head.name}{budget}, {head.mode}"
