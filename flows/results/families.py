"""Many rows and targets, one chance of a false `guidance helps` among them all: the family that Holm corrects over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from guidestore.embeddings.runs import Head
from guidestore.embeddings.words import count_of
from guidestore.flows.results.effects import RowEffect
from guidestore.heads.metrics import metric_named
from guidestore.heads.significance import holm


@dataclass(frozen=True, slots=True)
class Family:
    """One hypothesis for each target and guided row that was asked for, each in one metric."""

    p_values: Mapping[Head, float]
    """p of `guidance helps` over the family; heads whose gain could not be told are not in it."""
    sentence: str
    """What the family is; '' where it is empty."""


def family_of(effects: Iterable[RowEffect], *, which: str = "asked for") -> Family:
    """The family of these effects, those of a head once. Give those of one metric a head. which: heads these are, in
    words."""
    told = {effect.head: effect for effect in effects if effect.effect is not None}
    if not told:
        return Family({}, "")
    names = {head: str(number) for number, head in enumerate(told)}
    corrected = holm({names[head]: effect.effect.p_helps for head, effect in told.items() if effect.effect})
    rows = ", ".join(dict.fromkeys(head.row for head in told))
    targets = len({head.target for head in told})
    metrics = " or ".join(dict.fromkeys(metric_named(effect.metric).title for effect in told.values()))
    number = f"{len(told)} {'hypothesis' if len(told) == 1 else 'hypotheses'}"
    sentence = (
        f"family for Holm: {number}, one for each target and guided head {which} "
        f"({count_of(targets, 'target')}; {rows}), in {metrics}"
    )
    return Family({head: corrected[name] for head, name in names.items()}, sentence)
