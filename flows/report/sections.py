"""The selected runs, cut into what one table can hold: one target, mode, split, pair of code sets, G and decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.heads.input_rows import GUIDED_PLUS_I, GUIDED_ROWS, S_PLUS_I, TAUGHT
from guidestore.warehouse.runs import Scores


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """The runs of one section of the report, with what is stored of their test cases."""

    number: int
    """From 1; `name` is its id in the page."""
    target: str
    mode: str
    split: str
    inferior: str
    """MODALITY/ENCODER."""
    superior: str
    guidance: str
    """'' where no guided row was trained."""
    decoder: str
    classes: tuple[str, ...]
    runs: tuple[Run, ...]
    scores: Scores = field(repr=False)
    """On test."""
    predictions: Mapping[str, RunPredictions] = field(repr=False)
    """Run id -> its labelled test cases; runs without any (diverged ones) are not in it."""

    @property
    def name(self) -> str:
        return f"section-{self.number}"

    @property
    def heads(self) -> str:
        """What was trained, in a line."""
        return ", ".join(filter(None, (self.guidance, self.decoder, self.mode)))

    def of_row(self, row: str, control: str = "") -> list[RunPredictions]:
        """Predictions of the runs of an input row, as far as they have any."""
        ids = [run.id for run in self.runs if (run.row, run.control) == (row, control)]
        return [self.predictions[id_] for id_ in ids if id_ in self.predictions]


class _Shared(NamedTuple):
    """What the runs of a section share, beside the heads."""

    target: str
    mode: str
    split: str
    """With the label budget, where there is one."""
    inferior: str
    superior: str
    classes: tuple[str, ...]


def sections_of(runs: Sequence[Run], scores: Scores, predictions: Mapping[str, RunPredictions]) -> list[Section]:
    """The sections of these runs, in the order in which their targets were first trained.

    `scores`, `predictions`: on test, of the runs that have any.
    """
    groups: dict[_Shared, list[Run]] = {}
    for run in runs:
        groups.setdefault(_shared(run), []).append(run)
    order = list(dict.fromkeys(shared.target for shared in groups))
    sections = []
    for shared, members in sorted(groups.items(), key=lambda item: order.index(item[0].target)):
        for guidance, decoder in _heads(members):
            chosen = tuple(_with_heads(members, guidance, decoder))
            sections.append(
                Section(
                    number=len(sections) + 1,
                    **shared._asdict(),
                    guidance=guidance,
                    decoder=decoder,
                    runs=chosen,
                    scores=scores,
                    predictions={run.id: predictions[run.id] for run in chosen if run.id in predictions},
                )
            )
    return sections


def _shared(run: Run) -> _Shared:
    split = run.split if run.labelled == "all" else f"{run.split}, {run.labelled} labels"
    inferior, superior = (name.stem.within if name else "" for name in (run.inferior, run.superior))
    return _Shared(run.target, run.mode, split, inferior, superior, run.classes)


def _heads(members: Sequence[Run]) -> list[tuple[str, str]]:
    """(G, decoder) of G(I)+I, whose decoder is trained in every mode, and of T(I); of other rows where they are not
    there."""
    for rows in ((GUIDED_PLUS_I, TAUGHT), GUIDED_ROWS, (S_PLUS_I,)):
        heads = dict.fromkeys((run.guidance, run.decoder) for run in members if run.row in rows and not run.control)
        if heads:
            return list(heads)
    return [("", members[0].decoder)]


def _with_heads(members: Iterable[Run], guidance: str, decoder: str) -> list[Run]:
    """Of each row the runs of this G and decoder. As published, I and S are the encoders' own classifiers, and G(I)
    reads with that of S: then all there are."""
    fitting = [run for run in members if run.guidance in ("", guidance)]
    trained = {(run.row, run.control) for run in fitting if run.decoder == decoder}
    return [run for run in fitting if run.decoder == decoder or (run.row, run.control) not in trained]
