"""A sweep as a grid that can be sorted, with intervals; and its label curves. All on val: test is not read here."""

from __future__ import annotations

from typing import Any

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.flows.explore.explored import Explored, View
from guidestore.flows.explore.verdicts import key_of
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.label_curve import label_curves
from guidestore.flows.sweeps.ranking import Ranked, ranked_on_val
from guidestore.heads.metrics import metric_named
from guidestore.warehouse.runs import load_runs
from guidestore.warehouse.sweeps import StoredSweep, stored_sweeps


def grid(view: View, cohort: str, name: str) -> dict[str, Any]:
    """The guided heads of a stored sweep, best on val first. Raises NotFoundInStoreError."""
    return view.once(("grid", cohort, name), lambda: _grid(view, _sweep(view, cohort, name)))


def _sweep(view: View, cohort: str, name: str) -> StoredSweep:
    known = stored_sweeps(view)
    of_name = [sweep for sweep in known if (sweep.cohort, sweep.name) == (cohort, name)]
    if not of_name:
        names = ", ".join(sorted({sweep.name for sweep in known if sweep.cohort == cohort})) or "none yet"
        raise NotFoundInStoreError(f"cohort {cohort} has no sweep {name!r}; it has {names}")
    return of_name[-1]


def _grid(view: View, sweep: StoredSweep) -> dict[str, Any]:
    runs = load_runs(view, sweep.runs)
    ranked = ranked_on_val(view, runs)
    file = SweepFile.model_validate_json(sweep.file)
    return {
        "name": sweep.name,
        "cohort": sweep.cohort,
        "created_at": sweep.created_at,
        "snapshot": sweep.snapshot,
        "runs": len(sweep.runs),
        "there": len(runs),
        "budgets": len(file.labelled),
        "heads": [_row(one) for one in ranked],
    }


def _row(ranked: Ranked) -> dict[str, Any]:
    effect = ranked.effect
    head = effect.head
    told = effect.effect
    nearest = told.nearest_control if told else None
    score = effect.score
    return {
        "key": key_of(head),
        "target": head.target,
        "row": head.row,
        "guidance": head.guidance,
        "decoder": head.decoder,
        "inferior": head.inferior.within if head.inferior else "",
        "superior": head.superior.within if head.superior else "",
        "mode": head.mode,
        "labelled": str(head.labelled),
        "metric": metric_named(effect.metric).title,
        "score": [score.value, score.low, score.high] if score else None,
        "gain": [told.gain_over_i.gain.value, told.gain_over_i.gain.low, told.gain_over_i.gain.high] if told else None,
        "over_control": [nearest.over.gain.value, nearest.over.gain.low, nearest.over.gain.high] if nearest else None,
        "control": nearest.rival.name if nearest else "",
        "verdict": effect.verdict,
        "caution": ranked.caution,
        "seeds": ranked.seeds,
        "note": effect.note,
    }


def curves(explored: Explored, view: View, cohort: str, name: str) -> list[dict[str, Any]]:
    """What labels buy, on val: the lines of the best heads at each label budget; none of a sweep of one budget."""

    def make() -> list[dict[str, Any]]:
        sweep = _sweep(view, cohort, name)
        file = SweepFile.model_validate_json(sweep.file)
        if len(file.labelled) < 2:
            return []
        return [
            {
                "title": f"{curve.head.target}: {curve.head.row} of {curve.head.guidance}, {curve.head.decoder}",
                "metric": curve.metric,
                "rows": curve.as_rows(),
            }
            for curve in label_curves(explored.store, file.model_copy(update={"at": sweep.snapshot}))
        ]

    return view.once(("curves", cohort, name), make)
