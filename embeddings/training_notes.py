"""What went wrong in the training of a head, told from the facts that its run keeps: one sentence for table, report and
SQL (`runs.note`)."""

from __future__ import annotations

import math
from collections.abc import Mapping

EARLY = 4
"""A best epoch up to here: the fit got worse from the start, mostly because its learning rate is too high."""
NEAR_CHANCE = 0.98
"""Share of ln k from which on a val loss is that of a head that knows nothing."""
BELOW_MAJORITY = 0.1
"""How far below the largest class's share a micro F1 warns. A head that weighs classes alike lies somewhat below."""


def training_note(*, message: str, classes: int, facts: Mapping[str, float]) -> str:
    """What there is to warn of, joined by semicolons; '' for nothing.

    message: why it diverged, or ''. classes: of its target. facts: `Run.training`: best epochs and val losses (class
    weighted cross-entropy, in which equal probabilities have ln `classes`), `PART_f1_micro` and `PART_majority`.
    """
    if message:
        return message
    told = []
    for name, epoch in facts.items():
        if name.endswith("best_epoch") and 1 <= epoch <= EARLY:
            told.append(f"best epoch of {_model(name)} {epoch:.0f}")
    for name, loss in facts.items():
        if name.endswith("val_loss") and name.startswith("decoder") and classes > 1:
            chance = math.log(classes)
            if loss >= NEAR_CHANCE * chance:
                told.append(f"val loss {loss:.3g} at chance ({chance:.3g})")
    for part in ("val", "test"):
        found, majority = facts.get(f"{part}_f1_micro"), facts.get(f"{part}_majority")
        if found is not None and majority is not None and found < majority - BELOW_MAJORITY:
            told.append(f"micro F1 {found:.2f} on {part} well below the largest class alone, {majority:.2f}")
    return "; ".join(told)


def _model(fact: str) -> str:
    return "G" if fact.startswith("guidance") else "the decoder"
