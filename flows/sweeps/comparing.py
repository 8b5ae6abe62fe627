"""Two runs, two sweeps or two snapshots by their names: which they are, and how much better is the second."""

from __future__ import annotations

from pathlib import Path

from guidestore.embeddings.runs import Part
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.two_runs import RunComparison, compare_runs
from guidestore.flows.results.two_snapshots import SnapshotComparison, compare_snapshots, names_snapshots
from guidestore.flows.sweeps.file import SweepFile, read_sweep
from guidestore.flows.sweeps.two_sweeps import SweepComparison, compare_sweeps, names_sweeps

type AnyComparison = RunComparison | SweepComparison | SnapshotComparison


def compare_named(
    store: EmbeddingStore,
    a: str,
    b: str,
    *,
    part: Part | None = None,
    at: int | str | None = None,
    pooled: bool = False,
) -> AnyComparison:
    """`b` minus `a`: runs (aliases, or 8 digits or more of ids), sweeps (YAML files or names), or snapshots (numbers or
    tags), from stored predictions alone. part: None for val of sweeps and test of others. at: of runs. pooled: whether
    a run stands for its head, as those of sweeps and snapshots do anyway. Raises GuidestoreError."""
    sweeps: list[SweepFile | str] = [read_sweep(Path(n)) if n.endswith((".yaml", ".yml")) else n for n in (a, b)]
    names = [name for name in sweeps if isinstance(name, str)]
    if len(names) < 2 or names_sweeps(store, *names):
        return compare_sweeps(store, sweeps[0], sweeps[1], part=part or "val")
    if names_snapshots(store, a, b):
        return compare_snapshots(store, a, b, part=part or "test")
    return compare_runs(store, a, b, part=part or "test", at=at, pooled=pooled)
