"""Gates: where inner cross-validation did not let a teacher teach, its student is row I: that is no gain of 0."""

from __future__ import annotations

from collections.abc import Sequence

from guidestore.embeddings.runs import Run

CLOSED = "the teacher was not allowed to teach"
"""What is said in place of a verdict where the gate of every run was closed."""


def is_closed(run: Run) -> bool:
    """Whether a run had a gate, and it was closed."""
    return any(value == 0 for name, value in run.training.items() if name == "gate" or name.endswith("_gate"))


def gate_note(runs: Sequence[Run]) -> str:
    """Of the runs of one head: how many gates were closed; '' for none, or all."""
    closed = sum(map(is_closed, runs))
    if not closed or closed == len(runs):
        return ""
    return f"in {closed} of {len(runs)} runs {CLOSED}, and they are row I"
