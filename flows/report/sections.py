"""The blocks of the selected runs as sections of the report, with what is stored of their test cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.flows.results.blocks import Block, blocks_of
from guidestore.flows.results.own_scores import with_metric
from guidestore.heads.metrics import Metric, drawn_metrics
from guidestore.warehouse.runs import Scores


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A block of runs as the report shows it."""

    block: Block
    scores: Scores = field(repr=False)
    """On test."""
    predictions: Mapping[str, RunPredictions] = field(repr=False)
    """Run id -> its labelled test cases; runs without any (diverged ones) are not in it."""
    seen: tuple[str, ...] = ()
    """Sentences on encoders that saw the cohort when they were pretrained."""
    metric: str = ""
    """In which gains are given; '' for the main one."""

    @property
    def name(self) -> str:
        """Its id in the page."""
        return f"section-{self.block.number}"

    @property
    def target(self) -> str:
        return self.block.scope.target

    @property
    def inferior(self) -> str:
        return self.block.scope.inferior

    @property
    def superior(self) -> str:
        return self.block.scope.superior

    @property
    def classes(self) -> tuple[str, ...]:
        return self.block.scope.classes

    @property
    def kind(self) -> TargetKind:
        """Of the target."""
        return self.block.runs[0].kind

    @property
    def metrics(self) -> dict[str, Metric]:
        """By name: what its tables and bars show."""
        return drawn_metrics(self.kind, self.metric)

    @property
    def unit(self) -> str:
        """Of a value, or of a survival time; '' of other kinds."""
        return self.block.runs[0].target_unit

    @property
    def what(self) -> str:
        """What is foretold, in words."""
        unit = f" in {self.unit}" if self.unit else ""
        count = len(self.classes)
        return {
            "classes": f"{count} classes",
            "ordinal": f"{count} grades",
            "multilabel": f"{count} labels",
            "value": f"a value{unit}",
            "survival": f"survival{unit}",
        }[self.kind]

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.block.runs

    @property
    def split(self) -> str:
        """With the label budget, where there is one."""
        return ", ".join(filter(None, (self.block.scope.split, self.block.budget)))

    @property
    def heads(self) -> str:
        """What was trained, in a line."""
        return ", ".join(filter(None, (self.block.guidance, self.block.decoder, self.block.scope.mode)))

    def of_row(self, row: str, control: str = "") -> list[RunPredictions]:
        """Predictions of the runs of an input row, as far as they have any; of one head where the row has several."""
        runs = [run for run in self.runs if (run.row, run.control) == (row, control)]
        return self.of([run.id for run in runs if (run.guidance, run.decoder) == (runs[0].guidance, runs[0].decoder)])

    def of(self, runs: Sequence[str]) -> list[RunPredictions]:
        """Predictions of these runs, as far as they have any."""
        return [self.predictions[run] for run in runs if run in self.predictions]


def sections_of(
    runs: Sequence[Run], scores: Scores, predictions: Mapping[str, RunPredictions], metric: str = ""
) -> list[Section]:
    """The sections of these runs, in the order of their blocks.

    `scores`, `predictions`: on test, of the runs that have any. metric: as of `Section`.
    """
    scores = with_metric(scores, predictions, metric)
    return [
        Section(
            block,
            scores,
            {run.id: predictions[run.id] for run in block.runs if run.id in predictions},
            metric=metric,
        )
        for block in blocks_of(runs)
    ]
