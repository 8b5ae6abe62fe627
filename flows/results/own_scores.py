"""What a metric of one's own says of stored runs: from their stored predictions, kept beside their other metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guidestore.embeddings.runs import Part, Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.heads.metrics import Scored, metric_named, truth_of
from guidestore.heads.metrics.own import is_kept
from guidestore.warehouse.runs import Scores, load_scores


def with_metric(scores: Scores, predictions: Mapping[str, RunPredictions], metric: str) -> Scores:
    """`scores`, and those of `metric` where they lack it: of runs that have predictions and its kind of target.
    '' changes nothing."""
    return {**scores, **_lacking(scores, predictions, metric)}


def keep_scores(
    store: EmbeddingStore,
    runs: Sequence[Run],
    scores: Scores,
    predictions: Mapping[str, RunPredictions],
    metric: str,
    part: Part,
) -> None:
    """Commits what `with_metric` adds, for SQL; not of a metric whose code cannot be told from other code."""
    if not is_kept(metric) or not _lacking(scores, predictions, metric):
        return
    lacking = _lacking(load_scores(store.snapshot(), runs, part), predictions, metric)  # others may have kept some
    with store.begin(f"{metric} of {len(lacking)} heads on {part}") as transaction:
        for run in {run.id: run for run in runs}.values():
            if (value := lacking.get((run.id, metric))) is not None:
                row = {"run": run.id, "part": part, "metric": metric, "value": value}
                recipe = {"run": run.id, "part": part, "metric": metric}
                transaction.write_rows("metrics", [row], cohort=run.cohort, recipe=recipe)


def _lacking(scores: Scores, predictions: Mapping[str, RunPredictions], metric: str) -> dict[tuple[str, str], float]:
    if not metric:
        return {}
    of, told = metric_named(metric), {}
    for run, said in predictions.items():
        if (run, metric) not in scores and said.kind in of.kinds and len(said):
            value = of.value(Scored(truth_of(said.kind, said.labels, said.reference), said.probabilities))
            if value is not None:
                told[run, metric] = value
    return told
