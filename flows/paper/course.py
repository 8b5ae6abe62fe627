"""An experiment of the paper under way: what it encodes and trains, and what that took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import GuideReport, guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.paper.report import ExperimentReport
from guidestore.flows.paper.table import PaperTable
from guidestore.flows.results.looks import count_look
from guidestore.flows.work.reporting import EncodeReport, Progress
from guidestore.warehouse.runs import load_runs


@dataclass
class Course:
    """One call of an experiment; what the store has already is reused."""

    store: EmbeddingStore
    progress: Progress
    notes: list[str] = field(default_factory=list)
    """Each sentence once."""
    encodes: list[EncodeReport] = field(default_factory=list)
    guides: list[GuideReport] = field(default_factory=list)

    def note(self, sentences: list[str]) -> None:
        self.notes += [sentence for sentence in dict.fromkeys(sentences) if sentence not in self.notes]

    def encode(self, settings: EncodeSettings) -> EncodeReport:
        report = encode(self.store, settings, self.progress)
        self.encodes.append(report)
        self.note(report.notes)
        return report

    def guide(self, settings: GuideSettings) -> None:
        report = guide(self.store, settings, self.progress, looks=False)
        self.guides.append(report)
        self.note(report.notes)

    def report(self, table: Callable[[Snapshot, list[str]], PaperTable]) -> ExperimentReport:
        """What it leaves. table: (snapshot, ids of all runs) -> the paper's table."""
        runs = [run for report in self.guides for run in report.runs]
        refused = count_look(self.store, load_runs(self.store.snapshot(), runs), "experiment") if runs else ""
        self.note([refused] if refused else [])
        snapshot = self.store.snapshot()
        return ExperimentReport(
            table(snapshot, runs),
            runs,
            sum(report.images_read for report in self.encodes),
            sum(report.encoded for report in self.encodes),
            sum(report.trained for report in (*self.encodes, *self.guides)),
            {case: reason for report in self.encodes for case, reason in report.failed.items()},
            self.notes,
            snapshot.version,
        )
