"""What `evaluate` prints: the tables, targets pooled, another cohort, or gains by subgroup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.runs import Part, Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.cli.output import FOR_EYES, show_rows
from guidestore.flows.cli.verdict_tables import show_verdicts
from guidestore.flows.encoding.corrected import corrected_in
from guidestore.flows.encoding.seen import seen_notes
from guidestore.flows.results.effects import GAINS, RowEffect
from guidestore.flows.results.evaluation import Evaluation, evaluation_of, judging_metric
from guidestore.flows.results.looks import count_look
from guidestore.flows.results.own_scores import keep_scores
from guidestore.flows.results.pooled import pooled_effects
from guidestore.flows.results.selection import RunSelection
from guidestore.flows.results.stored import selected_runs
from guidestore.flows.results.subgroups import subgroup_gains
from guidestore.flows.work.reporting import Progress
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import HOW_TO_GET_RUNS, Scores, load_scores


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `evaluate`, beside those that select runs."""

    part: Part
    pool_targets: bool
    on: str
    """A cohort; '' for that of the runs."""
    by: str
    """A target; '' for no subgroups."""
    metric: str
    smallest_effect: float
    at: str | None
    format_: str


def evaluated(
    store: EmbeddingStore, selection: RunSelection, asked: Asked, progress: Progress
) -> tuple[Callable[[], None], Sequence[str]]:
    """What prints it, and notes.

    Raises NotFoundInStoreError where no run is selected, InvalidInputError for what cannot be joined.
    """
    if asked.pool_targets and asked.by:
        raise InvalidInputError("--pool-targets is one answer over targets and --by one for each subgroup; give one")
    asked = replace(asked, metric=judging_metric(asked.metric, asked.smallest_effect))
    snapshot, newest = store.snapshot(asked.at), store.snapshot()
    named, cohort, notes = selection.cohort, newest.first_name(selection.cohort), []
    runs = selected_runs(snapshot, replace(selection, cohort=cohort), asked.part)
    title = f"{named}, {asked.part} cases"
    if asked.on:
        from guidestore.flows.models.on_cohort import predict_cohort

        cohort = newest.first_name(asked.on)
        elsewhere = predict_cohort(store, runs, cohort, progress)
        runs, scores, predictions = list(elsewhere.runs), elsewhere.scores, elsewhere.predictions
        title = f"heads of {named}, frozen, on all labelled cases of {asked.on}"
        notes += elsewhere.notes
    else:
        scores, predictions = load_scores(snapshot, runs, asked.part), load_predictions(snapshot, runs, asked.part)
    if not asked.on:
        keep_scores(store, runs, scores, predictions, asked.metric, asked.part)
    notes += seen_notes(newest, cohort, [name for run in runs for name in (run.inferior, run.superior)])
    notes += corrected_in(snapshot, runs)
    if asked.part == "test" or asked.on:
        notes += filter(None, [count_look(store, runs, "evaluate", on=asked.on and cohort)])
    if asked.pool_targets:
        pooled = pooled_effects(runs, predictions, metric=asked.metric, margin=asked.smallest_effect)
        show = partial(_show_pooled, pooled, title, asked.format_)
    elif asked.by:
        gains = subgroup_gains(newest, runs, predictions, asked.by, cohort=cohort, metric=asked.metric)
        rows = [gain.as_row() for gain in gains]
        if not rows:
            raise NotFoundInStoreError(f"no guided head has cases in a subgroup of {asked.by}; {HOW_TO_GET_RUNS}")
        of = f"{title}: gains by {asked.by}, exploratory, intervals over cases alone"
        show = partial(_show, rows, of, asked.format_)
    else:
        show = _tables(runs, scores, predictions, title, asked, progress)
    return show, list(dict.fromkeys(notes))


def _tables(
    runs: Sequence[Run],
    scores: Scores,
    predictions: Mapping[str, RunPredictions],
    title: str,
    asked: Asked,
    progress: Progress,
) -> Callable[[], None]:
    how = {"metric": asked.metric, "margin": asked.smallest_effect, "progress": progress}
    evaluation = evaluation_of(runs, scores, predictions, **how)
    reliable = _calibration(evaluation, predictions) if asked.on else {}
    return partial(_show_tables, evaluation, reliable, title, asked)


def _show_tables(
    evaluation: Evaluation, reliable: Mapping[tuple[int, str], dict[str, float]], title: str, asked: Asked
) -> None:
    if asked.format_ not in FOR_EYES:
        rows = [row | reliable.get((row["block"], row["label"]), {}) for row in evaluation.as_rows()]
        show_rows(rows, list(rows[0]), asked.format_)
        return
    show_verdicts(evaluation, title, asked.format_)
    if reliable:
        rows = [{"block": block, "input": label, **values} for (block, label), values in reliable.items()]
        show_rows(rows, list(rows[0]), asked.format_, title="Calibration, folds and seeds together")


def _calibration(
    evaluation: Evaluation, predictions: Mapping[str, RunPredictions]
) -> dict[tuple[int, str], dict[str, float]]:
    """(block, label of a row) -> how far its confidence is from the truth, over its runs together."""
    from guidestore.flows.report.calibration import calibrated_runs

    reliable = {}
    for of_block in evaluation.blocks:
        for row in of_block.rows:
            runs = [predictions[run] for run in row.runs if run in predictions]
            if runs:
                told = calibrated_runs(row.row, runs)
                values = {"calibration_error": told.error, "overconfidence": told.overconfidence}
                reliable[of_block.block.number, row.label] = values
    return reliable


def _show_pooled(effects: Sequence[RowEffect], title: str, format_: str) -> None:
    rows = [effect.as_row() for effect in effects]
    if format_ not in FOR_EYES:
        show_rows(rows, list(rows[0]), format_)
        return
    shown = []
    for row in rows:
        gains = {name.removeprefix("gain_").replace("_", " "): _cell(row, name) for name in GAINS}
        names = ("target", "mode", "row", "guidance", "decoder", "metric", "n_cases")
        shown.append({**{name: row[name] for name in names}, **gains, "verdict": row["verdict"], "note": row["note"]})
    _show(shown, f"{title}: mean gains over targets, cases drawn jointly", format_)


def _show(rows: Sequence[dict[str, Any]], title: str, format_: str) -> None:
    columns = list(rows[0])
    if format_ in FOR_EYES:
        columns = [name for name in columns if any(row[name] not in (None, "") for row in rows)]
    show_rows(rows, columns, format_, title=title)


def _cell(row: Mapping[str, Any], name: str) -> str | None:
    if row[name] is None:
        return None
    return f"{row[name]:+.3f} [{row[f'{name}_low']:+.3f}, {row[f'{name}_high']:+.3f}]"
