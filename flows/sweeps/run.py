"""Sweeps: a grid of heads on stored codes, trained in batches.

A batch commits when it is done, so a killed sweep trains at most the batches in flight again. Test is not read: it is
scored when heads were chosen (flows.sweeps.ranking).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.commit import commit_heads
from guidestore.flows.guiding.jobs import HeadJob, train_ahead
from guidestore.flows.sweeps.file import SweepFile, as_mapping
from guidestore.flows.sweeps.plan import SweepPlan, batches_of
from guidestore.flows.work.devices import AUTO, also_on, in_words, one_device
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, Say, counted, no_progress, say_nothing
from guidestore.flows.work.threads import one_thread
from guidestore.warehouse.sweeps import record_sweep

if TYPE_CHECKING:  # torch loads with it
    from guidestore.heads.trained import TrainedHead

type Batch = list[HeadJob]
type Commit = Callable[[Batch, list[list[TrainedHead]], str], None]
"""(batch, heads of its jobs, device that they were trained on)."""
type Train = Callable[[list[Batch], Commit, str, Progress], None]
"""(batches, commit, title, progress): trains the batches, which `commit` gets with their heads, in any order."""


@dataclass
class SweepReport:
    """What a sweep run did."""

    runs: list[str] = field(default_factory=list)
    trained: int = 0
    existing: int = 0
    diverged: int = 0
    notes: list[str] = field(default_factory=list)
    device: str = ""
    """Where networks trained, in words; several where Ray's workers differ. '' where nothing was trained."""
    snapshot: int = 0


def run_sweep(
    store: EmbeddingStore,
    sweep: SweepFile,
    progress: Progress = no_progress,
    *,
    device: str = AUTO,
    train: Train | None = None,
    remember: bool = True,
    say: Say = say_nothing,
) -> SweepReport:
    """Trains what the store lacks of the sweep: two batches at a time, or as `train` does.

    device: where networks train. remember: as a sweep that `compare` finds by its name. say: is told the notes
    of the plan before anything is trained. Raises GuidestoreError.
    """
    train = train or partial(train_here, device=device)
    snapshot, sweep = store.snapshot(sweep.at), with_first_name(store, sweep)
    plan = SweepPlan(sweep, snapshot.version)
    report = SweepReport()
    # Planned at the sweep's snapshot, but what was trained since then is there.
    batches = list(batches_of(snapshot, sweep, plan, have=store.snapshot().artifacts))
    report.notes = plan.notes
    for note in plan.notes:
        say(note)
    report.runs, report.existing = plan.runs, len(plan.runs) - sum(len(job.ids) for jobs in batches for job in jobs)

    def commit(jobs: list[HeadJob], trained: list[list[TrainedHead]], device: str) -> None:
        paired = jobs[0].paired
        report.device = also_on(report.device, device)
        message = f"sweep {sweep.name}: heads on {paired.cohort}/{paired.split}/{paired.fold}"
        with store.begin(message, device=device, read_at=snapshot.read_at) as transaction:
            for job, heads in zip(jobs, trained, strict=True):
                budget = plan.budgets[next(iter(job.ids.values()))]
                report.trained += commit_heads(transaction, job, heads, labelled=budget, device=device)
                report.diverged += sum(head.status == "diverged" for head in heads)

    train(batches, commit, f"sweep {sweep.name}", progress)
    if remember:
        file = canonical_json(as_mapping(sweep))
        record_sweep(
            store, cohort=sweep.cohort, name=sweep.name, file=file, snapshot=snapshot.version, runs=report.runs
        )
    report.snapshot = store.snapshot().version
    return report


def train_here(batches: list[Batch], commit: Commit, what: str, progress: Progress, *, device: str) -> None:
    """Two batches at a time, each on one core. Raises InvalidInputError."""
    device = one_device(device, "heads")
    with one_thread():
        for jobs, trained in counted(train_ahead(batches, test=False, device=device), len(batches), what, progress):
            if isinstance(trained, InvalidInputError):
                raise trained
            commit(jobs, trained, in_words((device,)))
