"""A sweep's batches on Ray: the workers train, the driver commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embeddings.errors import GuidestoreError
from flows.head_jobs import HeadJob
from flows.on_ray.flow import Batches, run_on_ray
from flows.on_ray.tasks import heads_task
from flows.reporting import Progress
from flows.runners import Runner


def train_on_ray(
    batches: list[list[HeadJob]],
    commit: Callable[[list[HeadJob], list[list[Any]]], None],
    what: str,
    progress: Progress,
    *,
    device: str,
    runner: Runner,
) -> None:
    """Trains the batches, which `commit` gets with their heads as they are done, in any order.

    A batch is trained by itself as ever, so its heads are the same bits; short ones share a task. Raises
    GuidestoreError.
    """
    if not batches:
        progress(what, 0, 0)
        return
    done: list[int] = []

    def finished(trained: list[list[HeadJob]], heads: list[list[list[Any]]]) -> None:
        for jobs, of_jobs in zip(trained, heads, strict=True):
            commit(jobs, of_jobs)
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
