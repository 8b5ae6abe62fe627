"""A sweep's batches on Ray: the workers train, the driver commits."""

from __future__ import annotations

from functools import partial
from typing import Any

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.cluster.cluster import prepare_ray
from guidestore.flows.cluster.flow import Batches, run_on_ray
from guidestore.flows.cluster.tasks import heads_task
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.run import Batch, Commit, SweepReport, run_sweep
from guidestore.flows.work.devices import AUTO
from guidestore.flows.work.reporting import Progress, Say, no_progress, say_nothing
from guidestore.flows.work.runners import Runner


def sweep_on_ray(
    store: EmbeddingStore,
    sweep: SweepFile,
    runner: Runner,
    progress: Progress = no_progress,
    *,
    device: str = AUTO,
    say: Say = say_nothing,
) -> SweepReport:
    """`run_sweep` on a cluster. Raises GuidestoreError."""
    prepare_ray(runner, device)
    train = partial(train_on_ray, device=device, runner=runner)
    return run_sweep(store, sweep, progress, device=device, train=train, say=say)


def train_on_ray(
    batches: list[Batch], commit: Commit, what: str, progress: Progress, *, device: str, runner: Runner
) -> None:
    """Trains the batches, which `commit` gets with their heads as they are done, in any order.

    A batch is trained by itself as ever, so its heads are the same bits; short ones share a task. Raises
    GuidestoreError.
    """
    if not batches:
        progress(what, 0, 0)
        return
    done: list[int] = []

    def finished(trained: list[Batch], result: tuple[str, list[list[list[Any]]]]) -> None:
        where, heads = result
        for jobs, of_jobs in zip(trained, heads, strict=True):
            commit(jobs, of_jobs, where)
            done.append(len(jobs))
        progress(what, len(done), len(batches))

    def work(cluster: Batches) -> None:
        progress(what, 0, len(batches))
        lost = cluster.many(heads_task, batches, finished, device)
        if lost:
            raise GuidestoreError(
                f"the workers of {len(lost)} of {len(batches)} batches were lost again and again (out of memory?); "
                "what was trained is committed, run the same command again to go on"
            )

    run_on_ray(what, runner, work)
