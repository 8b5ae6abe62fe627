"""The selected runs, cut into what one table can hold: one target, mode, split, pair of code sets, G and decoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guidestore.embeddings.runs import RunPredictions
from guidestore.flows.results.runs import label_budget
from guidestore.heads.input_rows import GUIDED_PLUS_I, GUIDED_ROWS, S_PLUS_I, TAUGHT

Fact = Mapping[str, Any]
"""A row of schema ``runs``."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """The runs of one section of the report, with what is stored of their test cases."""

    number: int
    """From 1; `name` is its id in the page."""
    target: str
    mode: str
    split: str
    inferior: str
    """MODALITY/ENCODER."""
    superior: str
    guidance: str
    """'' where no guided row was trained."""
    decoder: str
    classes: tuple[str, ...]
    facts: tuple[Fact, ...]
    values: Mapping[tuple[str, str], float] = field(repr=False)
    """(run, metric) -> stored value on test."""
    predictions: Mapping[str, RunPredictions] = field(repr=False)
    """Run -> its labelled test cases; runs without any (diverged ones) are not in it."""

    @property
    def name(self) -> str:
        return f"section-{self.number}"

    @property
    def heads(self) -> str:
        """What was trained, in a line."""
        return ", ".join(filter(None, (self.guidance, self.decoder, self.mode)))

    def runs(self, row: str, control: str = "") -> list[str]:
        """The runs of a row that have test predictions."""
        return [
            fact["run"]
            for fact in self.facts
            if (fact["row"], fact["control"]) == (row, control) and fact["run"] in self.predictions
        ]


def sections_of(
    facts: Sequence[Fact], values: Mapping[tuple[str, str], float], predictions: Mapping[str, RunPredictions]
) -> list[Section]:
    """The sections of these runs, in the order in which their targets were first trained.

    `values`: (run, metric) -> stored value on test. `predictions`: on test, of the runs that have any.
    """
    groups: dict[tuple, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(_place(fact), []).append(fact)
    order = list(dict.fromkeys(place[0] for place in groups))
    found = []
    for place, members in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
        for guidance, decoder in _heads(members):
            chosen = tuple(_with_heads(members, guidance, decoder))
            have = {fact["run"]: predictions[fact["run"]] for fact in chosen if fact["run"] in predictions}
            target, mode, split, inferior, superior, classes = place
            sides = (inferior, superior)
            found.append(
                Section(len(found) + 1, target, mode, split, *sides, guidance, decoder, classes, chosen, values, have)
            )
    return found


def _place(fact: Fact) -> tuple:
    stems = [fact[side].partition("@")[0].partition("/")[2] for side in ("inferior", "superior")]
    classes = tuple(json.loads(fact["settings"])["classes"])
    budget = label_budget(fact)
    split = fact["split"] if budget == "all" else f"{fact['split']}, {budget} labels"
    return (fact["target"], fact["mode"], split, *stems, classes)


def _heads(members: Iterable[Fact]) -> list[tuple[str, str]]:
    """(G, decoder) of G(I)+I, whose decoder is trained in every mode, and of T(I); of other rows where they are not
    there."""
    members = list(members)
    for rows in ((GUIDED_PLUS_I, TAUGHT), GUIDED_ROWS, (S_PLUS_I,)):
        found = [(f["guidance"], f["decoder"]) for f in members if f["row"] in rows and not f["control"]]
        if found:
            return list(dict.fromkeys(found))
    return [("", next(iter(members))["decoder"])]


def _with_heads(members: Sequence[Fact], guidance: str, decoder: str) -> list[Fact]:
    """Of each row the runs of this G and decoder. As published, I and S are the encoders' own classifiers, and G(I)
    reads with that of S: then all there are."""
    fitting = [fact for fact in members if fact["guidance"] in ("", guidance)]
    trained = {(fact["row"], fact["control"]) for fact in fitting if fact["decoder"] == decoder}
    return [f for f in fitting if f["decoder"] == decoder or (f["row"], f["control"]) not in trained]
