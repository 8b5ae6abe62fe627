"""How many cases tell something: of few of a class, or few events before the horizon (up to which Uno's C looks), an
interval says nothing.

Draws of one or two cases hardly differ, so the interval of a difference of AUROC is far too narrow: of two rows that
are equally good, it excludes 0 far more often than in 5 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from guidestore.embeddings.runs import RunPredictions

LEAST, ENOUGH = 5, 20
"""Cases of a class, or events: below the first no verdict is given, below the second intervals come with a note."""


def one_grade_note(predictions: Iterable[RunPredictions]) -> str:
    """'' unless the target has grades and each of these runs says one grade of all its cases: then kappa is 0 in every
    draw of the cases, whatever others would show."""
    every = list(predictions)
    if not every or every[0].kind != "ordinal" or any(np.ptp(run.predicted) for run in every):
        return ""
    return "both rows say one grade of all cases, of which kappa tells nothing"


def few_note(predictions: Iterable[RunPredictions]) -> tuple[str, bool]:
    """'' where there are enough, or the target is of another kind; and whether they are enough for a verdict."""
    every = list(predictions)
    kind = every[0].kind if every else ""
    cases = {case: of for run in every for case, of in zip(run.case_ids, run.labels, strict=True)}
    if kind == "classes":
        n, more = min(Counter(map(int, cases.values())).values()), "test more cases, or draw a split by class"
        of = f"the rarest class has {n} test cases"
    elif kind == "survival":
        horizon = {case: run.reference for run in every for case in run.case_ids}
        n = sum(bool(event) and time < horizon[case] for case, (time, event) in cases.items())
        more = "wait for events, or draw a split by event"
        of = f"{n} of the {len(cases)} cases have an event before the horizon"
    else:
        return "", True
    if n < LEAST:
        return f"{of}, and of fewer than {LEAST} nothing can be told; {more}", False
    return (f"{of}: with fewer than {ENOUGH} intervals are too narrow" if n < ENOUGH else ""), True
