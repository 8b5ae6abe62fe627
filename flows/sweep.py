"""Sweeps: a grid of heads on stored codes, trained in batches.

A batch commits when it is done, so a killed sweep trains at most the batches in flight again. Test is not read: it is
scored when heads were chosen (flows.sweep_ranking).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings.errors import InvalidInputError
from embeddings.store import EmbeddingStore
from flows.ahead import read_ahead
from flows.head_jobs import HeadJob, train_jobs
from flows.head_runs import commit_heads
from flows.on_ray.cluster import prepare_ray
from flows.reporting import Progress, counted, no_progress
from flows.runners import HERE, Runner
from flows.stored_sweeps import record_sweep
from flows.sweep_file import SweepFile
from flows.sweep_plan import SweepPlan, batches_of
from flows.threads import check_device, one_thread
from warehouse.indexer import build_index

if TYPE_CHECKING:  # torch loads with it
    from heads.input_rows import TrainedHead


@dataclass
class SweepReport:
    """What a sweep run did."""

    runs: list[str] = field(default_factory=list)
    trained: int = 0
    existing: int = 0
    diverged: int = 0
    notes: list[str] = field(default_factory=list)
    snapshot: int = 0


def run_sweep(
    root: Path,
    sweep: SweepFile,
    progress: Progress = no_progress,
    *,
    device: str = "cpu",
    runner: Runner = HERE,
    remember: bool = True,
) -> SweepReport:
    """Trains what the store lacks of the sweep, two batches at a time or those of a cluster.

    device: where networks train. remember: as a sweep that `compare` finds by its name. Raises GuidestoreError.
    """
    if runner.task_runner == "ray":
        prepare_ray(runner, device)
    else:
        check_device(device)
    store = EmbeddingStore.open(root)
    snapshot = store.snapshot(sweep.at)
    plan = SweepPlan(sweep, snapshot.version)
    report = SweepReport()
    # Planned at the sweep's snapshot, but what was trained since then is there.
    batches = list(batches_of(snapshot, sweep, plan, have=store.snapshot().artifacts))
    report.notes = plan.notes
    report.runs, report.existing = plan.runs, len(plan.runs) - sum(len(job.ids) for jobs in batches for job in jobs)

    def commit(jobs: list[HeadJob], trained: list[list[TrainedHead]]) -> None:
        paired = jobs[0].asked.paired
        with store.begin(f"sweep {sweep.name}: heads on {paired.cohort}/{paired.split}/{paired.fold}") as transaction:
            for job, heads in zip(jobs, trained, strict=True):
                budget = plan.budgets[next(iter(job.ids.values()))]
                report.trained += commit_heads(transaction, job, heads, labelled=budget, device=device)
                report.diverged += sum(head.status == "diverged" for head in heads)

    what = f"sweep {sweep.name}"
    if runner.task_runner == "ray":
        from flows.on_ray.sweep import train_on_ray

        train_on_ray(batches, commit, what, progress, device=device, runner=runner)
    else:
        train = partial(train_jobs, test=False, device=device)
        with one_thread():
            for jobs, trained in counted(read_ahead(train, batches), len(batches), what, progress):
                if isinstance(trained, InvalidInputError):
                    raise trained
                commit(jobs, trained)
    if remember:
        record_sweep(store, sweep, report.runs, snapshot.version)
    report.snapshot = store.snapshot().version
    build_index(store)
    return report
