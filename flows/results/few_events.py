"""How many events the cases of a comparison have before the horizon, up to which Uno's C looks: of few, it and its
interval say nothing."""

from __future__ import annotations

from collections.abc import Iterable

from guidestore.embeddings.runs import RunPredictions

LEAST, ENOUGH = 5, 20
"""Events of different cases: below the first no gain is told, below the second intervals come with a note (as those of
a class with fewer than 20 cases, they are too narrow)."""


def events_note(predictions: Iterable[RunPredictions]) -> tuple[str, bool]:
    """'' where there are enough, or the target is not of survival; and whether a gain can be told."""
    happened: set[str] = set()
    cases: set[str] = set()
    for run in predictions:
        if run.kind != "survival":
            return "", True
        cases |= set(run.case_ids)
        outcomes = zip(run.case_ids, run.labels, strict=True)
        happened |= {case for case, (time, event) in outcomes if event and time < run.reference}
    n = len(happened)
    if n >= ENOUGH:
        return "", True
    of = f"{n} of the {len(cases)} cases have an event before the horizon"
    if n < LEAST:
        return f"{of}, and of fewer than {LEAST} nothing can be told; wait for events, or draw a split by event", False
    return f"{of}: with fewer than {ENOUGH} intervals are too narrow", True
