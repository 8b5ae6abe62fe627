"""Two heads of a cohort on the same cases: how much better is one, how sure is that, and whom they call otherwise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.runs import Head, Part, Run
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.explore.explored import View
from guidestore.flows.explore.verdicts import cohort_runs, key_of, models_of
from guidestore.flows.results.two_runs import compared
from guidestore.heads.metrics import main_metric_of, metric_named

LISTED = 500
"""Cases that changed: a page shows no more."""
PARTS: tuple[Part, ...] = ("val", "test")


def comparable(view: View, cohort: str) -> list[dict[str, Any]]:
    """All heads of a cohort but the controls, those of one target together."""
    heads = dict.fromkeys(run.head for part in PARTS for run in cohort_runs(view, cohort, part) if not run.control)
    return [{"key": key_of(head), **models_of(head)} for head in sorted(heads, key=lambda head: head.target)]


def comparison(view: View, cohort: str, a: str, b: str, part: Part) -> dict[str, Any]:
    """What head b gained over head a, over all folds that both have and all seeds. Raises NotFoundInStoreError, and
    InvalidInputError for heads of two targets, or that share no case."""
    return view.once(("compared", cohort, a, b, part), lambda: _compared(view, cohort, a, b, part))


def _compared(view: View, cohort: str, a: str, b: str, part: Part) -> dict[str, Any]:
    first, second = (_run_of(view, cohort, key, part) for key in (a, b))
    told = compared(view, first, second, part=part, pooled=True, names=(_name(first.head), _name(second.head)))
    main = main_metric_of(first.kind).name
    return {
        "names": told.names,
        "cases": told.n_cases,
        "gains": [
            {"metric": metric_named(row.metric).title, "better": metric_named(row.metric).better, **row.as_row()}
            for row in sorted(told.gains, key=lambda gain: gain.metric != main)  # the one in which verdicts are given
        ],
        "mcnemar": asdict(told.mcnemar) if told.mcnemar else None,
        "decides": first.kind in ONE_CLASS_KINDS,
        "changed": {"n": len(told.changed), "rows": told.changed_rows()[:LISTED]},
        "notes": [*notes_on(view.snapshot, [*told.a, *told.b]), *told.notes],
    }


def _run_of(view: View, cohort: str, key: str, part: Part) -> Run:
    """One run of the head of a link."""
    for run in cohort_runs(view, cohort, part):
        if key_of(run.head) == key:
            return run
    raise NotFoundInStoreError(
        f"cohort {cohort} has no head {key} that was scored on {part} at snapshot {view.version}; the link may be of "
        "another snapshot"
    )


def _name(head: Head) -> str:
    return f"{head.target} by {head.row}"
